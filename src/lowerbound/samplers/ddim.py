"""DDIM: the non-Markovian family between ancestral sampling and the probability flow."""

import math
from dataclasses import dataclass
from typing import Annotated

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.samplers.base import Sampler, Setting, State
from lowerbound.schedule import Level


@dataclass(frozen=True)
class DDIM(Sampler, order=1):
    r"""$x_s = \alpha_s \hat x + \sqrt{\sigma_s^2 - w^2}\, \hat\epsilon + w z$, $w^2 = -\eta^2 \sigma_s^2
    \mathrm{expm1}(\gamma_s - \gamma_t)$ (Song, Meng & Ermon 2021, equations 12 and 16, in every scaling).

    Arguments:
        eta: $\eta$; 0 is deterministic and of first order for the probability flow, 1 is ancestral sampling with the
            posterior's own variance.

    Raises:
        InputError: if eta is outside [0, 1].
    """

    eta: Annotated[float, Setting("the share of noise in a step, between 0, deterministic, and 1, ancestral")] = 0.0

    def __post_init__(self):
        if not 0 <= self.eta <= 1:
            raise InputError(f"DDIM got eta={self.eta}: it lies between 0 (deterministic) and 1 (ancestral)")

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        fresh = -((self.eta * s.sigma) ** 2) * math.expm1(s.gamma - t.gamma)
        # eps_hat = (x_t - alpha_t x_hat) / sigma_t put in: two tensor operations instead of four
        ratio = math.sqrt(s.sigma**2 - fresh) / t.sigma
        x = (state.x * ratio).add_(denoiser(state.x, t).x, alpha=float(s.alpha - ratio * t.alpha))
        return State(x.add_(noise.step(x, t.gamma, s.gamma), alpha=math.sqrt(fresh)) if fresh > 0 else x)
