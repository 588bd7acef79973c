"""Time grids: the decreasing times in [0, 1] that a sampler visits, as double-precision tensors.

A sampler goes on from the last of them to the data itself, so that n times are n steps.
"""

from lowerbound.grid.optimal import minimal_bound, minimal_error
from lowerbound.grid.spacings import (
    DDPM_SPACINGS,
    ddpm_steps,
    karras,
    trailing,
    uniform,
    uniform_in_gamma,
    visible_limits,
)

__all__ = [
    "DDPM_SPACINGS",
    "ddpm_steps",
    "karras",
    "minimal_bound",
    "minimal_error",
    "trailing",
    "uniform",
    "uniform_in_gamma",
    "visible_limits",
]
