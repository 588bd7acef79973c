r"""Runge-Kutta steps of the probability flow in the noise's own units (Karras et al. 2022, EDM).

In $y = x_t / \alpha_t$ and $r = \sigma_t / \alpha_t$ the flow is $dy/dr = (y - \hat x) / r$, the same in every scaling.
With $q = r_s / r_t$ Euler's step is $y_s = q y + (1 - q) \hat x$, which is DDIM's, and Heun's, with the slope's mean over
both ends,

$$y_s = q y + (1 - q) \Big[\hat x_t + \frac{1}{2q} (\hat x_s - \hat x_t)\Big], \qquad \hat x_s \text{ at Euler's } y_s .$$

Before a step, churn raises r to $\hat r = (1 + churn) r$ by adding noise: $\hat y = y + \sqrt{\hat r^2 - r^2}\, z$. A churn
that stays while the grid is refined keeps an error of its own; in the paper it falls with the number of steps,
$S_{churn} / N$.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.samplers.base import Sampler, Setting, State
from lowerbound.samplers.exponential import advance, length
from lowerbound.schedule import Level


@dataclass(frozen=True)
class Churned(Sampler):
    r"""A sampler that may raise the noise before each step.

    Arguments:
        churn: the share by which r is raised, the paper's $\gamma_i$, up to $\sqrt 2 - 1$; never above the schedule's
            noisiest level, and not before the step to the data.
        churn_noise: $S_{noise}$, the standard deviation of the z that is added.
        churn_from, churn_to: the range of r where it is raised, $S_{tmin}$ and $S_{tmax}$.

    Raises:
        InputError: for a churn outside of $[0, \sqrt 2 - 1]$ or a negative standard deviation.
    """

    churn: Annotated[float, Setting("the share by which noise is raised before each step, at most 0.414")] = 0.0
    churn_noise: float = 1.0
    churn_from: float = 0.0
    churn_to: float = math.inf

    def __post_init__(self):
        if not 0 <= self.churn <= math.sqrt(2) - 1:
            raise InputError(
                f"churn is {self.churn}: it is a share of the noise level, 0 (none) to sqrt(2) - 1 = 0.414"
            )
        if not 0 <= self.churn_noise < math.inf:
            raise InputError(f"churn_noise is {self.churn_noise}: a standard deviation, about 1")
        if not self.churn_from < self.churn_to:
            raise InputError(
                f"churn_from is {self.churn_from} and churn_to {self.churn_to}: noise levels, the first the smaller"
            )

    def raised(self, denoiser: Denoiser, x_t: Tensor, t: Level, noise: Noise) -> tuple[Tensor, Level]:
        """The sample and its level after churn."""
        if self.churn == 0 or not self.churn_from <= t.sigma / t.alpha <= self.churn_to:
            return x_t, t
        gamma = min(float(t.gamma) + 2 * math.log1p(self.churn), denoiser.schedule.gamma_max)
        if gamma <= t.gamma:
            return x_t, t
        up = denoiser.schedule.level_at(gamma)
        added = self.churn_noise * float(up.sigma) * math.sqrt(-math.expm1(t.gamma - gamma))
        return (x_t * (up.alpha / t.alpha)).add_(noise.normal(x_t), alpha=added), up


@dataclass(frozen=True)
class Euler(Churned, order=1):
    r"""$y_s = q y + (1 - q) \hat x$, after churn (Karras et al. 2022, algorithm 2 without its correction).

    Its fields are those of `Churned`.
    """

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        x_t, t = self.raised(denoiser, state.x, t, noise)
        return State(advance(x_t, t, s, [denoiser(x_t, t).x], [1.0]))


@dataclass(frozen=True)
class Heun(Churned, order=2, calls_per_step=2):
    r"""$y_s = q y + (1 - q) [\hat x_t + \frac{1}{2q} (\hat x_s - \hat x_t)]$, after churn (Karras et al. 2022, algorithms 1
    and 2): two network calls for a step, one for the last to the data.

    Its fields are those of `Churned`.
    """

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        x_t, t = self.raised(denoiser, state.x, t, noise)
        first = denoiser(x_t, t).x
        second = denoiser(advance(x_t, t, s, [first], [1.0]), s).x
        share = math.exp(length(t, s)) / 2
        return State(advance(x_t, t, s, [first, second], [1 - share, share]))
