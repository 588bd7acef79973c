"""What one training step computes, as the one module that is wrapped, compiled or distributed."""

from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from lowerbound import objective
from lowerbound.denoiser import Denoiser


class TrainingStep(nn.Module):
    """The loss of a batch whose randomness has been drawn.

    Arguments:
        denoiser: what is trained; it owns the schedule.
        weighting: of the bound's integral.
    """

    def __init__(self, denoiser: Denoiser, weighting: objective.Weighting):
        super().__init__()
        self.denoiser = denoiser
        self.weighting = weighting

    def forward(
        self,
        x: Float[Tensor, "batch *shape"],
        t: Float[Tensor, "batch"],
        eps: Float[Tensor, "batch *shape"],
        cond: Num[Tensor, "batch ..."] | None = None,
        observed: Bool[Tensor, "batch *shape"] | None = None,
    ) -> Float[Tensor, "batch"]:
        """The loss of each example, nats with the bound's own weighting."""
        return objective.loss(self.denoiser, x, self.weighting, t=t, eps=eps, cond=cond, observed=observed)
