"""The family at an equal budget: every model trained on the same data for the same time, then judged by the same figures.

It answers the two claims that are made for diffusion models, on data of the user's own: a better likelihood than an
autoregressive model's, and better samples than an adversarial network's. The likelihoods of two models are compared example
by example, for most of their spread is the examples' and not the models'.
"""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.features import UPDATES, feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge
from lowerbound.evaluate.part import Stage
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.report import Picture, Report, Table, html
from lowerbound.evaluate.standing import Standing, standing
from lowerbound.files import write_file
from lowerbound.likelihood import mean_and_error
from lowerbound.pictures import sample_grid
from lowerbound.records import read_json, to_json
from lowerbound.rounding import figure_text
from lowerbound.run import open_run
from lowerbound.train import recipe, train
from lowerbound.train.config import DataConfig, ModelName

FAMILY: tuple[ModelName, ...] = (
    "vae",
    "hierarchical-vae",
    "ladder-vae",
    "score",
    "energy",
    "diffusion",
    "autoregressive",
    "flow",
    "gan",
)
"""The models of a comparison, in the order of the theory."""
DECISIVE = 2.0
"""Standard errors by which a difference is one."""
SHOWN = 36
HEADER = (
    "model",
    "bits/dim",
    "kind",
    "Frechet distance",
    "precision",
    "coverage",
    "parameters",
    "steps",
    "s/sample",
)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Arguments:
        data: the data set's name.
        budget: of each model, in words.
        standings: of the models that were trained.
        floor: the quality of held-out examples.
        space: what samples are compared in.
        answers: to the two claims.
        remarks: what else is to be known: models left out and why, and what the errors are of.
    """

    data: str
    budget: str
    standings: list[Standing]
    floor: Quality
    space: str
    answers: list[str]
    remarks: list[str]

    def rows(self) -> list[tuple[str, ...]]:
        """One for each model, in the order of `HEADER`, and one for held-out data."""
        rows = [
            (
                each.model,
                each.bits_text,
                each.likelihood,
                *_quality(each.quality),
                f"{each.num_parameters:,}",
                f"{each.steps:,}",
                f"{each.seconds_per_sample:.2g}",
            )
            for each in self.standings
        ]
        return [*rows, ("held-out data", "", "", *_quality(self.floor), "", "", "")]


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
    *,
    models: Sequence[ModelName] = FAMILY,
    minutes: float | None = None,
    steps: int | None = None,
    num_examples: int = 1000,
    num_samples: int = 500,
    seed: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = print,
    show_progress: bool = True,
    stage: Stage = lambda name, total: nullcontext(lambda units: None),
) -> Comparison:
    """Train models one after the other with an equal budget, judge them, and write comparison.json and comparison.html.

    What is there already is not done again: a run goes on where it stopped, and a model that has been judged stays judged.

    Arguments:
        dataset: the data.
        data: how they were opened.
        out: a folder; each model's run is in a folder of its name in it.
        models: which.
        minutes, steps: the budget of each; one of the two.
        num_examples: test examples whose likelihood is compared, from the start of the test split.
        num_samples: how many samples of each are compared with the data.
        seed: of training, times, noise and samples.
        device: where.
        say: where lines for the user go.
        show_progress: whether training draws a progress bar.
        stage: shows progress of the rest.

    Raises:
        InputError: if no model can be trained, or the folder holds runs with other settings.
    """
    if (minutes is None) == (steps is None):
        raise InputError(f"the budget of each model: steps={steps}, minutes={minutes}; give one of the two")
    if not models:
        raise InputError(f"no models to compare: choose from {', '.join(FAMILY)}")
    dataset.spec.check_complete("compare")
    folder, seeded = Path(out), {"num_examples": num_examples, "num_samples": num_samples, "seed": seed}
    folder.mkdir(parents=True, exist_ok=True)
    with stage("classifier of the data", UPDATES) as progress:
        classifier = feature_classifier(dataset, folder, progress)
    judge = Judge.of(dataset, feature_space(dataset, classifier), num_samples, seed)
    standings, bits, remarks = [], {}, []
    for number, model in enumerate(models, 1):
        say(f"{number} of {len(models)}: {model}")
        try:
            config = recipe(dataset, data, minutes=minutes or 1.0, model=model)
            training = replace(config.training, minutes=minutes, steps=steps, seed=seed)
            train(
                replace(config, training=training),
                dataset,
                folder / model,
                device=device,
                say=say,
                show_progress=show_progress,
            )
            found, each = _judged(folder / model, dataset, judge, seeded, device, stage)
        except InputError as error:
            remarks.append(f"{model} is left out: {error}.")
            say(remarks[-1])
            continue
        standings.append(found)
        bits[model] = each
    if not standings:
        raise InputError("none of the models could be trained: " + " ".join(remarks))
    comparison = Comparison(
        data=dataset.spec.name,
        budget=f"{steps:,} steps" if steps is not None else f"{minutes:g} minutes on {device}",
        standings=standings,
        floor=judge.floor(),
        space=str(judge.space),
        answers=[likelihood_answer(bits, standings), samples_answer(standings)],
        remarks=[
            *remarks,
            f"Bits/dim are of the same {standings[0].num_examples:,} test examples, errors are standard errors over them; "
            "of the samples, over both sets that are compared. Every model was trained once, with one seed: how much a "
            "second training would differ is not in these errors.",
        ],
    )
    write_file(folder / "comparison.json", to_json(comparison).encode())
    write_file(folder / "comparison.html", _page(comparison, dataset, folder).encode())
    return comparison


def read_comparison(folder: Path | str) -> Comparison:
    """The comparison that lies in a folder.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    path = Path(folder) / "comparison.json"
    try:
        return read_json(Comparison, path)
    except FileNotFoundError as error:
        raise InputError(f"there is no comparison in {folder}: lowerbound compare DATA --out {folder}") from error
    except InputError as error:
        raise InputError(f"{error}: it is damaged; repeat lowerbound compare, which writes it anew") from error


def likelihood_answer(bits: dict[str, np.ndarray | None], standings: Sequence[Standing]) -> str:
    """Whether diffusion gives a better likelihood than the autoregressive model, from bits/dim of the same examples."""
    question = "Does diffusion give a better likelihood than the autoregressive model?"
    ours, theirs = bits.get("diffusion"), bits.get("autoregressive")
    if ours is None or theirs is None:
        return f"{question} Not asked: it takes both models."
    figures = {each.model: each.bits_text for each in standings}
    difference, error = mean_and_error(torch.from_numpy(ours - theirs))
    told = (
        f"diffusion needs {figures['diffusion']} bits/dim (a bound), the autoregressive model {figures['autoregressive']} "
        f"(exact); on the same {len(ours):,} examples the difference is {figure_text(difference, error)}"
    )
    if abs(difference) <= DECISIVE * error:
        return f"{question} Undecided: {told}."
    if difference < 0:
        return f"{question} Yes: {told}."
    return f"{question} No, as far as its bound says: {told}."


def samples_answer(standings: Sequence[Standing]) -> str:
    """Whether diffusion gives better samples than the adversarial network."""
    question = "Does diffusion give better samples than the adversarial network?"
    found = {each.model: each.quality for each in standings}
    if not {"diffusion", "gan"} <= set(found):
        return f"{question} Not asked: it takes both models."
    (ours, our_error), (theirs, their_error) = found["diffusion"].frechet, found["gan"].frechet
    balls = "; ".join(
        f"{name} {figure_text(*getattr(found['diffusion'], name))} against {figure_text(*getattr(found['gan'], name))}"
        for name in ("precision", "coverage")
    )
    told = (
        f"its Frechet distance to the training data is {figure_text(ours, our_error)}, the adversarial network's "
        f"{figure_text(theirs, their_error)}; {balls}"
    )
    if abs(ours - theirs) <= DECISIVE * math.hypot(our_error, their_error):
        return f"{question} Undecided: {told}."
    return f"{question} {'Yes' if ours < theirs else 'No'}: {told}."


def _judged(
    path: Path, dataset: Dataset, judge: Judge, settings: dict[str, int], device: torch.device | str, stage: Stage
) -> tuple[Standing, np.ndarray | None]:
    """The standing of the run in a folder and its bits/dim of each example, from what was kept if it is of these weights."""
    run, kept, picture = open_run(path, device), path / "standing.json", path / "standing.png"
    key = json.dumps({**settings, "weights": run.metadata}, sort_keys=True)
    try:
        judged = read_json(Judged, kept)
        if judged.key == key and picture.is_file():
            return judged.standing, None if judged.each is None else np.array(judged.each)
    except (FileNotFoundError, InputError):
        pass  # it is made again
    name = run.config.model.name
    with (
        stage(f"{name}: likelihood", settings["num_examples"]) as scored,
        stage(f"{name}: samples", settings["num_samples"]) as drawn,
    ):
        found, bits, samples = standing(run, dataset, judge, **settings, scored=scored, drawn=drawn)
    many = len(samples) if len(dataset.shape) == 1 else SHOWN
    sample_grid(picture, samples[:many], dataset.spec.encoding.value_range, data=dataset.examples[dataset.test[:many]])
    write_file(kept, to_json(Judged(key, found, None if bits is None else tuple(bits.tolist()))).encode())
    return found, bits


def _quality(quality: Quality) -> tuple[str, str, str]:
    return figure_text(*quality.frechet), figure_text(*quality.precision), figure_text(*quality.coverage)


def _page(comparison: Comparison, dataset: Dataset, folder: Path) -> str:
    pictures = [
        Picture(f"{each.model}: {each.likelihood_text}", folder / each.model / "standing.png")
        for each in comparison.standings
    ]
    if len(dataset.shape) > 1:
        real = folder / "data.png"
        sample_grid(real, dataset.examples[dataset.test[:SHOWN]], dataset.spec.encoding.value_range)
        pictures.insert(0, Picture("Held-out data", real))
    table = Table(f"Samples are compared in {comparison.space}", HEADER, tuple(comparison.rows()))
    report = Report(
        title=f"The family on {comparison.data}",
        paragraphs=(f"Every model was trained for {comparison.budget}.", *comparison.answers),
        tables=(table,),
        findings=tuple(comparison.remarks),
        pictures=tuple(pictures),
    )
    return html(report)
