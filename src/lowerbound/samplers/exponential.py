r"""Exponential integration of the probability flow, which every deterministic sampler here builds on.

With $l = -\gamma/2$ the flow is $\frac{d}{dl} \frac{x_t}{\sigma_t} = e^l \hat x$, in every scaling, so that over a step of
length $h = l_s - l_t$

$$x_s = \frac{\sigma_s}{\sigma_t} x_t + \alpha_s \int_0^1 h\, e^{-h(1-u)}\, \hat x(l_t + u h)\, du .$$

Only $\hat x$ is approximated. Its polynomial through the predictions $\hat x_j$ at the places $u_j$ (0 is t, 1 is s, earlier
levels are negative) turns the integral into $-\alpha_s \mathrm{expm1}(-h) \sum_j w_j \hat x_j$, an average of the
predictions: the weights have the moments of the integral's kernel,

$$\sum_j w_j u_j^n = \frac{I_n}{I_0}, \qquad I_n = \int_0^1 h\, e^{-h(1-u)} u^n\, du = h\, n!\, \varphi_{n+1}(-h) .$$

A sampler of k predictions has order k on grids whose steps grow from the start in proportion. The first steps have fewer
predictions behind them and a lower order: the first, of one prediction, errs by $O(h^2)$, so that on equal steps of
$\gamma$ the order is at most two, or three with UniPC's corrector, however many predictions are used. What the start leaves
falls with $e^{-\gamma_1}$: from noise alone $\hat x$ hardly changes. A Runge-Kutta step in the place of the first would keep
the order on every grid, but its further calls are better spent on shorter steps: on a mixture, at 8, 16 or 32 calls, a start
of order three pays at $\gamma_1 = 1$ and costs accuracy at 5 and at 8.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.elementary import Scalar
from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.samplers.base import Sampler, Setting, State
from lowerbound.schedule import Level
from lowerbound.words.brief import Brief


@dataclass(frozen=True, slots=True, repr=False)
class Past(Brief):
    r"""The memory of a multistep sampler: its last predictions, the newest first.

    Arguments:
        gammas: $\gamma$ where each was made.
        predictions: $\hat x$, each (B, *).
    """

    gammas: tuple[float, ...] = ()
    predictions: tuple[Tensor, ...] = ()

    def then(self, t: Level, x_hat: Tensor, count: int) -> "Past":
        """The same after one more prediction, `count` of them kept."""
        return Past((float(t.gamma), *self.gammas)[:count], (x_hat, *self.predictions)[:count])

    def places(self, gamma_t: Scalar, gamma_s: Scalar) -> list[float]:
        """Where they were made, as seen from the step from t to s: $u_j = (l_j - l_t) / h$."""
        return [float((gamma_t - gamma) / (gamma_t - gamma_s)) for gamma in self.gammas]


MultistepOrder = Annotated[int, Setting("the number of network calls that a step makes use of", flag="order")]


@dataclass(frozen=True)
class Multistep(Sampler):
    """A sampler that remembers its last predictions.

    Arguments:
        multistep_order: the predictions that a step uses, 1 to `most`; fewer as long as there are not so many.

    Raises:
        InputError: for another order.
    """

    multistep_order: MultistepOrder = 2
    most: ClassVar[int] = 3

    def __post_init__(self):
        if self.multistep_order not in range(1, self.most + 1):
            raise InputError(
                f"multistep_order is {self.multistep_order}: it is the number of predictions used, 1 to {self.most}"
            )

    @property
    def order(self) -> int:
        return self.multistep_order

    def init(self, x_t: Tensor) -> State:
        return State(x_t, Past())

    def step(self, denoiser: Denoiser, state: State, t: Level, s: Level, noise: Noise) -> State:
        x_hat = denoiser(state.x, t).x
        x = self.corrected(state.x, x_hat, state.memory, t) if state.memory.gammas else state.x
        past = state.memory.then(t, x_hat, self.multistep_order)
        return State(self.advanced(x, past, t, s, noise), past)

    def corrected(self, x: Tensor, x_hat: Tensor, before: Past, t: Level) -> Tensor:
        """x at t, after a step, once the prediction there is known; as it is, of samplers without a corrector."""
        return x

    @abstractmethod
    def advanced(self, x: Tensor, past: Past, t: Level, s: Level, noise: Noise) -> Tensor:
        """x at s."""


@dataclass(frozen=True)
class ExponentialAdamsBashforth(Multistep):
    r"""$x_s = \frac{\sigma_s}{\sigma_t} x_t - \alpha_s \mathrm{expm1}(-h) \sum_j w_j \hat x_j$ over the last k
    predictions, integrated exactly (Hochbruck & Ostermann 2010, "Exponential integrators"; in $\hat\epsilon$
    and t: Zhang & Chen 2023, DEIS).

    Arguments:
        multistep_order: k, the predictions that a step uses, 1 to 4; fewer as long as there are not so many. It is the order
            on grids whose steps grow from the start; on equal steps of $\gamma$ the order is at most 2.

    Raises:
        InputError: for another order.
    """

    multistep_order: MultistepOrder = 3
    most: ClassVar[int] = 4

    def advanced(self, x: Tensor, past: Past, t: Level, s: Level, noise: Noise) -> Tensor:
        at = past.places(t.gamma, s.gamma)
        return advance(x, t, s, past.predictions, matching(moments(length(t, s), len(at)), at))


def length(t: Level, s: Level) -> float:
    """$h = l_s - l_t$"""
    return float(t.gamma - s.gamma) / 2


def advance(x_t: Tensor, t: Level, s: Level, predictions: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    r"""$\frac{\sigma_s}{\sigma_t} x_t - \alpha_s \mathrm{expm1}(-h) \sum_j w_j \hat x_j$"""
    scale = -s.alpha * math.expm1(-length(t, s))
    return add(x_t * (s.sigma / t.sigma), predictions, [scale * weight for weight in weights])


def add(x: Tensor, predictions: Sequence[Tensor], weights: Sequence[Scalar]) -> Tensor:
    r"""$x + \sum_j w_j \hat x_j$, in the place of x."""
    for weight, x_hat in zip(weights, predictions, strict=True):
        x.add_(x_hat, alpha=float(weight))
    return x


def matching(kernel: Sequence[float], at: Sequence[float]) -> list[float]:
    r"""The weights of the places $u_j$ with $\sum_j w_j u_j^n$ = `kernel[n]`."""
    return [1.0] if len(at) == 1 else np.linalg.solve(np.vander(at, increasing=True).T, kernel).tolist()


def moments(h: float, count: int) -> list[float]:
    r"""$I_n / I_0$ for n below `count`."""
    if h > 1:
        integrals = [-math.expm1(-h)]
        for n in range(1, count):
            integrals.append(1 - n * integrals[-1] / h)
    else:
        # by parts the integrals cancel in a short step; after Kummer's transformation all terms are positive
        terms = [h**k / math.factorial(k) for k in range(19)]
        integrals = [sum(term / (n + k + 1) for k, term in enumerate(terms)) for n in range(count)]
    return [integral / integrals[0] for integral in integrals]
