"""A run folder opened for use: the model, how its data are written, and its configuration."""

import json
import reprlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import Dataset, DataSpec, Reading, open_dataset, read_conditions
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.files.weights import load_weights
from lowerbound.machine.device import prepared
from lowerbound.models import Diffusion, Model
from lowerbound.training.build import build_model
from lowerbound.training.config import Config
from lowerbound.training.folder import RunFolder

FIGURES = {"step": int} | dict.fromkeys(
    ("seconds", "held_out_bits_per_dim", "standard_error", "baseline_bits_per_dim"), float
)
"""Numbers among what a file of weights says of them, and their types."""


@dataclass(frozen=True, repr=False)
class Run:
    """A trained model in use.

    Arguments:
        folder: where it lies.
        config: how it was trained.
        spec: what it knows of its data.
        model: with the averaged weights, without gradients.
        metadata: what model.safetensors says of its weights.
    """

    folder: RunFolder
    config: Config
    spec: DataSpec
    model: Model
    metadata: dict[str, str]

    def __repr__(self) -> str:
        return f"Run({str(self.folder.path)!r}, {self.config.model.name} of {self.spec.name})"

    @property
    def diffusion(self) -> Diffusion:
        """The model, if it is a denoiser.

        Raises:
            InputError: if it is none.
        """
        if isinstance(self.model, Diffusion):
            return self.model
        raise InputError(
            f"the run in {self.folder.path} is a model of the kind {self.config.model.name}, which is no denoiser: train, "
            "sample, evaluate, score and report take it; for anything else train a diffusion model"
        )

    @property
    def is_denoiser(self) -> bool:
        """Whether the model is a denoiser."""
        return isinstance(self.model, Diffusion)

    @property
    def denoiser(self) -> Denoiser:
        """The model's denoiser.

        Raises:
            InputError: if it has none.
        """
        return self.diffusion.denoiser

    def around(self, denoiser: Denoiser) -> "Run":
        """The same run with another denoiser, guided say, in the place of its own."""
        return replace(self, model=self.diffusion.around(denoiser))

    @property
    def num_parameters(self) -> int:
        """How many numbers were trained."""
        return sum(parameter.numel() for parameter in self.model.trained.parameters())

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def encode(self, raw: np.ndarray) -> Tensor:
        """Stored values (N, *shape) as the model sees them."""
        return self.spec.encoding.encode(raw)

    def decode(self, x: Tensor) -> np.ndarray:
        """The model's values as stored ones, (N, *shape).

        Raises:
            InputError: if any is NaN or infinite, which no level of discrete data could tell.
        """
        if not torch.isfinite(x).all():
            raise InputError(
                f"the model of the run in {self.folder.path} gave NaN or infinity: take more steps or less guidance, or "
                "train it further with a smaller --learning-rate"
            )
        return self.spec.encoding.decode(x)

    def labels(self, names: list[str]) -> Tensor:
        """Class indices of class names.

        Raises:
            InputError: if its data have no labels or no such class.
        """
        if not self.spec.class_names:  # an unconditional run's classifier may know them
            raise InputError(
                f"the run in {self.folder.path} knows no labels: train with --conditional on labelled data"
            )
        for name in names:
            if name not in self.spec.class_names:
                raise InputError(f"no label {name!r} in this run: choose from {', '.join(self.spec.class_names)}")
        return torch.tensor([self.spec.class_names.index(name) for name in names])

    def conditions(self, vectors: np.ndarray) -> Tensor:
        """Condition vectors (N, F) as the model sees them: normalised as those of the training data; NaN rows stay null.

        Raises:
            InputError: if the run takes none, or of another length, or a value is not finite.
        """
        if not self.config.data.conditional or self.spec.vectors is None:
            raise InputError(
                f"the run in {self.folder.path} takes no condition vectors: train with --conditional on data with vectors"
            )
        return self.spec.vectors(vectors)

    def given(self, values: np.ndarray, where: str = "") -> Tensor:
        """Conditions as the model sees them: class names or their numbers, (N,), or vectors, (N, F).

        Arguments:
            values: as `read_conditions` gives them.
            where: what a message begins with.

        Raises:
            InputError: as `labels` and `conditions`.
        """
        try:
            if values.ndim == 1 and values.dtype.kind in "iuU":
                return self.labels([str(value) for value in values.tolist()])
            return self.conditions(values)
        except InputError as error:
            raise InputError(f"{where}{error}") from error

    def conditions_from(self, file: Path | str) -> Tensor:
        """The conditions that a file holds: labels or vectors, whichever the run takes.

        Arguments:
            file: an .npy array, of vectors (N, F), or of class names or numbers (N,); a text of one class name a line; or,
                of a run that is told columns of a table, a table of these columns.

        Raises:
            InputError: if it cannot be read, or does not hold what the run takes.
        """
        return self.given(self.read_conditions(file), f"{file}: ")

    def read_conditions(self, file: Path | str, reading: Reading | None = None) -> np.ndarray:
        """What `conditions_from` reads: class names or numbers, (N,), or vectors as they are stored, (N, F).

        Arguments:
            file: as there.
            reading: what is said of it, where that is not as the run's own data are read.

        Raises:
            InputError: as there, or if what is said has no effect on it.
        """
        data = replace(self.config.data, ignore=tuple(column.name for column in self.spec.columns))
        return read_conditions(Path(file), data, self.spec.condition_columns, reading)

    def open_dataset(self, source: str | None = None) -> Dataset:
        """The data that the run was trained on.

        Arguments:
            source: where they are now, if not where they were.

        Raises:
            InputError: if they are not there, or no longer the same.
        """
        source = source or self.config.data.source
        if not source:
            raise InputError(
                f"the run in {self.folder.path} was imported without data: name some by --data, or import the model again "
                "with --data"
            )
        dataset = open_dataset(replace(self.config.data, source=source))
        if not dataset.has_fingerprint(self.spec.fingerprint):
            raise InputError(
                f"{source} does not hold the examples, with the labels and the splits, that the run in {self.folder.path} "
                "was trained on: what it held out is not known of these; train a new run"
            )
        return dataset.encoded_as(self.spec)

    def early(self) -> Denoiser:
        """The model as it was early in its training: a weaker one of the same kind, for `guidance.AutoGuidance`.

        Raises:
            InputError: if its weights were not kept, or are damaged.
        """
        path = self.folder.early
        if not path.is_file():
            raise InputError(
                f"{path} is not there: training keeps early weights when held-out bits/dim are measured after an eighth of "
                "the run and before its end; train a run anew, with --num-evaluations of 4 or more"
            )
        model, _ = _open_model(self.config, self.spec, path, self.device)
        assert isinstance(model, Diffusion)
        return model.denoiser


def open_run(path: Path | str, device: torch.device | str = "cpu") -> Run:
    """Open a run for use.

    Arguments:
        path: its folder.
        device: where its model is to be.

    Raises:
        InputError: if there is no run, it has no model yet, or its files are damaged.
    """
    folder = RunFolder(path)
    config, spec = folder.read_config()
    model, metadata = _open_model(config, spec, folder.model, device)
    return Run(folder, config, spec, model, metadata)


def open_denoiser(path: Path | str, device: torch.device | str = "cpu") -> Run:
    """Open the run of a denoiser for use.

    Raises:
        InputError: as `open_run`; and if its model is no denoiser.
    """
    run = open_run(path, device)
    _ = run.diffusion
    return run


def check_levels(run: Run, purpose: str) -> None:
    """Refuse a distilled run, which knows its own steps' noise levels alone, for what needs others, by an InputError."""
    if (times := run.diffusion.times) is not None:
        raise InputError(
            f"the run in {run.folder.path} is distilled and knows {len(times)} noise levels only: for {purpose} use the "
            "run that it was distilled from"
        )


def _open_model(config: Config, spec: DataSpec, path: Path, device: torch.device | str) -> tuple[Model, dict[str, str]]:
    """The model with the weights of a file, for use, and what the file says of them, whose figures are numbers."""
    model = build_model(config, spec)
    metadata = load_weights(model.trained, path)
    for name, kind in FIGURES.items():
        try:
            kind(metadata.get(name, "0"))
        except ValueError as error:
            raise InputError(f"{path} is damaged: its {name} is {reprlib.repr(metadata[name])}, no number") from error
    if "times" in metadata:
        times = _read_times(metadata["times"], path)
        model = model.distilled(times) if isinstance(model, Diffusion) else model
    return model.requires_grad_(False).eval().to(prepared(device)), metadata


def _read_times(text: str, path: Path) -> Tensor:
    """The times that a file of distilled weights names."""
    damage = f"{path} is damaged: its times are {reprlib.repr(text)}"
    try:
        times = torch.tensor(json.loads(text), dtype=torch.float64)
        falling = torch.cat([times, torch.zeros(1)]).diff() < 0
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(damage) from error
    if not len(times) or not falling.all() or times[0] > 1:
        raise InputError(f"{damage}, which do not fall from 1 to 0")
    return times
