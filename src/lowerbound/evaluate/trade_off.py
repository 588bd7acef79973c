"""What is traded for what: quality against network calls by sampler, fidelity against variety by guidance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.part import Cost, Figures, Part, Progress
from lowerbound.evaluate.quality import Quality, distance_names
from lowerbound.evaluate.subject import Subject
from lowerbound.guidance import ClassifierFree
from lowerbound.pictures.quality import fidelity_and_variety, quality_by_calls
from lowerbound.run import Run
from lowerbound.samplers import Sampler
from lowerbound.sampling.plan import DEFAULT_GRID, DEFAULT_SAMPLER, Plan
from lowerbound.sampling.registry import SAMPLERS

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


def check_conditional(run: Run) -> None:
    """Refuse a run without conditions, which has no guidance, by an InputError."""
    if not run.config.data.conditional:
        raise InputError(f"guidance needs a condition: the run in {run.folder.path} has none; train with --conditional")


def trials_of_scales(run: Run, scales: Sequence[float]) -> list[Trial]:
    """The default sampler at each scale of classifier-free guidance.

    Raises:
        InputError: if the run is not conditional.
    """
    check_conditional(run)
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
    points = []
    for trial in trials:
        settings = {"denoiser": trial.denoiser, "seed": judge.seed, "progress": progress}
        samples, num_calls = draw(run, judge.dataset, num_samples, trial.plan, **settings)
        assert num_calls is not None
        quality = judge.quality(judge.dataset.spec.encoding.encode(samples))
        points.append(Point(trial.sampler, trial.scale, num_calls, quality))
    return TradeOff(tuple(points), judge.floor())


def num_steps(run: Run, plan: Plan | None, num_samples: int) -> int:
    """How often `generate` reports progress."""
    return -(-num_samples // BATCH) * run.model.num_steps(plan)


def trade_off_parts(subject: Subject) -> Iterator[Part]:
    """The quality of samplers at several numbers of network calls, and at several scales of guidance, if asked for."""
    run, settings = subject.run, subject.settings
    if settings.calls:
        samplers = {name: SAMPLERS[name] for name in settings.samplers}
        samplers = samplers or {DEFAULT_SAMPLER: run.diffusion.plan().sampler}
        trials = trials_of_calls(run, samplers, settings.calls)
        choice = {"samplers": {name: repr(sampler) for name, sampler in samplers.items()}, "calls": settings.calls}
        yield _part(subject, "calls", "quality against network calls", "settings", trials, choice, draw_calls)
    if settings.scales:
        trials = trials_of_scales(run, settings.scales)
        title, choice = "fidelity and variety by scale of guidance", {"scales": settings.scales}
        yield _part(subject, "guidance", title, "scales", trials, choice, draw_scales)


def _part(
    subject: Subject,
    name: str,
    title: str,
    unit: str,
    trials: Sequence[Trial],
    choice: Mapping[str, object],
    picture: Callable[[Path, TradeOff], Path],
) -> Part:
    """The quality at several settings, and its picture."""
    run, num, file = subject.run, subject.settings.num_samples, f"{name}.png"

    def compute(folder: Path, progress: Progress) -> TradeOff:
        figures = trade_off(run, subject.judge, trials, num, progress)
        picture(folder / file, figures)
        return figures

    calls = sum(trial.plan.num_calls * (1 if trial.denoiser is None else 2) for trial in trials)
    cost = Cost(f"{len(trials)} {unit}, {num:,} samples each", num * calls)
    units = sum(num_steps(run, trial.plan, num) for trial in trials)
    settings = {**subject.judging, **choice}
    return Part(name, title, cost, compute, units, settings, (file,), subject.incomparable)


def draw_calls(path: Path, figures: TradeOff) -> Path:
    """The picture of quality by network calls: the Frechet distance, or FID."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for point in figures.points:
        distance = point.quality.frechet
        curves.setdefault(point.sampler, []).append((point.num_calls, distance.value, distance.error))
    return quality_by_calls(path, curves, figures.floor.frechet, distance_names(figures.floor)[0])


def draw_scales(path: Path, figures: TradeOff) -> Path:
    """The picture of quality by guidance: precision against recall and density against coverage."""
    panels = []
    for variety, fidelity in (("recall", "precision"), ("coverage", "density")):
        qualities = [*(point.quality for point in figures.points), figures.floor]
        *points, floor = [(getattr(quality, variety), getattr(quality, fidelity)) for quality in qualities]
        panels.append((variety, fidelity, points, floor))
    return fidelity_and_variety(path, [f"{point.scale:g}" for point in figures.points], panels)
