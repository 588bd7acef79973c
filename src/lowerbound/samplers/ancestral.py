"""Ancestral sampling: draw each reverse step of the chain."""

import math
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.reverse import KINDS, posterior
from lowerbound.rng import Noise
from lowerbound.samplers.base import Sampler, Setting, State
from lowerbound.schedule import Level
from lowerbound.settings import check_choice


@dataclass(frozen=True)
class Ancestral(Sampler, order=1):
    r"""$x_s \sim N(c_t x_t + c_x \hat x, v)$, c the posterior's coefficients (DDPM, algorithm 2).

    Arguments:
        variance: v, one of `reverse.KINDS`: "lower" ($\tilde\beta_t$), "upper" (DDPM's $\beta_t$), "analytic" for
            denoisers that know $Var[x | x_t]$ (`measure_variance` makes any one know it), or "learned" for those whose
            network was trained to say it.

    Raises:
        InputError: for an unknown variance.
    """

    variance: Annotated[
        str,
        Setting(
            "the variance of its steps, the posterior's own (lower), DDPM's beta (upper), the best for this model "
            "(analytic; measured once on training data and kept in the run folder), or the one that the network has "
            "learned (learned)",
            choices=KINDS,
        ),
    ] = "lower"

    def __post_init__(self):
        check_choice("the reverse variance", self.variance, KINDS)

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        prediction = denoiser(state.x, t)
        mean = posterior(t, s)
        x = (state.x * mean.from_x_t).add_(prediction.x, alpha=float(mean.from_x))
        variance = prediction.reverse_variance(self.variance, s)
        z = noise.step(x, t.gamma, s.gamma)
        if isinstance(variance, Tensor):
            return State(x.addcmul_(variance.sqrt(), z))
        return State(x.add_(z, alpha=math.sqrt(variance)))
