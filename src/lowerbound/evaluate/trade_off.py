"""What is traded for what: quality against network calls by sampler, fidelity against variety by guidance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.quality import Quality
from lowerbound.guidance import ClassifierFree
from lowerbound.pictures.quality import fidelity_and_variety, quality_by_calls
from lowerbound.run import Run
from lowerbound.samplers import Sampler
from lowerbound.sampling.plan import DEFAULT_GRID, DEFAULT_SAMPLER, Plan

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


@dataclass(frozen=True)
class TradeOff(Figures):
    """The quality of several settings.

    Arguments:
        points: one for each.
        floor: the quality of held-out examples.
    """

    points: tuple[Point, ...]
    floor: Quality


def plan_of_calls(run: Run, sampler: Sampler, num_calls: int, grid_name: str = DEFAULT_GRID) -> Plan:
    """The most steps that so many calls allow, on a grid by its name.

    Raises:
        InputError: if num_calls is below 1.
    """
    if num_calls < 1:
        raise InputError(f"calls is {num_calls}: a sample takes at least one call of the network")
    return run.diffusion.plan(sampler, (num_calls - 1) // sampler.calls_per_step + 1, grid_name)


@dataclass(frozen=True, eq=False)
class Trial:
    """A setting whose quality is asked for.

    Arguments:
        sampler: by name.
        plan: its steps.
        scale: of guidance; None without.
        denoiser: the guided one, which calls the run's own; None: the run's own.
    """

    sampler: str
    plan: Plan
    scale: float | None = None
    denoiser: Denoiser | None = None


def trials_of_calls(run: Run, samplers: Mapping[str, Sampler], calls: Sequence[int]) -> list[Trial]:
    """Each sampler at each number of network calls per sample that may be made."""
    return [
        Trial(name, plan_of_calls(run, sampler, num))
        for name, sampler in samplers.items()
        for num in sorted(set(calls))
    ]


def trials_of_scales(run: Run, scales: Sequence[float]) -> list[Trial]:
    """The default sampler at each scale of classifier-free guidance.

    Raises:
        InputError: if the run is not conditional.
    """
    if not run.config.data.conditional:
        raise InputError(f"guidance needs a condition: the run in {run.folder.path} has none; train with --conditional")
    plan = run.diffusion.plan()
    return [Trial(DEFAULT_SAMPLER, plan, scale, ClassifierFree(run.denoiser, scale)) for scale in sorted(set(scales))]


def trade_off(
    run: Run,
    judge: Judge,
    trials: Sequence[Trial],
    num_samples: int,
    progress: Callable[[int], object] = lambda steps: None,
) -> TradeOff:
    """The quality of each setting, all from the same noise.

    Arguments:
        run: the model.
        judge: what its samples are compared with; its seed is that of the samples.
        trials: the settings.
        num_samples: drawn in each.
        progress: called with 1 after each step of a batch.
    """
    points, encode = [], judge.dataset.spec.encoding.encode
    for trial in trials:
        given = {"denoiser": trial.denoiser, "seed": judge.seed, "progress": progress}
        samples, num_calls = draw(run, judge.dataset, num_samples, trial.plan, **given)
        assert num_calls is not None
        points.append(Point(trial.sampler, trial.scale, num_calls, judge.quality(encode(samples))))
    return TradeOff(tuple(points), judge.floor())


def num_steps(run: Run, plan: Plan | None, num_samples: int) -> int:
    """How often `generate` reports progress."""
    return -(-num_samples // BATCH) * run.model.num_steps(plan)


def draw_calls(path: Path, found: TradeOff) -> Path:
    """The picture of quality by network calls: the Frechet distance."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for point in found.points:
        distance = point.quality.frechet
        curves.setdefault(point.sampler, []).append((point.num_calls, distance.value, distance.error))
    return quality_by_calls(path, curves, found.floor.frechet)


def draw_scales(path: Path, found: TradeOff) -> Path:
    """The picture of quality by guidance: precision against recall and density against coverage."""
    panels = []
    for variety, fidelity in (("recall", "precision"), ("coverage", "density")):
        points = [(getattr(point.quality, variety), getattr(point.quality, fidelity)) for point in found.points]
        panels.append((variety, fidelity, points, (getattr(found.floor, variety), getattr(found.floor, fidelity))))
    return fidelity_and_variety(path, [f"{point.scale:g}" for point in found.points], panels)
