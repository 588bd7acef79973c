"""How samples are drawn: a stepping rule, and the times that it visits."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from lowerbound import grid
from lowerbound.analytic_variance import WithVariance
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.samplers.base import Sampler
from lowerbound.samplers.flow import ProbabilityFlow
from lowerbound.sampling.registry import SAMPLERS
from lowerbound.schedule import Tabulated
from lowerbound.shapes import Times
from lowerbound.words.brief import Brief

GridName = Literal["visible", "time", "trailing", "gamma", "karras", "ddpm", "minimal-error", "minimal-bound"]
GRIDS: tuple[str, ...] = get_args(GridName)
DEFAULT_SAMPLER, DEFAULT_STEPS, DEFAULT_GRID = "unipc-sde", 24, "visible"


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Brief):
    """How samples are drawn.

    Arguments:
        sampler: the stepping rule.
        times: those that it visits, decreasing, (num_steps,).
    """

    sampler: Sampler
    times: Times

    @property
    def num_calls(self) -> int:
        """Network calls per sample; the last step, to the data, takes but one. An adaptive sampler takes more."""
        return self.sampler.calls_per_step * (len(self.times) - 1) + 1


def make_plan(
    denoiser: Denoiser,
    num_levels: int | None = None,
    sampler: Sampler = SAMPLERS[DEFAULT_SAMPLER],
    num_steps: int | None = None,
    grid_name: str = DEFAULT_GRID,
) -> Plan:
    r"""The plan of a sampler on a grid that is called by its name, one of `GRIDS`.

    The grid "visible" has equal steps of $\gamma$ between the `grid.visible_limits`.

    Without a number of steps it has `DEFAULT_STEPS`; two for `ProbabilityFlow`, which takes its own between them.

    Arguments:
        denoiser: the model.
        num_levels: K of discrete data; None: continuous data.
        sampler: the stepping rule.
        num_steps: the number of steps, the last one to the data.
        grid_name: the spacing of the steps.

    Raises:
        InputError: for fewer than one step, an unknown grid, or a denoiser that is not what the grid is made for.
    """
    schedule = denoiser.schedule
    if num_steps is None:
        num_steps = 2 if isinstance(sampler, ProbabilityFlow) else DEFAULT_STEPS
    match grid_name:
        case "visible":
            limits = grid.visible_limits(schedule, math.prod(denoiser.shape), num_levels)
            times = grid.uniform_in_gamma(schedule, num_steps, *limits)
        case "time":
            times = grid.uniform(num_steps)
        case "trailing":
            times = grid.trailing(num_steps)
        case "gamma":
            times = grid.uniform_in_gamma(schedule, num_steps)
        case "karras":
            times = grid.karras(schedule, num_steps)
        case "ddpm":
            if not isinstance(schedule, Tabulated):
                raise InputError(
                    "the grid 'ddpm' takes the integer steps of a table of betas, which this run's schedule is not: choose "
                    "another grid"
                )
            times = grid.ddpm_steps(schedule, num_steps)
        case "minimal-error" | "minimal-bound":
            if not isinstance(denoiser, WithVariance):
                raise InputError(
                    f"the grid {grid_name!r} needs the denoiser's error by noise level: measure it with "
                    "measure_variance, or of a run with with_analytic_variance"
                )
            minimal = grid.minimal_error if grid_name == "minimal-error" else grid.minimal_bound
            times = minimal(denoiser, num_steps)
        case _:
            raise InputError(f"unknown grid {grid_name!r}: choose one of {', '.join(GRIDS)}")
    return Plan(sampler, times)
