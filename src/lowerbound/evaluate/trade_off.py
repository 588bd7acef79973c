"""What is traded for what: quality against network calls by sampler, fidelity against variety by guidance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.evaluate.judge import FIGURES, Judge, draw
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.report import Table
from lowerbound.pictures.quality import fidelity_and_variety, quality_by_calls
from lowerbound.rounding import figure_text
from lowerbound.run import Run
from lowerbound.samplers import Sampler
from lowerbound.samplers.plan import DEFAULT_GRID, Plan

BATCH = 64
"""Samples that `generate` draws at a time."""


@dataclass(frozen=True)
class Point:
    """The quality of one setting.

    Arguments:
        sampler: by name.
        scale: of guidance; None without.
        num_calls: network calls per sample.
        quality: of the samples.
    """

    sampler: str
    scale: float | None
    num_calls: float
    quality: Quality


HEADER = ("sampler", "calls", "guidance", *FIGURES.values())


@dataclass(frozen=True)
class TradeOff(Figures):
    """The quality of several settings.

    Arguments:
        points: one for each.
        floor: the quality of held-out examples.
    """

    points: tuple[Point, ...]
    floor: Quality

    def tables(self) -> list[Table]:
        return [Table("Quality of other settings", HEADER, tuple(rows(self.points, self.floor)))]


def rows(points: Sequence[Point], floor: Quality) -> list[tuple[str, ...]]:
    """A table of settings, one a row, and the held-out examples under them."""

    def figures(found: Quality) -> list[str]:
        return [figure_text(*getattr(found, name)) for name in FIGURES]

    table = [
        (
            point.sampler,
            f"{point.num_calls:g}",
            "" if point.scale is None else f"{point.scale:g}",
            *figures(point.quality),
        )
        for point in points
    ]
    return [*table, ("held-out examples", "", "", *figures(floor))]


def plan_of_calls(run: Run, sampler: Sampler, num_calls: int, grid_name: str = DEFAULT_GRID) -> Plan:
    """The most steps that so many calls allow, on a grid by its name.

    Raises:
        InputError: if num_calls is below 1.
    """
    if num_calls < 1:
        raise InputError(f"calls is {num_calls}: a sample takes at least one call of the network")
    return run.diffusion.plan(sampler, (num_calls - 1) // sampler.calls_per_step + 1, grid_name)


def by_calls(
    run: Run,
    judge: Judge,
    samplers: Mapping[str, Sampler],
    calls: Sequence[int],
    *,
    num_samples: int,
    seed: int = 0,
    progress: Callable[[int], object] = lambda steps: None,
) -> list[Point]:
    """The quality of each sampler at each number of calls, all from the same noise.

    Arguments:
        run: the model.
        judge: what its samples are compared with.
        samplers: by name.
        calls: network calls per sample that may be made.
        num_samples: drawn in each setting.
        seed: of all of them.
        progress: called with 1 after each step of a batch.
    """
    plans = plans_of_calls(run, samplers, calls)
    return [_point(run, judge, name, plan, None, None, num_samples, seed, progress) for name, plan in plans]


def plans_of_calls(run: Run, samplers: Mapping[str, Sampler], calls: Sequence[int]) -> list[tuple[str, Plan]]:
    """Each sampler's name and plan at each number of calls."""
    return [
        (name, plan_of_calls(run, sampler, num)) for name, sampler in samplers.items() for num in sorted(set(calls))
    ]


def num_steps(run: Run, plan: Plan | None, num_samples: int) -> int:
    """How often `generate` reports progress."""
    return -(-num_samples // BATCH) * run.model.num_steps(plan)


def by_scale(
    run: Run,
    judge: Judge,
    denoiser_of: Callable[[float], Denoiser],
    scales: Sequence[float],
    *,
    sampler: str,
    plan: Plan,
    num_samples: int,
    seed: int = 0,
    progress: Callable[[int], object] = lambda steps: None,
) -> list[Point]:
    """The quality at each scale of guidance, all from the same noise.

    Arguments:
        run: the model, conditional.
        judge: what its samples are compared with.
        denoiser_of: the guided denoiser of a scale.
        scales: of guidance.
        sampler, plan: the stepping rule by name, and its steps.
        num_samples, seed, progress: as in `by_calls`.

    Raises:
        InputError: if the run is not conditional.
    """
    if not run.config.data.conditional:
        raise InputError(f"guidance needs a condition: the run in {run.folder.path} has none; train with --conditional")
    return [
        _point(run, judge, sampler, plan, scale, denoiser_of(scale), num_samples, seed, progress)
        for scale in sorted(set(scales))
    ]


def _point(
    run: Run,
    judge: Judge,
    sampler: str,
    plan: Plan,
    scale: float | None,
    denoiser: Denoiser | None,
    num_samples: int,
    seed: int,
    progress: Callable[[int], object],
) -> Point:
    samples, num_calls = draw(run, judge.dataset, num_samples, plan, denoiser=denoiser, seed=seed, progress=progress)
    assert num_calls is not None
    return Point(sampler, scale, num_calls, judge.quality(samples))


def draw_calls(path: Path, points: Sequence[Point], floor: Quality) -> Path:
    """The picture of `by_calls`: the Frechet distance."""
    names = list(dict.fromkeys(point.sampler for point in points))
    curves = {
        name: [(point.num_calls, *point.quality.frechet) for point in points if point.sampler == name] for name in names
    }
    return quality_by_calls(path, curves, floor.frechet)


def draw_scales(path: Path, points: Sequence[Point], floor: Quality) -> Path:
    """The picture of `by_scale`: precision against recall and density against coverage."""
    panels = []
    for variety, fidelity in (("recall", "precision"), ("coverage", "density")):
        found = [(getattr(point.quality, variety), getattr(point.quality, fidelity)) for point in points]
        panels.append((variety, fidelity, found, (getattr(floor, variety), getattr(floor, fidelity))))
    return fidelity_and_variety(path, [f"{point.scale:g}" for point in points], panels)
