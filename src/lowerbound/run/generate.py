"""Samples of a run, batch by batch, each a function of its seed alone."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lowerbound import grid
from lowerbound.brief import Brief
from lowerbound.brownian import BrownianPath
from lowerbound.denoiser import Denoiser, WithVariance
from lowerbound.errors import InputError
from lowerbound.rng import PerSample
from lowerbound.run.opened import Run
from lowerbound.samplers import DDIM, SAMPLERS, ProbabilityFlow, Sampler, start, trajectory
from lowerbound.schedule import Tabulated

GridName = Literal["visible", "time", "trailing", "gamma", "karras", "ddpm", "minimal-error", "minimal-bound"]
GRIDS: tuple[str, ...] = get_args(GridName)
DEFAULT_SAMPLER, DEFAULT_STEPS, DEFAULT_GRID = "dpm++sde", 16, "visible"


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Brief):
    """How samples are drawn.

    Arguments:
        sampler: the stepping rule.
        times: those that it visits, decreasing, (num_steps,).
    """

    sampler: Sampler
    times: Tensor

    @property
    def num_calls(self) -> int:
        """Network calls per sample; the last step, to the data, takes but one. An adaptive sampler takes more."""
        return self.sampler.calls_per_step * (len(self.times) - 1) + 1


def make_plan(
    run: Run,
    sampler: Sampler = SAMPLERS[DEFAULT_SAMPLER],
    num_steps: int | None = None,
    grid_name: str = DEFAULT_GRID,
) -> Plan:
    r"""The plan of a sampler on a grid that is called by its name, one of `GRIDS`.

    The grid "visible" has equal steps of $\gamma$ between the `grid.visible_limits`.

    Without a number of steps it has `DEFAULT_STEPS`; two for `ProbabilityFlow`, which takes its own between them.

    Raises:
        InputError: for fewer than one step, an unknown grid, or a run that is not what the grid is made for.
    """
    denoiser, schedule = run.denoiser, run.denoiser.schedule
    if num_steps is None:
        num_steps = 2 if isinstance(sampler, ProbabilityFlow) else DEFAULT_STEPS
    match grid_name:
        case "visible":
            limits = grid.visible_limits(schedule, math.prod(run.data.shape), run.data.encoding.num_levels)
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


def run_plan(run: Run) -> Plan:
    """How a run's samples are drawn if nothing else is said: a distilled one's in its own steps."""
    return make_plan(run) if run.times is None else Plan(DDIM(), run.times)


def generate(
    run: Run,
    num_samples: int,
    plan: Plan | None = None,
    *,
    seed: int = 0,
    cond: Tensor | None = None,
    brownian: bool = False,
    batch_size: int = 64,
    progress: Callable[[int], object] = lambda steps: None,
) -> np.ndarray:
    """Draw samples in the units and type of the stored data, (num_samples, *shape).

    Sample i depends on (seed, i) and its condition only, not on the batches or on how many are drawn.

    Arguments:
        run: the model.
        num_samples: how many.
        plan: the stepping rule and its steps; the default ones if None.
        seed: of all of them.
        cond: a condition for each sample, (num_samples, ...), or None.
        brownian: whether the noise of a stochastic sampler follows one path for each sample, which does not change when the
            grid is refined (`BrownianPath`).
        batch_size: it changes nothing but speed and memory.
        progress: called with 1 after each step of a batch.
    """
    plan = plan or run_plan(run)
    batches = []
    for first in range(0, num_samples, batch_size):
        seeds = range(first, min(first + batch_size, num_samples))
        part = None if cond is None else cond[first : first + batch_size]
        for x in _states(run, seeds, plan, seed, part, brownian):
            last = x
            progress(1)
        batches.append(run.decode(last))  # pyright: ignore[reportPossiblyUnboundVariable]
    return np.concatenate(batches)


@contextmanager
def network_calls(denoiser: Denoiser) -> Iterator[list[int]]:
    """How many examples each call of a denoiser had, as long as the context lasts."""
    calls: list[int] = []
    hook = denoiser.register_forward_pre_hook(lambda module, arguments: calls.append(len(arguments[0])))
    try:
        yield calls
    finally:
        hook.remove()


def path(
    run: Run,
    num_samples: int,
    plan: Plan | None = None,
    *,
    seed: int = 0,
    cond: Tensor | None = None,
    brownian: bool = False,
    num_states: int = 9,
    progress: Callable[[int], object] = lambda steps: None,
) -> list[tuple[float, np.ndarray]]:
    """The way of the same samples from noise to data: pairs of t and the states $x_t$ in the units of the stored data.

    Arguments:
        num_states: how many, evenly spread over the steps, the first and the last among them; all if there are fewer.
        (the rest as in `generate`)
    """
    plan = plan or run_plan(run)
    times = [*plan.times.tolist(), 0.0]
    chosen = set(torch.linspace(0, len(times) - 1, min(num_states, len(times))).round().long().tolist())
    shown = []
    for step, (t, x) in enumerate(
        zip(times, _states(run, range(num_samples), plan, seed, cond, brownian), strict=True)
    ):
        if step in chosen:
            shown.append((t, run.decode(x)))
        progress(1)
    return shown


def _states(run: Run, numbers: range, plan: Plan, seed: int, cond: Tensor | None, brownian: bool) -> Iterator[Tensor]:
    seeds, schedule = [(seed << 32) + i for i in numbers], run.denoiser.schedule
    noise = BrownianPath(seeds, schedule.gamma_min, schedule.gamma_max) if brownian else PerSample(seeds)
    x_1 = start(run.denoiser, len(noise), noise, t=plan.times[0].item())
    cond = None if cond is None else cond.to(run.denoiser.device)
    return trajectory(run.denoiser.given(cond), plan.sampler, x_1, plan.times, noise)
