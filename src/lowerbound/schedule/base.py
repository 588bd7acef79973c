r"""Noise schedules: $\gamma(t)$, the negative log signal-to-noise ratio, increasing in t.

$$x_t = \alpha_t x + \sigma_t \epsilon, \qquad \gamma_t = \log(\sigma_t^2 / \alpha_t^2) = -\log \mathrm{SNR}(t),
\qquad t \in [0, 1],$$

data at t = 0, noise at t = 1. A schedule is $\gamma(t)$ with finite ends; $\alpha$ and $\sigma$ follow from it and a
`Scaling`. The bound depends on the two ends only (VDM, section 5.1), so a published curve that is infinite at an end is
used on the window of times where it lies between `gamma_min` and `gamma_max`, stretched to [0, 1].
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowerbound.elementary import Scalar
from lowerbound.errors import InputError
from lowerbound.gradient import values_and_gradient
from lowerbound.schedule.scaling import VARIANCE_PRESERVING, Scaling
from lowerbound.shapes import Times, Values
from lowerbound.words.brief import Brief


@dataclass(frozen=True, slots=True, repr=False)
class Level(Brief):
    r"""One noise level: t, $\gamma_t$, $\alpha_t$, $\sigma_t$, each a number for a whole batch or a tensor (B,)."""

    t: Scalar
    gamma: Scalar
    alpha: Scalar
    sigma: Scalar

    @property
    def parts(self) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """All four of them, as the constructor takes them."""
        return self.t, self.gamma, self.alpha, self.sigma

    def rows(self, rows: Tensor) -> "Level":
        """The levels of some rows of the batch, whose indices are given, (R,)."""
        return Level(*(part[rows] if isinstance(part, Tensor) and part.ndim else part for part in self.parts))


CLEAN = Level(t=0.0, gamma=-math.inf, alpha=1.0, sigma=0.0)
"""The data itself, without any noise: where a sampler ends after its last level."""


class Schedule(nn.Module, ABC):
    r"""$\gamma(t)$ and what follows from it.

    Arguments:
        scaling: the units in which $x_t$ is kept.
    """

    def __init__(self, scaling: Scaling = VARIANCE_PRESERVING):
        super().__init__()
        self.scaling = scaling

    def extra_repr(self) -> str:
        return f"gamma from {self.gamma_min:.4g} to {self.gamma_max:.4g}, {self.scaling.name}"

    @abstractmethod
    def gamma(self, t: Values) -> Values:
        r"""$\gamma(t) = -\log \mathrm{SNR}(t)$ for t in [0, 1]."""

    @abstractmethod
    def inverse(self, gamma: Values) -> Values:
        r"""The time t at which $\gamma(t)$ has this value."""

    def slope(self, t: Values) -> Values:
        r"""$\gamma'(t)$."""
        _, slope = values_and_gradient(self.gamma, t)
        return slope

    def forward(self, t: Values) -> tuple[Values, Values]:
        r"""$\alpha_t$ and $\sigma_t$, each of the shape of t."""
        gamma = self.gamma(t)
        return self.scaling.alpha(gamma), self.scaling.sigma(gamma)  # pyrefly: ignore[bad-return]

    def level(self, t: Tensor | float | Level) -> Level:
        """The noise level at t: of tensors for a tensor, of double-precision numbers for a number."""
        if isinstance(t, Level):
            return t
        if not isinstance(t, Tensor):
            return self.levels(torch.tensor([t], dtype=torch.float64))[0]
        return self._level(t, self.gamma(t))

    @torch.no_grad()
    def level_at(self, gamma: Scalar) -> Level:
        r"""The noise level at which $\gamma$ has this value, one of the schedule's: of tensors for a tensor.

        Raises:
            InputError: for a number beyond the schedule's ends.
        """
        slack = 1e-6 * (self.gamma_max - self.gamma_min)
        if not isinstance(gamma, Tensor) and not self.gamma_min - slack <= gamma <= self.gamma_max + slack:
            raise InputError(
                f"gamma is {gamma}: the schedule has those from {self.gamma_min:.6g} to {self.gamma_max:.6g}"
            )
        t = self.inverse(torch.as_tensor(gamma, dtype=None if isinstance(gamma, Tensor) else torch.float64)).clamp(0, 1)
        return self._level(t if isinstance(gamma, Tensor) else t.item(), gamma)

    @torch.no_grad()
    def levels(self, times: Times) -> list[Level]:
        """The noise levels at each of several times, as double-precision numbers.

        Raises:
            InputError: for a time outside [0, 1].
        """
        if not bool(((times >= 0) & (times <= 1)).all()):
            span = f"{times.min().item():g} to {times.max().item():g}"
            raise InputError(f"times are {span}: they lie between 0, the data, and 1, noise")
        gammas = self.gamma(times.double()).tolist()
        return list(map(self._level, times.tolist(), gammas))

    def _level(self, t: Scalar, gamma: Scalar) -> Level:
        return Level(t, gamma, self.scaling.alpha(gamma), self.scaling.sigma(gamma))

    def shifted(self, by: float) -> "Schedule":
        r"""The same schedule with all of $\gamma(t)$ moved by a number, as other units of the data move it."""
        if not math.isfinite(by):
            raise InputError(f"a schedule is shifted by {by}: give a finite number")
        return Shifted(self, by)

    @property
    def gamma_min(self) -> float:
        r"""$\gamma(0)$, at the data's end."""
        return float(self.level(0.0).gamma)

    @property
    def gamma_max(self) -> float:
        r"""$\gamma(1)$, at the noise's end."""
        return float(self.level(1.0).gamma)


class Shifted(Schedule):
    r"""$\gamma(t) + c$ for the $\gamma$ of another schedule, whose scaling it has.

    Arguments:
        schedule: the other one.
        by: c.
    """

    def __init__(self, schedule: Schedule, by: float):
        super().__init__(schedule.scaling)
        self.schedule = schedule
        self.by = by

    def gamma(self, t: Values) -> Values:
        return self.schedule.gamma(t) + self.by

    def inverse(self, gamma: Values) -> Values:
        return self.schedule.inverse(gamma - self.by)

    def slope(self, t: Values) -> Values:
        return self.schedule.slope(t)


def check_ends(low: float, high: float, name: str = "gamma", above: float = -math.inf) -> None:
    """Refuse ends that are not finite, above another number and increasing, with an InputError."""
    if not above < low < high < math.inf:
        raise InputError(
            f"the schedule got {name}_min={low} and {name}_max={high}: both must be {'positive and ' * (above == 0)}finite "
            f"and {name}_min, the data's end, the smaller one"
        )
