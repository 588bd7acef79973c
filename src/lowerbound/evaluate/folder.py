"""Where an evaluation is kept: its figures in evaluation.json, its pictures beside it, all of one state of one model.

evaluation.json names the weights and the data that everything in it is of, each part with the key that it is known again by,
and each picture with the hash of its bytes. It is written last and at once after every part: an interruption at any moment
leaves the parts that were done, and a picture that belongs to other figures is found out by its hash.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowerbound.errors import InputError
from lowerbound.evaluate.audited import Audited
from lowerbound.evaluate.classes import Classes
from lowerbound.evaluate.columns import Columns
from lowerbound.evaluate.copies import Neighbours
from lowerbound.evaluate.density import HeldOutDensity
from lowerbound.evaluate.diagnosis import Diagnosis
from lowerbound.evaluate.features import Features
from lowerbound.evaluate.forecasts import Forecasts
from lowerbound.evaluate.imputation import Imputed
from lowerbound.evaluate.judge import SampleQuality, Samples
from lowerbound.evaluate.likelihood import Baselines, Likelihood, Trainings
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.trade_off import TradeOff
from lowerbound.files.records import read, read_json, to_json
from lowerbound.files.whole import file_hash, write_file
from lowerbound.run import Run

KINDS: dict[str, type[Figures]] = {
    "likelihood": Likelihood,
    "samples": Samples,
    "audit": Audited,
    "trainings": Trainings,
    "baselines": Baselines,
    "training": Figures,
    "diagnosis": Diagnosis,
    "features": Features,
    "quality": SampleQuality,
    "distances": Neighbours,
    "columns": Columns,
    "classes": Classes,
    "imputation": Imputed,
    "path": Figures,
    "forecasts": Forecasts,
    "density": HeldOutDensity,
    "calls": TradeOff,
    "guidance": TradeOff,
}
"""What each part finds, by the part's name, in the order in which reports show them."""


@dataclass(frozen=True)
class KeptFile:
    """A file of a part.

    Arguments:
        name: plain, inside the evaluation's folder.
        hash: of its bytes.
    """

    name: str
    hash: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*\.(png|npy)", self.name):
            raise InputError(f"a file of an evaluation has a plain name inside its folder, not {self.name!r}")

    def path(self, folder: Path) -> Path:
        """Where it lies.

        Raises:
            InputError: if it is not there, leads out of the folder, or is not the one that was kept.
        """
        path = folder / self.name
        if not path.is_file():
            raise InputError(f"{path} is not there")
        if path.resolve().parent != folder.resolve():
            raise InputError(f"{path} leads out of the evaluation's folder")
        if file_hash(path) != self.hash:
            raise InputError(f"{path} does not belong to the figures: it was changed, or drawn by another evaluation")
        return path


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    Arguments:
        key: by which it is known again.
        title: of the part.
        figures: `Figures` that it found; None if it was left out.
        missing: why, then.
        files: that it left.
    """

    key: str
    title: str
    figures: Any = None
    missing: str | None = None
    files: tuple[KeptFile, ...] = ()

    def __post_init__(self) -> None:
        if (self.figures is None) == (self.missing is None):
            raise InputError("a part has either figures or a reason why it has none")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found so far.

    Arguments:
        model: a hash of the weights and of what makes a model of them.
        weights: what model.safetensors says of its weights.
        data: the name of the data that they were evaluated on.
        fingerprint: of these.
        own: whether they are the run's own.
        planned: the names of the parts that were asked for.
        parts: those that are done.
    """

    model: str
    weights: dict[str, str]
    data: str
    fingerprint: str
    own: bool
    planned: tuple[str, ...]
    parts: dict[str, Outcome]

    @property
    def identity(self) -> tuple[str, str]:
        """Of model and data."""
        return self.model, self.fingerprint

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The parts that were asked for and are not done."""
        return tuple(name for name in self.planned if name not in self.parts)

    @property
    def figures(self) -> dict[str, Figures]:
        """What was found, by part, in the order in which it is shown."""
        return {name: self.parts[name].figures for name in KINDS if name in self.parts and not self.parts[name].missing}

    def having(self, name: str, outcome: Outcome) -> "Evaluation":
        """With one part more."""
        parts = {**self.parts, name: outcome}
        return replace(self, parts={name: parts[name] for name in KINDS if name in parts})


def evaluation_folder(run: Run, data: str | None = None) -> Path:
    """The folder of a run's evaluation, or of its evaluation on other data that have a name."""
    folder = run.folder.path / "evaluation"
    return folder if data is None else folder / data


def other_folders(run: Run) -> list[Path]:
    """The folders of a run's evaluations on other data."""
    return sorted(path.parent for path in evaluation_folder(run).glob(f"of-*/{FILE}"))


FILE = "evaluation.json"


def model_hash(run: Run) -> str:
    """Of the bytes of the weights, and of the settings that make a model of them."""
    digest = hashlib.sha256(file_hash(run.folder.model).encode())
    settings = run.config.to_dict()
    digest.update(repr([settings[name] for name in settings if name not in ("data", "training")]).encode())
    return digest.hexdigest()[:16]


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write evaluation.json."""
    write_file(folder / FILE, to_json(evaluation).encode())


def keep_files(folder: Path, source: Path, names: Iterable[str]) -> tuple[KeptFile, ...]:
    """Copy the files that a part drew into the evaluation's folder.

    Arguments:
        folder: of the evaluation.
        source: where they are.
        names: of those that may be there.
    """
    present = [name for name in names if (source / name).is_file()]
    for name in present:
        write_file(folder / name, (source / name).read_bytes())
    return tuple(KeptFile(name, file_hash(folder / name)) for name in present)


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation that lies in a folder; None if there is none.

    Raises:
        InputError: if it is damaged, or of another version of this program.
    """
    path = folder / FILE
    try:
        evaluation = read_json(Evaluation, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    for name in (*evaluation.planned, *evaluation.parts):
        if name not in KINDS:
            raise InputError(f"{path}: unknown part {name!r}; known are {', '.join(KINDS)}")
    parts = dict(evaluation.parts)
    for name, outcome in parts.items():
        if outcome.figures is not None:  # as JSON holds them
            figures = read(KINDS[name], outcome.figures, str(path), f"parts.{name}.figures.")
            parts[name] = replace(outcome, figures=figures)
    return replace(evaluation, parts=parts)
