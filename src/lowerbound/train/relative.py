"""The training of a relative: its own loss, and its bits/dim and samples along the way."""

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.likelihood import mean_and_error
from lowerbound.models import Relative
from lowerbound.rng import Noise, PerSample
from lowerbound.train.held_out import bits_per_dim
from lowerbound.train.step import Losses, TrainingStep

MOST_HELD_OUT = 2048


class RelativeStep(TrainingStep):
    """The losses of a batch under a relative.

    Arguments:
        model: what is trained.
    """

    def __init__(self, model: Relative):
        super().__init__()
        self.model = self.relative = model
        self.is_bound = model.likelihood != "none"

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
        losses = self.relative.loss(x, noise, progress)
        return Losses(losses, losses.detach())

    def held_out(self, dataset: Dataset, conditional: bool, num_examples: int) -> tuple[float, float] | None:
        if self.relative.likelihood == "none":
            return None

        def bound(x: Tensor, noise: Noise, cond: Tensor | None):
            return self.relative.elbo(x, noise)

        return mean_and_error(bits_per_dim(bound, dataset, dataset.validation[:num_examples], self.device))

    def held_out_calls(self, dataset: Dataset) -> tuple[int, int]:
        return MOST_HELD_OUT, 1

    @torch.no_grad()
    def draw(self, num_samples: int) -> Float[Tensor, "num_samples *shape"]:
        return self.relative.sample(num_samples, PerSample(range(num_samples)))
