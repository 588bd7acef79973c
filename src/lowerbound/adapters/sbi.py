r"""sbi: a diffusion model of parameters given observations, for NPE and its kin.

`NPE(prior, density_estimator=density_estimator())` trains it by sbi's own loop on the bound's diffusion term, $\log
p(\theta | x)$ is that of the probability flow, and samples are drawn by the model's own plan.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import Tensor, nn

from lowerbound.denoiser import NetworkDenoiser
from lowerbound.likelihood import GaussianDecoder, log_prob
from lowerbound.models import Diffusion, Draw
from lowerbound.nn import MLP
from lowerbound.rng import Stream
from lowerbound.schedule import LinearGamma


class DiffusionEstimator(ConditionalDensityEstimator):
    """A diffusion model of an input given a condition, both vectors and standardised by the first batch's moments.

    Arguments:
        batch_input: inputs, (N, D), whose mean and standard deviation are taken.
        batch_condition: their conditions, (N, F), likewise.
        width, depth: of the network (`nn.MLP`).
        tolerance: of `log_prob`'s solver.
    """

    def __init__(
        self, batch_input: Tensor, batch_condition: Tensor, width: int = 128, depth: int = 3, tolerance: float = 1e-3
    ):
        (num_inputs,), (num_features,) = batch_input.shape[1:], batch_condition.shape[1:]
        network = MLP(num_inputs, width=width, depth=depth, num_condition_features=num_features)
        super().__init__(network, batch_input.shape[1:], batch_condition.shape[1:])
        denoiser = NetworkDenoiser(network, LinearGamma(-12.0, 5.0), (num_inputs,))
        self.model = Diffusion(denoiser, GaussianDecoder())
        self.tolerance = tolerance
        for name, batch in (("input", batch_input), ("condition", batch_condition)):
            self.register_buffer(f"{name}_mean", batch.mean(0))
            self.register_buffer(f"{name}_std", batch.std(0).clamp(min=1e-12))

    def loss(self, input: Tensor, condition: Tensor, **kwargs: Any) -> Tensor:
        """The bound's diffusion term of each input given its condition, (B,), nats."""
        x, cond = self._standardised(input, condition)
        return self.model.given(cond).loss(x, Draw(_noise())).total

    def log_prob(self, input: Tensor, condition: Tensor, **kwargs: Any) -> Tensor:
        """The flow's log density, (S, B) of inputs (S, B, D) or (B, D) given conditions (B, F)."""
        values, conditions, batch = self._broadcast_and_align(input, condition)
        x, cond = self._standardised(
            values.reshape(-1, *self.input_shape), conditions.reshape(-1, *self.condition_shape)
        )
        density = log_prob(self.model.denoiser.given(cond), x, noise=_noise(), tolerance=self.tolerance)
        nats = density.nats - torch.log(self.input_std).sum()
        return nats.to(input.dtype).reshape(values.shape[0], batch)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size, condition: Tensor, **kwargs: Any) -> Tensor:
        """Draws given conditions, (*S, B, D)."""
        shape, num_conditions = torch.Size(sample_shape), len(condition)
        conditions = condition.repeat(max(1, math.prod(shape)), 1)
        _, cond = self._standardised(conditions.new_zeros(len(conditions), *self.input_shape), conditions)
        drawn = self.model.given(cond).sample(len(conditions), _noise())
        return (drawn * self.input_std + self.input_mean).reshape(*shape, num_conditions, *self.input_shape)

    def _standardised(self, value: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        return (value - self.input_mean) / self.input_std, (condition - self.condition_mean) / self.condition_std


def density_estimator(**settings: Any) -> Callable[[Tensor, Tensor], nn.Module]:
    """What `NPE` takes as its `density_estimator`: a function of batches of parameters and observations.

    Arguments:
        settings: of `DiffusionEstimator`.
    """

    def build(batch_theta: Tensor, batch_x: Tensor) -> nn.Module:
        return DiffusionEstimator(batch_theta, batch_x, **settings)

    return build


def _noise() -> Stream:
    """A stream that torch.manual_seed determines."""
    return Stream(seed=int(torch.randint(2**62, ())))
