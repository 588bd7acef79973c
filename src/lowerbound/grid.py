"""Time grids: the decreasing times that a sampler visits, as double-precision tensors."""

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.schedule import Schedule


def uniform(num_times: int) -> Float[Tensor, "num_times"]:
    """Times equally spaced from 1 to 0; a single time is 1."""
    _check(num_times)
    return torch.linspace(1, 0, num_times, dtype=torch.float64)


def uniform_in_gamma(schedule: Schedule, num_times: int) -> Float[Tensor, "num_times"]:
    r"""Times at which $\gamma$ is equally spaced between the schedule's ends, from 1 to 0; a single time is 1."""
    _check(num_times)
    gammas = torch.linspace(schedule.gamma_max, schedule.gamma_min, num_times, dtype=torch.float64)
    times = schedule.inverse(gammas).clamp(0, 1)
    times[0] = 1
    return times


def _check(num_times: int) -> None:
    if num_times < 1:
        raise InputError(f"a grid of {num_times} times was asked for: a sampler takes at least one step")
