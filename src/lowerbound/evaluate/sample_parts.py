"""The parts of an evaluation about the samples: their quality, copies among them, their classes, other settings."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lowerbound.data import Affine, Examples
from lowerbound.data.columns import Column
from lowerbound.data.series.windows import Windows
from lowerbound.errors import InputError
from lowerbound.evaluate.classes import Classes, classes
from lowerbound.evaluate.columns import Columns, columns, commonest_categories, with_categories
from lowerbound.evaluate.copies import Neighbours, neighbours
from lowerbound.evaluate.features import UPDATES, Features, feature_classifier
from lowerbound.evaluate.forecasts import MOST_LEARNED, Forecasts, rivals
from lowerbound.evaluate.imputation import MOST_EXAMPLES, NUM_DRAWS, NUM_STEPS, held_out_imputation, judge
from lowerbound.evaluate.judge import Judge, SampleQuality, Samples, draw, num_compared
from lowerbound.evaluate.nearest import Mapped
from lowerbound.evaluate.part import Cost, Figures, Part, Progress
from lowerbound.evaluate.subject import FEATURES, MOST_COMPARED, SAMPLES, Subject
from lowerbound.evaluate.trade_off import num_steps, trade_off_parts
from lowerbound.guidance import AutoGuidance
from lowerbound.pictures import denoising_strip, sample_grid
from lowerbound.pictures.bands import Drawn, draw_bands
from lowerbound.run import Run
from lowerbound.run.autoguided import planned_calls
from lowerbound.run.examples import conditions
from lowerbound.run.generate import states
from lowerbound.run.impute import Drawing, default_batch_size, default_method, default_steps, draws
from lowerbound.sampling.plan import DEFAULT_SAMPLER, DEFAULT_STEPS
from lowerbound.words.counts import counted

SHOWN, SHOWN_SERIES = 64, 24
"""Samples in a picture; of series fewer, so that their lines and axes can be read."""
SHOWN_OF_CLASS, CLASSES_SHOWN = 10, 20
JUDGED_WINDOWS, SHOWN_WINDOWS = 50, 4
"""Of a series: how many windows are drawn at most, and how many of them are shown."""
LEAST_SHOWN, LEAST_STEPS = 4, 4
NUM_STATES = 9
"""Of the way from noise to data, those that are drawn."""


def sample_parts(subject: Subject) -> Iterator[Part]:
    """Those that are asked for."""
    if not subject.own:
        return
    yield _samples(subject)
    if subject.settings.quick:
        return
    yield _features(subject)
    unfit = {name for name, fits in FOR_SOME.items() if not fits(subject)}
    for name in COMPARISONS:
        if name not in unfit:
            yield _comparison(subject, name)
    if subject.dataset.labels is not None and len(subject.dataset.shape) > 1:
        yield _by_class(subject)
    if subject.settings.imputation is not None:
        yield _imputation(subject, subject.settings.imputation)
    if subject.run.is_denoiser:
        yield _path(subject)
        if subject.run.spec.series is not None:
            yield _forecasts(subject)
        yield from trade_off_parts(subject)


def _samples(subject: Subject) -> Part:
    run, dataset, seed, num = subject.drawn_from, subject.dataset, subject.settings.seed, subject.settings.num_samples
    plan = run.model.plan()
    calls = None if plan is None else planned_calls(run, plan)
    if subject.settings.quick:
        num = SHOWN if calls is None else max(LEAST_SHOWN, min(SHOWN, int(subject.affordable / calls)))
        if plan is not None and num == LEAST_SHOWN and run.diffusion.times is None:
            steps = int(subject.affordable / num)
            plan = run.diffusion.plan(num_steps=max(LEAST_STEPS, min(DEFAULT_STEPS, steps)))
            calls = planned_calls(run, plan)

    def compute(folder: Path, progress: Progress) -> Samples:
        began = time.perf_counter()
        samples, num_calls = draw(run, dataset, num, plan, seed=seed, processes=subject.processes, progress=progress)
        seconds = (time.perf_counter() - began) / num
        np.save(folder / SAMPLES, samples)
        value_range, examples = dataset.spec.encoding.value_range, dataset.examples
        num_shown = {1: len(samples), 2: SHOWN_SERIES}.get(len(dataset.shape), SHOWN)
        shown, names = examples[dataset.some("test", num_shown)], dataset.spec.names
        sample_grid(folder / "samples.png", samples[:num_shown], value_range, data=shown, names=names)
        if len(dataset.shape) > 1:
            sample_grid(folder / "data.png", shown, value_range, names=names)
        return Samples(num, _sampler(run), num_calls, seconds)

    cost = Cost(f"{num:,} samples{'' if calls is None else f', {calls} calls each'}", num * (calls or 0))
    settings = {"num": num, "calls": calls, "seed": seed}
    files = ("samples.png", "data.png", SAMPLES)
    return Part("samples", "samples", cost, compute, num_steps(run, plan, num), settings, files, is_shared=True)


def _features(subject: Subject) -> Part:
    title = "features that samples are compared in"
    if subject.settings.features == "inception":
        return _inception(subject, title)

    def compute(folder: Path, progress: Progress) -> Features:
        feature_classifier(subject.dataset, subject.run.folder.path, progress)
        return Features(str(subject.space))

    labelled = subject.dataset.labels is not None
    cost = Cost("a classifier of the data, trained once" if labelled else "principal components")
    return Part("features", title, cost, compute, UPDATES, missing=subject.incomparable)


def _inception(subject: Subject, title: str) -> Part:
    """Those of real images, kept: there are more of these than samples."""
    dataset, space, num, seed = subject.dataset, subject.space, subject.settings.num_samples, subject.settings.seed

    def compute(folder: Path, progress: Progress) -> Features:
        judge = Judge.of(dataset, space, num, seed, progress)
        np.save(folder / FEATURES, np.concatenate([judge.references, judge.held_out]).astype(np.float32))
        return Features(str(space))

    num_train, num_held_out = num_compared(dataset, num)
    cost = Cost(f"Inception-v3 looks at {num_train:,} training and {num_held_out:,} held-out images")
    settings = {"num": num, "seed": seed, "features": space.hash}
    return Part("features", title, cost, compute, num_train + num_held_out, settings, (FEATURES,))


def _quality(subject: Subject) -> SampleQuality:
    plan = subject.run.model.plan()
    return SampleQuality(
        samples=subject.judge.quality(subject.samples),
        held_out=subject.judge.floor(),
        space=str(subject.space),
        sampler=_sampler(subject.drawn_from),
        num_calls=None if plan is None else planned_calls(subject.drawn_from, plan),
    )


def _distances(subject: Subject) -> Neighbours:
    def flat(indices: np.ndarray) -> np.ndarray:
        return subject.dataset.encoded(indices).flatten(1).numpy()

    samples, held_out, train = (
        subject.samples.flatten(1).numpy(),
        flat(subject.ranked),
        Mapped(subject.references, flat),
    )
    found = neighbours(samples, held_out, train, seed=subject.settings.seed)
    # an example is told by its number in the data, where it can be looked up
    suspects = tuple(replace(each, example=int(subject.references[each.example])) for each in found.copies.suspects)
    return replace(found, copies=replace(found.copies, suspects=suspects))


def _classes(subject: Subject) -> Classes:
    dataset = subject.dataset
    if subject.classifier is None:
        raise InputError("the training examples are of one class")
    assert dataset.labels is not None
    return classes(
        subject.classifier.probabilities(subject.samples).numpy(),
        subject.classifier.probabilities(subject.test).numpy(),
        dataset.labels[subject.tested],
        dataset.labels[dataset.train],
        dataset.spec.class_names,
        subject.settings.seed,
    )


def _by_class(subject: Subject) -> Part:
    """The first samples of each class, a row for each; a row is filled up with emptiness."""

    def compute(folder: Path, progress: Progress) -> Figures:
        if subject.classifier is None:
            raise InputError("the training examples are of one class")
        encoding = subject.dataset.spec.encoding
        seen = subject.classifier.probabilities(subject.samples).argmax(1).numpy()
        samples = encoding.decode(subject.samples)
        num_rows = min(CLASSES_SHOWN, len(subject.dataset.spec.class_names))
        shown = np.full((num_rows, SHOWN_OF_CLASS, *samples.shape[1:]), encoding.value_range[0], samples.dtype)
        for row in range(num_rows):
            chosen = samples[seen == row][:SHOWN_OF_CLASS]
            shown[row, : len(chosen)] = chosen
        flat = shown.reshape(-1, *samples.shape[1:])
        sample_grid(folder / "classes.png", flat, encoding.value_range, columns=SHOWN_OF_CLASS)
        return Figures()

    cost = Cost(f"up to {SHOWN_OF_CLASS} of each class")
    settings, files = subject.drawing, ("classes.png",)
    return Part("by-class", "samples by class", cost, compute, 1, settings, files, subject.incomparable)


def _columns(subject: Subject) -> Columns:
    dataset, spec = subject.dataset, subject.dataset.spec
    train, test = (dataset.examples[dataset.some(split, MOST_COMPARED)] for split in ("train", "test"))
    described = spec.columns or tuple(Column(f"column {k}", "real", "double") for k in range(train.shape[1]))
    commonest = [commonest_categories(train[:, k]) if column.categories else None for k, column in enumerate(described)]
    names, sources = [], []
    for k, (column, kinds) in enumerate(zip(described, commonest, strict=True)):
        names += [column.name] if kinds is None else [f"{column.name} = {column.categories[int(c)]}" for c in kinds]
        sources += [k] * (1 if kinds is None else len(kinds))
    rows = [with_categories(each, commonest) for each in (spec.encoding.decode(subject.samples), test, train)]
    deviations = rows[2].std(0, dtype=np.float64)
    samples, test, train = (each / np.where(deviations > 0, deviations, 1) for each in rows)
    return columns(samples, test, train, names, subject.settings.seed, sources)


COMPARISONS: dict[str, tuple[str, str, Callable[[Subject], Figures]]] = {
    "quality": ("samples beside held-out data", "{:,} samples against training examples, six figures", _quality),
    "distances": ("copies and variety", "{:,} samples, each beside {} training examples", _distances),
    "columns": ("columns of the samples", "{:,} samples beside test rows, column by column and together", _columns),
    "classes": ("classes of the samples", "a look at {:,} samples by the data's classifier", _classes),
}
"""The parts about the samples that were drawn, beside the data, by name: title, cost in words, and what finds them."""


FOR_SOME: dict[str, Callable[[Subject], bool]] = {
    "columns": lambda subject: len(subject.dataset.shape) == 1 and subject.dataset.spec.num_levels is None,
    "classes": lambda subject: subject.dataset.labels is not None,
}
"""Parts that not all data have."""


def _comparison(subject: Subject, name: str) -> Part:
    title, work, figures_of = COMPARISONS[name]

    def compute(folder: Path, progress: Progress) -> Figures:
        return figures_of(subject)

    num, num_train = len(subject.references), len(subject.dataset.train)
    beside = f"all {num:,}" if num == num_train else f"{num:,} of {num_train:,}"
    cost = Cost(work.format(subject.settings.num_samples, beside))
    settings = subject.judging if name == "quality" else subject.drawing
    if name == "distances":
        settings = {**settings, "references": num, "ranked": len(subject.ranked)}
    return Part(name, title, cost, compute, settings=settings, missing=subject.incomparable)


def _imputation(subject: Subject, share: float) -> Part:
    run, dataset, seed = subject.run, subject.dataset, subject.settings.seed
    num = min(MOST_EXAMPLES, len(dataset.test))
    missing, columns = None, dataset.spec.columns
    if not run.is_denoiser:
        missing = f"the model {run.config.model.name} fills in nothing: imputation is for diffusion models"
    elif len(dataset.shape) > 1 or dataset.spec.num_levels is not None:
        missing = "imputations are judged of continuous vectors and of tables"
    elif columns and all(column.categories for column in columns):
        missing = "imputations are judged of tables that have a column of numbers"
    steps = 0 if missing else default_method(run).num_steps(NUM_STEPS)

    def compute(folder: Path, progress: Progress) -> Figures:
        return held_out_imputation(run, dataset, share, seed=seed, progress=progress)

    cost = Cost(f"{num:,} test rows, {NUM_DRAWS} draws of each, {steps} calls each", num * NUM_DRAWS * steps)
    title, settings = "imputation of hidden entries", {"share": share, "seed": seed}
    units = max(1, -(-num * NUM_DRAWS // default_batch_size(run)) * steps)
    return Part("imputation", title, cost, compute, units, settings, missing=missing)


def _forecasts(subject: Subject) -> Part:
    """The horizon of held-out windows, evenly spread in time, drawn given what is before it, and judged; some are shown."""
    run, dataset, seed = subject.run, subject.dataset, subject.settings.seed
    series = run.spec.series
    assert series is not None
    horizon = series.horizon or dataset.shape[1] // 2
    indices = dataset.test[_evenly(len(dataset.test), JUDGED_WINDOWS)]
    drawing = Drawing(NUM_DRAWS, seed=seed)

    def compute(folder: Path, progress: Progress) -> Forecasts:
        raw = np.asarray(dataset.examples[indices])
        known = ~np.isnan(raw)
        known[..., -horizon:] = False
        cond = conditions(run, Examples.of(dataset), indices)
        drawn = draws(run, raw, known, replace(drawing, progress=progress), cond, indices).samples
        windows = [
            Drawn(f"window {indices[k]:,}", np.where(known[k], raw[k], np.nan), drawn[k], raw[k])
            for k in _evenly(len(indices), SHOWN_WINDOWS)
        ]
        draw_bands(folder / "forecasts.png", windows, series.channels, series.step)
        return _judged(subject, raw, drawn, horizon)

    calls = default_steps(default_method(run))
    num = len(indices) * NUM_DRAWS
    cost = Cost(f"{NUM_DRAWS} samples of {counted(len(indices), 'window')}, {counted(calls, 'call')} each", num * calls)
    title, settings = "forecasts of held-out windows", {"num": num, "seed": seed}
    return Part("forecasts", title, cost, compute, drawing.num_calls(run, num), settings, ("forecasts.png",))


def _evenly(num: int, most: int) -> np.ndarray:
    """At most so many places among `num`, evenly spread from the first to the last."""
    return np.linspace(0, num - 1, min(most, num)).round().astype(int)


def _judged(subject: Subject, raw: np.ndarray, drawn: np.ndarray, horizon: int) -> Forecasts:
    """Draws of windows beside simple forecasts, in standard deviations of the channels."""
    dataset, examples = subject.dataset, subject.dataset.examples
    assert isinstance(examples, Windows)
    learned = dataset.train[:: max(1, len(dataset.train) // MOST_LEARNED)]
    splits = (learned, dataset.validation if len(dataset.validation) else learned)
    scaled = Affine.fit(examples.rows, examples.is_covered(dataset.train)).encode
    train, validation = (scaled(examples[indices]).numpy() for indices in splits)
    windows = scaled(raw).numpy()
    ahead = scaled(drawn.reshape(-1, *raw.shape[1:])).numpy().reshape(drawn.shape)[..., -horizon:]
    is_present = ~np.isnan(windows[..., -horizon:])
    truth = np.where(is_present, windows[..., -horizon:], 0)
    flat = [each.reshape(len(raw), *each.shape[1:-2], -1) for each in (ahead, truth, is_present)]
    judgement = judge(*flat)  # refuses windows whose horizon is not known
    simple = rivals(train, validation, windows, horizon, NUM_DRAWS)
    return Forecasts(horizon, raw.shape[2] - horizon, len(raw), NUM_DRAWS, judgement, simple)


def _sampler(run: Run) -> str:
    """What draws the samples, in words."""
    if not run.is_denoiser:
        return run.config.model.name
    rule = DEFAULT_SAMPLER if run.diffusion.times is None else "ddim"
    return f"{rule} with autoguidance" if isinstance(run.denoiser, AutoGuidance) else rule


def _path(subject: Subject) -> Part:
    run, dataset, seed = subject.drawn_from, subject.dataset, subject.settings.seed
    num, plan = subject.settings.num_samples if len(dataset.shape) == 1 else 4, run.diffusion.plan()

    def compute(folder: Path, progress: Progress) -> Figures:
        shown = list(states(run, num, seed=seed, num_states=NUM_STATES, progress=progress))
        denoising_strip(folder / "path.png", shown, dataset.spec.encoding.value_range)
        return Figures()

    calls = planned_calls(run, plan)
    cost = Cost(f"{counted(num, 'sample')}, {counted(calls, 'call')} each", num * calls)
    title, settings = "the way from noise to data", {"num": num, "seed": seed}
    return Part("path", title, cost, compute, len(plan.times) + 1, settings, ("path.png",))
