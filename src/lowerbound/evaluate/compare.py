"""The family at an equal budget: every model trained on the same data for the same time, then judged by the same figures.

It answers the two claims that are made for diffusion models, on data of the user's own: a better likelihood than an
autoregressive model's, and better samples than an adversarial network's. The likelihoods of two models are compared example
by example, for most of their spread is the examples' and not the models'; and with several trainings of each model, seed by
seed, the answers hold for a further training too (`trainings`).
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowerbound.baselines import Baseline, of_dataset
from lowerbound.data import DataConfig, Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.features import UPDATES, feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.likelihood import held_out_likelihood
from lowerbound.evaluate.part import VERSION, Stage
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.trainings import (
    OverTrainings,
    difference_of_figures,
    difference_over_trainings,
    mean_over_trainings,
    seeds_of_trainings,
)
from lowerbound.files.records import Measured, read_json, to_json
from lowerbound.files.whole import write_file
from lowerbound.models.base import LikelihoodKind
from lowerbound.pictures import sample_grid
from lowerbound.run import Run, open_run
from lowerbound.run.autoguided import for_samples
from lowerbound.settings import Everyday
from lowerbound.training import recipe, train
from lowerbound.training.config import Config, ModelName
from lowerbound.training.fit import fitted
from lowerbound.training.folder import RunFolder
from lowerbound.training.resume import check_data

FAMILY: tuple[ModelName, ...] = (
    "vae",
    "hierarchical-vae",
    "ladder-vae",
    "score",
    "energy",
    "diffusion",
    "forest",
    "autoregressive",
    "flow",
    "gan",
)
"""The models of a comparison, in the order of the theory."""
SHOWN = 36


@dataclass(frozen=True)
class Contest:
    """The terms of a comparison, the same for every model: which models, and one budget of two, minutes or steps."""

    models: Everyday[tuple[ModelName, ...]] = FAMILY
    """The models that are trained and compared."""
    minutes: Everyday[float | None] = None
    """Train each model for this many minutes on this machine; for 10 if neither this nor --steps is given."""
    steps: Everyday[int | None] = None
    """Train each model for this many steps."""
    num_examples: int = 1000
    """The number of test examples whose likelihoods are compared."""
    num_samples: Everyday[int] = 500
    """The number of samples of each model that are compared with the data."""
    seed: Everyday[int] = 0
    """The random seed of training, times, noise and samples; of the first training of each model."""
    seeds: Everyday[int] = 1
    """The number of trainings of each model, each with a seed of its own and the whole budget. With one the answers hold for
    these trainings alone; 3 or more tell how much a further training would differ."""


@dataclass(frozen=True)
class Standing:
    """What is known of one training of a model.

    Arguments:
        model: its name.
        seed: of the training.
        likelihood: whether `bits` is exact, a bound, or not there.
        kind: what `bits` is, in words.
        bits: bits/dim of the test examples with the standard error over them; None without a likelihood.
        num_examples: how many test examples.
        quality: of its samples.
        seconds_per_sample: that they took.
        num_parameters: how many numbers were trained.
        steps, seconds: of its training.
    """

    model: str
    seed: int
    likelihood: LikelihoodKind
    kind: str
    bits: Measured | None
    num_examples: int
    quality: Quality
    seconds_per_sample: float
    num_parameters: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Arguments:
        data: the data set's name.
        minutes, steps: the budget of each model, one of the two.
        device: on which they were trained.
        standings: of all trainings, model by model.
        bits: bits/dim over trainings and test examples, by model, of those that have a likelihood.
        floor: the quality of held-out examples.
        space: what samples are compared in.
        difference: bits/dim of the diffusion model less the autoregressive model's, on the same examples; None without both.
        samples_difference: the kernel distance of the diffusion model's samples less the adversarial network's, which is of
            mean zero for the data themselves, however many are drawn; None without both.
        left_out: the models that could not be trained, each with the reason.
        baselines: simple models of vectors and rows of tables, on the same test examples.
        lead: bits/dim of the model with the second fewest less the first one's, on the same examples; None without a second.
    """

    data: str
    minutes: float | None
    steps: int | None
    device: str
    standings: list[Standing]
    bits: dict[str, OverTrainings]
    floor: Quality
    space: str
    difference: OverTrainings | None
    samples_difference: OverTrainings | None
    left_out: dict[str, str]
    baselines: tuple[Baseline, ...] = ()
    lead: OverTrainings | None = None

    def of(self, model: str) -> list[Standing]:
        """Those of one model."""
        return [each for each in self.standings if each.model == model]


@dataclass(frozen=True)
class Judged:
    """What is kept of a model that has been judged.

    Arguments:
        key: of the weights and the settings.
        standing: of the model.
        each: bits/dim of each example; None without a likelihood.
    """

    key: str
    standing: Standing
    each: tuple[float, ...] | None


def compare(
    dataset: Dataset,
    data: DataConfig,
    out: Path | str,
    contest: Contest,
    *,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = print,
    show_progress: bool = True,
    stage: Stage = lambda name, total: nullcontext(lambda units: None),
) -> Comparison:
    """Train models one after the other with an equal budget, judge them, and write comparison.json.

    What is there already is not done again: a run goes on where it stopped, and a model that has been judged stays judged.

    Arguments:
        dataset: the data.
        data: how they were opened.
        out: a folder; each model's run is in a folder of its name in it.
        contest: which models, and what each may take.
        device: where.
        say: where lines for the user go.
        show_progress: whether training draws a progress bar.
        stage: shows progress of the rest.

    Raises:
        InputError: without a model, or without one budget; if no model can be trained, or the folder holds runs of other
            data.
    """
    if (contest.minutes is None) == (contest.steps is None):
        raise InputError(
            f"the budget of each model: steps={contest.steps}, minutes={contest.minutes}; give one of the two"
        )
    if not contest.models:
        raise InputError(f"no models to compare: choose from {', '.join(FAMILY)}")
    seeds = seeds_of_trainings(contest.seed, contest.seeds)
    dataset.spec.check_complete("compare")
    folder = Path(out)
    if RunFolder(folder).exists:
        raise InputError(
            f"{folder} is the folder of a run, and a comparison has one for each model: give another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for kept in sorted(folder.glob("*/config.json")):
        check_data(RunFolder(kept.parent), dataset)  # beside whose runs those of these data would stand
    with stage("classifier of the data", UPDATES) as progress:
        classifier = feature_classifier(dataset, folder, progress)
    judge = Judge.of(dataset, feature_space(dataset, classifier), contest.num_samples, contest.seed)
    floor = judge.floor()  # which refuses too few, before anything is trained
    standings, left_out = [], {}
    bits: dict[str, list[np.ndarray]] = {}
    for number, model in enumerate(contest.models, 1):
        names = {seed: model if seed == contest.seed else f"{model}-seed-{seed}" for seed in seeds}
        config = None  # of all trainings of the model
        for seed, name in names.items():
            say(f"{number} of {len(contest.models)}: {name}")
            try:
                if config is None:
                    runs = [RunFolder(folder / each) for each in names.values()]
                    config = _config(model, dataset, data, contest, runs, device, say)
                of_seed = replace(config, training=replace(config.training, seed=seed))
                train(of_seed, dataset, folder / name, device=device, say=say, show_progress=show_progress)
                run = open_run(folder / name, device)
                standing, each = _standing(run, dataset, judge, replace(contest, seed=seed), stage)
            except InputError as error:
                left_out[name] = str(error)
                say(f"{name} is left out: {error}.")
                continue
            standings.append(standing)
            if each is not None:
                bits.setdefault(model, []).append(each)
    if not standings:
        reasons = " ".join(f"{model} is left out: {reason}." for model, reason in left_out.items())
        raise InputError(f"none of the models could be trained: {reasons}")
    if len(dataset.shape) > 1:
        examples = dataset.examples[dataset.some("test", SHOWN)]
        sample_grid(folder / "data.png", examples, dataset.spec.encoding.value_range, names=dataset.spec.names)
    of_trainings = {model: np.stack(each) for model, each in bits.items()}
    means = {model: mean_over_trainings(each) for model, each in of_trainings.items()}
    best, second = ([*sorted(means, key=lambda model: means[model].value), "", ""])[:2]
    distances: dict[str, list[Measured]] = {}
    for each in standings:
        distances.setdefault(each.model, []).append(each.quality.kernel)
    comparison = Comparison(
        data=dataset.spec.name,
        minutes=contest.minutes,
        steps=contest.steps,
        device=str(device),
        standings=standings,
        bits=means,
        floor=floor,
        space=str(judge.space),
        difference=_difference(difference_over_trainings, of_trainings, "diffusion", "autoregressive"),
        samples_difference=_difference(difference_of_figures, distances, "diffusion", "gan"),
        left_out=left_out,
        baselines=_baselines(dataset, contest.num_examples, left_out),
        lead=_difference(difference_over_trainings, of_trainings, second, best),
    )
    write_file(folder / "comparison.json", to_json(comparison).encode())
    return comparison


def _config(
    model: ModelName,
    dataset: Dataset,
    data: DataConfig,
    contest: Contest,
    runs: list[RunFolder],
    device: torch.device | str,
    say: Callable[[str], None],
) -> Config:
    """The settings of a model's trainings: those of a run of it that is there, or the recipe's, made to fit the minutes on
    this machine as `lowerbound train` does."""
    there = next((run for run in runs if run.exists), None)
    if there is None:
        config = recipe(dataset, data, minutes=contest.minutes or 1.0, model=model)
    else:
        config = replace(there.read_config()[0], data=data)
    config = replace(config, training=replace(config.training, minutes=contest.minutes, steps=contest.steps))
    return fitted(config, dataset, device, say) if there is None else config


def _difference(of: Callable[..., OverTrainings], figures: Mapping[str, Any], *models: str) -> OverTrainings | None:
    """Of the figures of two models; None where one of them has none."""
    return of(*map(figures.get, models)) if all(model in figures for model in models) else None


def _baselines(dataset: Dataset, num_examples: int, left_out: dict[str, str]) -> tuple[Baseline, ...]:
    """Simple models of vectors, which are fitted in seconds; of images their covariances would take longer than a model."""
    if len(dataset.shape) > 1:
        return ()
    try:
        return tuple(of_dataset(dataset, num_examples))
    except InputError as error:
        left_out["simple models"] = str(error)
        return ()


def _standing(
    run: Run, dataset: Dataset, judge: Judge, contest: Contest, stage: Stage
) -> tuple[Standing, np.ndarray | None]:
    """Where a run stands, and its bits/dim of each example, as they were kept if they are of these weights."""
    path, picture = run.folder.path / "standing.json", run.folder.path / "standing.png"
    terms = {name: getattr(contest, name) for name in ("num_examples", "num_samples", "seed")}
    key = json.dumps({**terms, "weights": run.metadata, "version": VERSION}, sort_keys=True)
    try:
        judged = read_json(Judged, path)
        if judged.key == key and picture.is_file():
            return judged.standing, None if judged.each is None else np.array(judged.each)
    except (FileNotFoundError, InputError):
        pass  # it is made again
    name, indices = run.config.model.name, dataset.some("test", contest.num_examples)
    with (
        stage(f"{name}: likelihood", contest.num_examples) as show_scored,
        stage(f"{name}: samples", contest.num_samples) as show_drawn,
    ):
        bits, total, kind = None, None, "none"
        if run.model.likelihood != "none":
            likelihood, bits = held_out_likelihood(run, dataset, indices, seed=contest.seed, progress=show_scored)
            total, kind = likelihood.total, likelihood.kind
        began = time.perf_counter()
        samples, _ = draw(for_samples(run), dataset, contest.num_samples, seed=contest.seed, progress=show_drawn)
        seconds = time.perf_counter() - began
    standing = Standing(
        model=name,
        seed=contest.seed,
        likelihood=run.model.likelihood,
        kind=kind,
        bits=total,
        num_examples=len(indices),
        quality=judge.quality(dataset.spec.encoding.encode(samples)),
        seconds_per_sample=seconds / contest.num_samples,
        num_parameters=run.num_parameters,
        steps=int(run.metadata.get("step", 0)),
        seconds=float(run.metadata.get("seconds", 0.0)),
    )
    num = len(samples) if len(dataset.shape) == 1 else SHOWN
    data, spec = dataset.examples[dataset.some("test", num)], dataset.spec
    sample_grid(picture, samples[:num], spec.encoding.value_range, data=data, names=spec.names)
    write_file(path, to_json(Judged(key, standing, None if bits is None else tuple(bits.tolist()))).encode())
    return standing, bits
