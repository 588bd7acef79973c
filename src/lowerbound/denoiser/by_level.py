r"""A denoiser in two pieces, each for its side of a noise level.

$$\hat x(x_t) = \begin{cases} \hat x_{fine}(x_t) & \gamma_t < s \\ \hat x_{coarse}(x_t) & \gamma_t \ge s \end{cases}$$

What is hard about noise changes with its level. The bits of an image are in noise so fine that only the nearest pixels
help to see through it, at full resolution; what an eye sees is decided where no single pixel can be made out, and a
network at a fraction of the resolution sees as much. One network for both pays for each everywhere. The bound is an integral
over levels, so a denoiser made of pieces has one bound like any other, and its parts are its pieces'.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound.denoiser.base import Denoiser, Prediction, replaced
from lowerbound.errors import InputError
from lowerbound.schedule import Level, Schedule


class ByLevel(Denoiser):
    r"""Two denoisers, each for its side of a noise level (formula in the module's docstring).

    Arguments:
        fine: for levels below the split.
        coarse: for all others.
        split: s, the $\gamma$ where one takes over from the other.

    Attributes:
        trains_both: whether both are called with each batch in training, be it for nothing: where processes have the
            networks' weights in parts, all of them have to make the same calls, whatever the levels of their examples.

    Raises:
        InputError: if they have different schedules, are for examples of different shapes, or one of them was given the
            entries that are there.
    """

    trains_both = False

    def __init__(self, fine: Denoiser, coarse: Denoiser, split: float):
        if fine.schedule is not coarse.schedule or fine.shape != coarse.shape:
            raise InputError(
                f"the pieces are for examples of shape {fine.shape} and {coarse.shape}, with "
                f"{'one schedule' if fine.schedule is coarse.schedule else 'two schedules'}: give two denoisers of one "
                "shape that were built with the same schedule"
            )
        if fine.observed is not None or coarse.observed is not None:
            raise InputError(
                "a piece was given the entries that are there: give them to the whole, ByLevel(...).given(...)"
            )
        super().__init__(fine.schedule, fine.shape)
        self.fine, self.coarse, self.split = fine, coarse, float(split)
        self.no_likelihood = fine.no_likelihood or coarse.no_likelihood
        self.no_flow = fine.no_flow or coarse.no_flow
        self.rows_are_apart = fine.rows_are_apart and coarse.rows_are_apart

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, coarse from gamma = {self.split:.4g}"

    def along(self, schedule: Schedule) -> "ByLevel":
        return replaced(self, fine=self.fine.along(schedule), coarse=self.coarse.along(schedule), schedule=schedule)

    def rows(self, rows: Int[Tensor, "num_rows"]) -> "ByLevel":
        fine, coarse = self.fine.rows(rows), self.coarse.rows(rows)
        return self if (fine, coarse) == (self.fine, self.coarse) else replaced(self, fine=fine, coarse=coarse)

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        gamma = level.gamma
        if not isinstance(gamma, Tensor):
            return (self.coarse if gamma >= self.split else self.fine).predict(x_t, level, cond, observed)
        is_coarse = (gamma >= self.split).expand(len(x_t))
        predictions = []
        for piece, its_own in ((self.fine, ~is_coarse), (self.coarse, is_coarse)):
            rows = its_own.nonzero()[:, 0]
            asked = rows if len(rows) or not (self.trains_both and self.training) else rows.new_zeros(1)
            if len(asked):
                own = (None if each is None else each[asked] for each in (cond, observed))
                predictions.append((rows, piece.rows(asked).predict(x_t[asked], level.rows(asked), *own)))

        def joined(name: str) -> Tensor | None:
            """What the pieces say, each for its rows; None where one of them does not say it."""
            values = [getattr(prediction, name) for _, prediction in predictions]
            if any(value is None for value in values):
                return None
            whole = torch.empty_like(x_t)
            for (rows, _), value in zip(predictions, values, strict=True):
                whole[rows] = value[: len(rows)]
            return whole

        x = joined("x")
        assert x is not None
        return Prediction(x_t, level, x, self.schedule, joined("x_var"), joined("variance_mix"))
