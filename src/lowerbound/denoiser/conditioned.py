"""A denoiser whose condition is bound: what a sampler steps with."""

from jaxtyping import Int
from torch import Tensor

from lowerbound.denoiser.base import Denoiser, Prediction
from lowerbound.schedule import Level


class Conditioned(Denoiser):
    r"""$E[x | x_t, c]$ for one c.

    Arguments:
        denoiser: the model.
        cond: its condition, as in `Denoiser.forward`, for the batches to come.
        observed: the entries that are there, likewise.
    """

    def __init__(self, denoiser: Denoiser, cond: Tensor | None = None, observed: Tensor | None = None):
        super().__init__(denoiser.schedule, denoiser.shape)
        self.denoiser = denoiser
        self.needs_grad = denoiser.needs_grad
        self.no_likelihood = denoiser.no_likelihood
        self.cond = cond
        self.observed = observed

    def rows(self, rows: Int[Tensor, "num_rows"]) -> "Conditioned":
        cond, observed = (None if each is None else each[rows] for each in (self.cond, self.observed))
        return Conditioned(self.denoiser.rows(rows), cond, observed)

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        return self.denoiser(
            x_t, level, self.cond if cond is None else cond, self.observed if observed is None else observed
        )
