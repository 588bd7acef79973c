"""Rows of a fitted estimator as a distribution of torch."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class Rows(Distribution):
    """Rows of real numbers, without gradients.

    Arguments:
        num_columns: D.
        log_density: from rows (N, D) to nats (N,).
        draw: n rows of a seed, (n, D).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}  # pyrefly: ignore[bad-override]
    has_rsample = False

    def __init__(
        self, num_columns: int, log_density: Callable[[np.ndarray], np.ndarray], draw: Callable[[int, int], np.ndarray]
    ):
        self.log_density, self.draw = log_density, draw
        super().__init__(event_shape=torch.Size((num_columns,)), validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(constraints.real, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        rows = value.detach().cpu().reshape(-1, *self.event_shape).numpy()
        return torch.from_numpy(self.log_density(rows)).to(value).reshape(value.shape[:-1])

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        seed = int(torch.randint(2**31, ()))  # so that torch.manual_seed has its effect
        return torch.from_numpy(self.draw(shape.numel(), seed)).reshape(shape + self.event_shape).float()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        raise NotImplementedError("draws of a diffusion model are not differentiated through: take sample()")
