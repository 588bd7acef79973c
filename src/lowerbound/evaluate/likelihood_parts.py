"""The parts of an evaluation about the likelihood: the bound, simple models beside it, training, diagnosis, flow."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from lowerbound.baselines import of_dataset
from lowerbound.evaluate.audited import SHARE, Audited, cheap_audit
from lowerbound.evaluate.density import (
    REFINED,
    Bounds,
    HeldOutDensity,
    enough_draws,
    flow_bounds,
    held_out_density,
    num_flow_examples,
)
from lowerbound.evaluate.diagnosis import Diagnosis, diagnose
from lowerbound.evaluate.folder import read_evaluation
from lowerbound.evaluate.likelihood import (
    Baselines,
    Likelihood,
    Trainings,
    completed,
    held_out_likelihood,
    trained_again,
)
from lowerbound.evaluate.part import Cost, Figures, Part, Progress
from lowerbound.evaluate.profile import profile
from lowerbound.evaluate.subject import EACH, Subject
from lowerbound.models import Effort
from lowerbound.pictures import bound_by_time, training_curve
from lowerbound.run.history import training_columns
from lowerbound.words.counts import counted, duration

INTERVALS = 24
PROFILED, PROFILED_ENTRIES = 256, 1 << 23
"""Examples of the diagnosis, and entries that they have together, at most."""
FLOW_CALLS = 60
"""About how many calls an example takes along the flow, each with a derivative: a guess, before it is known."""
QUICK_DRAWS = 16
"""For each example of a quick bound, before more examples are taken than calls."""


def likelihood_parts(subject: Subject) -> Iterator[Part]:
    """Those that are asked for."""
    yield _likelihood(subject)
    if subject.settings.quick:
        return
    if subject.own:
        yield _audit(subject)
        if subject.settings.seeds > 1:
            yield _trainings(subject)
        if subject.settings.with_baselines:
            yield _baselines(subject)
        yield _training(subject)
        if subject.run.is_denoiser:
            yield _diagnosis(subject)
    if subject.run.is_denoiser and subject.settings.num_flow != 0:
        yield _density(subject)


def _likelihood(subject: Subject) -> Part:
    run, dataset, seed = subject.run, subject.dataset, subject.settings.seed
    indices, drawn_from = _examples(subject)
    effort = completed(run, dataset, len(indices), subject.settings.effort)
    if subject.settings.quick and subject.settings.effort.num_draws is None and effort.num_draws is not None:
        most = int(subject.affordable / len(indices))
        effort = replace(effort, num_draws=max(1, min(effort.num_draws, most)))
    calls, work = effort.importance, counted(len(indices), "example")
    if run.is_denoiser:
        calls = effort.num_draws or 1
        work += f", {calls:,} calls each"
    elif effort.importance > 1:
        work += f", {effort.importance:,} importance samples"

    def compute(folder: Path, progress: Progress) -> Likelihood:
        together = {"processes": subject.processes, "progress": progress}
        likelihood, bits = held_out_likelihood(run, dataset, indices, effort, seed=seed, **together)
        np.save(folder / EACH, bits)
        return replace(likelihood, drawn_from=drawn_from)

    return Part(
        "likelihood",
        "bits/dim of the bound" if run.is_denoiser else "bits/dim",
        Cost(work, len(indices) * calls),
        compute,
        len(indices) * (1 + (effort.importance > 1)),
        {"examples": len(indices), "drawn_from": drawn_from, "effort": asdict(effort), "seed": seed},
        (EACH,),
        missing=run.model.no_likelihood,
        is_shared=True,
    )


def _audit(subject: Subject) -> Part:
    run, dataset, seed = subject.run, subject.dataset, subject.settings.seed
    indices, _ = _examples(subject)
    effort = replace(completed(run, dataset, len(indices), subject.settings.effort), importance=1)

    def compute(folder: Path, progress: Progress) -> Audited:
        return cheap_audit(run, dataset, indices, subject.bits, effort, seed=seed)

    calls = len(indices) // SHARE * (effort.num_draws or 1)
    cost = Cost(f"{counted(len(indices) // SHARE, 'example')} scored again, and a look at the data", calls)
    settings = {"examples": len(indices), "effort": asdict(effort), "seed": seed}
    return Part("audit", "audit of the bits/dim", cost, compute, settings=settings, missing=run.model.no_likelihood)


def _trainings(subject: Subject) -> Part:
    run, dataset, num, seed = subject.run, subject.dataset, subject.settings.seeds, subject.settings.seed
    indices, _ = _examples(subject)
    effort = replace(completed(run, dataset, len(indices), subject.settings.effort), importance=1)
    missing = run.model.no_likelihood
    if subject.processes.count > 1:
        missing = "further trainings take one process: evaluate without --processes"
    elif not run.config.data.source or (run.is_denoiser and run.diffusion.times is not None):
        missing = "the run is imported or distilled, and was not trained by its configuration alone"

    def compute(folder: Path, progress: Progress) -> Trainings:
        return trained_again(run, dataset, indices, subject.bits, effort, num, seed=seed, progress=progress)

    seconds = float(run.metadata.get("seconds", 0.0))
    each = f", of {duration(seconds)} each" if seconds else ""
    cost = Cost(f"{counted(num - 1, 'more training')}, as long as the run's own{each}")
    settings = {"seeds": num, "examples": len(indices), "effort": asdict(effort), "seed": seed}
    return Part("trainings", "bits/dim over trainings", cost, compute, num - 1, settings, missing=missing)


def _examples(subject: Subject) -> tuple[np.ndarray, int | None]:
    """The test examples whose bits/dim are told, and how many they were drawn from if they are not all of them."""
    indices, num_test = subject.dataset.some("test", subject.settings.num_examples), len(subject.dataset.test)
    if subject.settings.quick:
        indices = indices[: max(8, int(subject.affordable / QUICK_DRAWS))]
    return indices, None if len(indices) == num_test else num_test


def _baselines(subject: Subject) -> Part:
    dataset, num = subject.dataset, subject.settings.num_examples
    cost = Cost(f"fits to {len(dataset.train):,} training examples of {math.prod(dataset.shape):,} numbers")

    def compute(folder: Path, progress: Progress) -> Figures:
        return Baselines(tuple(of_dataset(dataset, num)))

    return Part("baselines", "bits/dim of simple models", cost, compute, settings={"examples": num})


def _training(subject: Subject) -> Part:
    def compute(folder: Path, progress: Progress) -> Figures:
        training_curve(folder / "training.png", **training_columns(subject.run))
        return Figures()

    return Part("training", "how the training went", Cost("its log"), compute, files=("training.png",))


def _diagnosis(subject: Subject) -> Part:
    run, dataset, seed = subject.run, subject.dataset, subject.settings.seed
    num = len(dataset.some("validation", PROFILED, PROFILED_ENTRIES))
    cost = Cost(f"{num:,} validation examples, {INTERVALS} calls each", num * INTERVALS)

    def compute(folder: Path, progress: Progress) -> Diagnosis:
        settings = {"num_bins": INTERVALS, "num_examples": num, "seed": seed}
        by_noise = profile(run, dataset, split="validation", **settings, progress=progress)
        bound_by_time(folder / "bound.png", by_noise.gamma, by_noise.bits, by_noise.errors)
        return diagnose(run, dataset, by_noise)

    title, why_not = "diagnosis of noise levels and denoiser", run.model.no_likelihood
    return Part("diagnosis", title, cost, compute, INTERVALS * num, {"seed": seed}, ("bound.png",), why_not)


def _density(subject: Subject) -> Part:
    run, dataset, seed = subject.run, subject.dataset, subject.settings.seed
    processes = subject.processes
    flow = subject.settings.flow_of(math.prod(dataset.shape))
    # the bound beside the flow has a number of draws of its own, and the flow its own importance samples
    effort = replace(subject.settings.effort, num_draws=None, importance=1)
    num = subject.settings.num_flow
    if num is None:
        num = min(num_flow_examples(dataset), len(_examples(subject)[0]))
    num = min(num, len(dataset.test))
    work = f"{num:,} examples, some {FLOW_CALLS} calls each with a derivative"
    cost = Cost(work, 3 * FLOW_CALLS * (num + 2 * min(num, REFINED)), at_least=True)
    settings = {"examples": num, "flow": asdict(flow), "effort": asdict(effort), "seed": seed}

    def compute(folder: Path, progress: Progress) -> HeldOutDensity:
        bounds = processes.by_first(lambda: _bounds_before(subject, num, effort))
        bounds = bounds or flow_bounds(run, dataset, num, effort, seed, processes)
        return held_out_density(run, dataset, flow, bounds, seed=seed, processes=processes, progress=progress)

    title, why_not = "bits/dim along the probability flow", run.model.no_likelihood or run.denoiser.no_flow
    return Part("density", title, cost, compute, num, settings, missing=why_not, is_shared=True)


def _bounds_before(subject: Subject, num: int, effort: Effort) -> Bounds | None:
    """The bound on these test examples as it was found before, if it was drawn as often as it takes."""
    evaluation = read_evaluation(subject.folder)
    likelihood = None if evaluation is None else evaluation.figures.get("likelihood")
    if not isinstance(likelihood, Likelihood):
        return None
    if likelihood.num_examples < num or likelihood.num_calls < enough_draws(subject.run, effort):
        return None
    return Bounds(subject.bits[:num], likelihood.kind, likelihood.num_calls)
