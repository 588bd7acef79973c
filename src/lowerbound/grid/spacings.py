r"""Published spacings: in t, in $\gamma$, EDM's, and the integer steps of a table of betas.

In the publications' code a table of T betas has the steps 0 ... T - 1, the last the noisiest, and n of them are visited:

| spacing | steps |
|---|---|
| leading | $\lfloor T / n \rfloor\, i$, i = n - 1 ... 0: the last step of the table is left out unless n = T |
| linspace | n numbers from T - 1 to 0, equally spaced and rounded |
| trailing | $\mathrm{round}(T\, i / n) - 1$, i = n ... 1 (Lin et al. 2024) |

Step k is the latent $x_{k+1}$ of DDPM, at the time `schedule.times[k]`. A sampler goes from each time to the next of the
grid, whatever the spacing, never by a stride, so counts that do not divide T are as good as others. (Lin et al. 2024 is
"Common diffusion noise schedules and sample steps are flawed".)
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.schedule import Schedule, Tabulated
from lowerbound.settings import check_choice, check_count
from lowerbound.shapes import Times

NEGLIGIBLE = 0.02
"""Nats of an example below which noise counts as pure."""
DDPM_SPACINGS = ("leading", "linspace", "trailing")


def uniform(num_times: int) -> Times:
    """Times equally spaced from 1 to 0; a single time is 1."""
    check_count(num_times, "num_times")
    return torch.linspace(1, 0, num_times, dtype=torch.float64)


def trailing(num_times: int) -> Times:
    """The times 1, 1 - 1/n, ..., 1/n: all n steps are equally long, the one to the data included."""
    check_count(num_times, "num_times")
    return torch.arange(num_times, 0, -1, dtype=torch.float64) / num_times


def uniform_in_gamma(
    schedule: Schedule, num_times: int, gamma_min: float | None = None, gamma_max: float | None = None
) -> Times:
    r"""Times at which $\gamma$ is equally spaced.

    Arguments:
        schedule: the noise schedule.
        num_times: n; a single time is the noisiest.
        gamma_min, gamma_max: the last and the first level, the schedule's ends if None.

    Raises:
        InputError: for no times, or limits outside of the schedule.
    """
    check_count(num_times, "num_times")
    low, high = _limits(schedule, gamma_min, gamma_max)
    return times_at(schedule, torch.linspace(high, low, num_times, dtype=torch.float64))


def visible_limits(schedule: Schedule, num_dims: int, num_levels: int | None) -> tuple[float, float]:
    r"""The levels $\gamma$ between which there is something to see, within the schedule: the last and the first of a grid.

    Below the first, noise is less than a level wide, $e^{\gamma/2} < 2 / K$; discrete data alone have it. Above the second
    an example whose values are about one is worth less than `NEGLIGIBLE` nats, $e^{-\gamma} D / 2$, which is what the
    prior's divergence comes to.

    Arguments:
        schedule: the noise schedule.
        num_dims: D, values of an example.
        num_levels: K of discrete data; None for continuous ones.
    """
    low = schedule.gamma_min if num_levels is None else max(schedule.gamma_min, 2 * math.log(2 / num_levels))
    high = min(schedule.gamma_max, math.log(num_dims / (2 * NEGLIGIBLE)))
    return (low, high) if low < high else (schedule.gamma_min, schedule.gamma_max)


def karras(
    schedule: Schedule, num_times: int, rho: float = 7.0, gamma_min: float | None = None, gamma_max: float | None = None
) -> Times:
    r"""Times at which $r^{1/\rho}$ is equally spaced, $r = e^{\gamma/2}$ (Karras et al. 2022, equation 5).

    Arguments:
        schedule: the noise schedule.
        num_times: n; a single time is the noisiest.
        rho: $\rho$; 1 spaces r equally, and the larger it is the nearer this comes to `uniform_in_gamma`.
        gamma_min, gamma_max: the last and the first level, the schedule's ends if None; a larger `gamma_min` saves the
            steps at noise that no one sees.

    Raises:
        InputError: for no times, a rho that is not positive, or limits outside of the schedule.
    """
    check_count(num_times, "num_times")
    if not rho > 0:
        raise InputError(f"rho is {rho}: it must be positive; 7 is usual")
    low, high = _limits(schedule, gamma_min, gamma_max)
    first, last = (math.exp(gamma / (2 * rho)) for gamma in (high, low))
    gammas = 2 * rho * torch.linspace(first, last, num_times, dtype=torch.float64).log()
    gammas[-1] = low  # to the last digit; so is the first one, which comes after it where it is the only one
    gammas[0] = high
    return times_at(schedule, gammas)


def ddpm_steps(schedule: Tabulated, num_times: int, spacing: str = "leading") -> Times:
    r"""The times of DDPM's integer steps, as published (table in the module's docstring).

    A single step of "linspace" is the table's last; of "leading" it is the first, which is no start for sampling.

    Arguments:
        schedule: a table of betas (`schedule.from_betas`).
        num_times: n, at most T.
        spacing: one of `DDPM_SPACINGS`.

    Raises:
        InputError: for an unknown spacing, or more times than the table has.
    """
    num_steps = len(schedule.times)
    check_count(num_times, "num_times")
    check_choice("spacing", spacing, DDPM_SPACINGS)
    if num_times > num_steps:
        raise InputError(f"{num_times} times of a table of {num_steps} steps: ask for at most {num_steps}")
    # numpy, for a number halfway between two steps to fall where it does in the original code
    if spacing == "leading":
        steps = num_steps // num_times * np.arange(num_times)[::-1]
    elif spacing == "trailing":
        # at some counts rounding makes the original one step longer than was asked for
        steps = np.round(np.arange(num_steps, 0, -num_steps / num_times)[:num_times]) - 1
    else:
        steps = np.round(np.linspace(0, num_steps - 1, num_times))[::-1] if num_times > 1 else [num_steps - 1]
    return schedule.times[torch.tensor(np.array(steps).astype(np.int64))]


def _limits(schedule: Schedule, gamma_min: float | None, gamma_max: float | None) -> tuple[float, float]:
    low = schedule.gamma_min if gamma_min is None else gamma_min
    high = schedule.gamma_max if gamma_max is None else gamma_max
    if not schedule.gamma_min <= low < high <= schedule.gamma_max:
        raise InputError(
            f"gamma from {low} to {high}: the limits must increase within the schedule, whose ends are "
            f"{schedule.gamma_min:g} and {schedule.gamma_max:g}"
        )
    return low, high


def times_at(schedule: Schedule, gammas: Float[Tensor, "num_times"]) -> Times:
    """The times of noise levels; the schedule's ends are exactly 1 and 0."""
    with torch.no_grad():
        times = schedule.inverse(gammas).clamp(0, 1)
    times[gammas >= schedule.gamma_max] = 1
    times[gammas <= schedule.gamma_min] = 0
    return times
