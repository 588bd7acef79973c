"""What one training step computes, as the one module that is wrapped, compiled or distributed."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from lowerbound.data import Dataset
from lowerbound.rng import Noise


class Losses(NamedTuple):
    """Of each example: the loss, and what of it depends on where along the noise it was drawn, unweighted; (B,) each."""

    total: Float[Tensor, "batch"]
    drawn: Float[Tensor, "batch"]


class TrainingStep(nn.Module, ABC):
    """The losses of a batch, and what the model in training is asked along the way.

    Attributes:
        model: what is trained, averaged and saved.
        is_bound: whether the loss is a bound on the negative log likelihood, in nats.
    """

    model: nn.Module
    is_bound: bool

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch *shape"],
        place: Float[Tensor, "batch"],
        weight: Float[Tensor, "batch"],
        noise: Noise,
        progress: float = 0.0,
        cond: Num[Tensor, "batch ..."] | None = None,
        observed: Bool[Tensor, "batch *shape"] | None = None,
    ) -> Losses:
        """The losses of examples, nats where the objective is a bound.

        Arguments:
            x: data, (B, *).
            place: where along the noise each example is drawn: its time, or its place in the chain, in [0, 1); (B,).
            weight: of each draw, (B,).
            noise: of everything else that is random.
            progress: how much of the training is done, 0 to 1.
            cond, observed: passed on to a denoiser.
        """

    def fixed_nats(self, x: Float[Tensor, "batch *shape"]) -> float:
        """What the loss lacks of the bound, nats: constants that nothing is learned from, estimated on examples."""
        return 0.0

    @abstractmethod
    def held_out(self, dataset: Dataset, conditional: bool, num_examples: int) -> tuple[float, float] | None:
        """Bits/dim of the first validation examples with their standard error; None of a model without likelihood."""

    @abstractmethod
    def held_out_calls(self, dataset: Dataset) -> tuple[int, int]:
        """How many validation examples say enough, and the network calls that each of them takes."""

    @abstractmethod
    def draw(self, num_samples: int) -> Float[Tensor, "num_samples *shape"]:
        """Samples, always from the same noise."""

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device
