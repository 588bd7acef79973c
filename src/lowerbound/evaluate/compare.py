"""The family at an equal budget: every model trained on the same data for the same time, then judged by the same figures.

It answers the two claims that are made for diffusion models, on data of the user's own: a better likelihood than an
autoregressive model's, and better samples than an adversarial network's. The likelihoods of two models are compared example
by example, for most of their spread is the examples' and not the models'.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.features import UPDATES, feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge
from lowerbound.evaluate.part import Stage
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.standing import Asked, Standing, standing
from lowerbound.files import write_file
from lowerbound.pictures import sample_grid
from lowerbound.records import Measured, read_json, to_json
from lowerbound.run import Run, open_run
from lowerbound.training import recipe, train
from lowerbound.training.config import DataConfig, ModelName

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
SHOWN = 36


@dataclass(frozen=True)
class Contest:
    """The terms of a comparison, the same for every model.

    Arguments:
        models: which.
        minutes, steps: the budget of each; one of the two.
        asked: of each, once it is trained.

    Raises:
        InputError: without a model, or without one budget.
    """

    models: Sequence[ModelName] = FAMILY
    minutes: float | None = None
    steps: int | None = None
    asked: Asked = field(default_factory=Asked)

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise InputError(
                f"the budget of each model: steps={self.steps}, minutes={self.minutes}; give one of the two"
            )
        if not self.models:
            raise InputError(f"no models to compare: choose from {', '.join(FAMILY)}")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Arguments:
        data: the data set's name.
        minutes, steps: the budget of each model, one of the two.
        device: on which they were trained.
        standings: of the models that were trained.
        floor: the quality of held-out examples.
        space: what samples are compared in.
        difference: bits/dim of the diffusion model less the autoregressive model's, on the same examples; None without both.
        left_out: the models that could not be trained, each with the reason.
    """

    data: str
    minutes: float | None
    steps: int | None
    device: str
    standings: list[Standing]
    floor: Quality
    space: str
    difference: Measured | None
    left_out: dict[str, str]


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
        InputError: if no model can be trained, or the folder holds runs with other settings.
    """
    dataset.spec.check_complete("compare")
    folder, asked = Path(out), contest.asked
    folder.mkdir(parents=True, exist_ok=True)
    with stage("classifier of the data", UPDATES) as progress:
        classifier = feature_classifier(dataset, folder, progress)
    judge = Judge.of(dataset, feature_space(dataset, classifier), asked.num_samples, asked.seed)
    standings, bits, left_out = [], {}, {}
    for number, model in enumerate(contest.models, 1):
        say(f"{number} of {len(contest.models)}: {model}")
        try:
            config = recipe(dataset, data, minutes=contest.minutes or 1.0, model=model)
            training = replace(config.training, minutes=contest.minutes, steps=contest.steps, seed=asked.seed)
            config, shown = replace(config, training=training), {"say": say, "show_progress": show_progress}
            train(config, dataset, folder / model, device=device, **shown)
            found, each = _judged(open_run(folder / model, device), dataset, judge, asked, stage)
        except InputError as error:
            left_out[model] = str(error)
            say(f"{model} is left out: {error}.")
            continue
        standings.append(found)
        bits[model] = each
    if not standings:
        reasons = " ".join(f"{model} is left out: {reason}." for model, reason in left_out.items())
        raise InputError(f"none of the models could be trained: {reasons}")
    if len(dataset.shape) > 1:
        real = dataset.examples[dataset.test[:SHOWN]]
        sample_grid(folder / "data.png", real, dataset.spec.encoding.value_range)
    comparison = Comparison(
        data=dataset.spec.name,
        minutes=contest.minutes,
        steps=contest.steps,
        device=str(device),
        standings=standings,
        floor=judge.floor(),
        space=str(judge.space),
        difference=paired(bits.get("diffusion"), bits.get("autoregressive")),
        left_out=left_out,
    )
    write_file(folder / "comparison.json", to_json(comparison).encode())
    return comparison


def paired(ours: np.ndarray | None, theirs: np.ndarray | None) -> Measured | None:
    """The mean of one model's bits/dim less another's, on the same examples; None without both."""
    return None if ours is None or theirs is None else Measured.of(ours - theirs)


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


def _judged(run: Run, dataset: Dataset, judge: Judge, asked: Asked, stage: Stage) -> tuple[Standing, np.ndarray | None]:
    """The standing of a run and its bits/dim of each example, from what was kept if it is of these weights."""
    kept, picture = run.folder.path / "standing.json", run.folder.path / "standing.png"
    key = json.dumps({**asdict(asked), "weights": run.metadata}, sort_keys=True)
    try:
        judged = read_json(Judged, kept)
        if judged.key == key and picture.is_file():
            return judged.standing, None if judged.each is None else np.array(judged.each)
    except (FileNotFoundError, InputError):
        pass  # it is made again
    name = run.config.model.name
    with (
        stage(f"{name}: likelihood", asked.num_examples) as scored,
        stage(f"{name}: samples", asked.num_samples) as drawn,
    ):
        found, bits, samples = standing(run, dataset, judge, asked, scored=scored, drawn=drawn)
    many = len(samples) if len(dataset.shape) == 1 else SHOWN
    sample_grid(picture, samples[:many], dataset.spec.encoding.value_range, data=dataset.examples[dataset.test[:many]])
    write_file(kept, to_json(Judged(key, found, None if bits is None else tuple(bits.tolist()))).encode())
    return found, bits
