r"""Any sampler with a network upon a fitted mixture, which knows its own conditional in closed form.

A network adds F to $\hat\epsilon^M$ of a mixture $p^M$ of whole rows (`fitted`). What a row's law has beyond the mixture's,
$p(x) = p^M(x)\, w(x)$, changes the score of its noisy entries by the gradient of $\log E^M[w(x) | x_t]$, which is what F
stands for; where y of a row is known it is that of $\log E^M[w(x) | x_t, y]$. So

$$\hat\epsilon(x_t | y) = \hat\epsilon^M(x_t | y) + F(x_t)$$

is exact where the network is silent, and where there is so little noise that $x_t$ says y; in between F is of a noisy y.
No derivative of the network is taken, and nothing is divided by an assumed variance, so that draws are as rarely far out as
those of the model itself. The known entries of $x_t$ are drawn on their way to y with the others.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lowerbound.denoiser import Denoiser, Prediction, Wrapper
from lowerbound.denoiser.base import Conditioned, replaced
from lowerbound.errors import InputError
from lowerbound.fitted import FittedMixture
from lowerbound.inverse.guided import DEFAULT_SAMPLER, sampled
from lowerbound.inverse.method import Method, Problem, Progress
from lowerbound.inverse.operators import Mask
from lowerbound.rng import Noise
from lowerbound.samplers import Sampler
from lowerbound.schedule import Level
from lowerbound.shapes import Examples, Observed, Times


@dataclass(frozen=True)
class Fitted(Method):
    """A sampler with the fitted mixture's conditional below the network, for masks without noise.

    Arguments:
        sampler: the stepping rule.

    Raises:
        InputError: in use, if the network stands upon no mixture, the operator is not a mask, or it measures with noise.
    """

    sampler: Sampler = DEFAULT_SAMPLER

    def draw(self, problem: Problem, times: Times, noise: Noise, progress: Progress) -> Examples:
        mask, y, model = problem.operator, problem.y, problem.denoiser
        if not isinstance(mask, Mask) or problem.noise_std > 0:
            raise InputError("a mixture is given entries as they are: use a Mask and no noise, or another method")
        mixture = fitted_mixture(model)
        if mixture is None:
            raise InputError(f"{type(model).__name__} stands upon no fitted mixture: use another method")
        known = mask.observed.expand(y.shape)
        below = mixture.given(y, known)
        if isinstance(model, Conditioned):
            given = replaced(model, denoiser=replaced(model.denoiser, mixture=below))
        else:
            given = replaced(model, mixture=below)
        return sampled(_Known(given, y, known), self.sampler, y, times, noise, progress)


def fitted_mixture(denoiser: Denoiser) -> FittedMixture | None:
    """What a denoiser's network stands upon, its condition left aside."""
    below = getattr(denoiser.denoiser if isinstance(denoiser, Conditioned) else denoiser, "mixture", None)
    return below if isinstance(below, FittedMixture) else None


class _Known(Wrapper):
    """A denoiser whose prediction of entries that are known is their value."""

    by_row = ("y", "known")

    def __init__(self, denoiser: Denoiser, y: Examples, known: Observed):
        super().__init__(denoiser)
        self.y = y
        self.known = known

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        x = torch.where(self.known, self.y, self.denoiser(x_t, level, cond, observed).x)
        return Prediction(x_t, level, x, self.schedule)
