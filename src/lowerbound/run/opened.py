"""A run folder opened for use: the model, how its data are written, and its configuration."""

import json
import reprlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.data import Dataset, open_dataset, read_conditions
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.likelihood.decoder import Decoder
from lowerbound.models import Relative
from lowerbound.train.build import build_decoder, build_denoiser, build_relative
from lowerbound.train.config import Config, DataConfig
from lowerbound.train.folder import DataFacts, RunFolder
from lowerbound.weights import load_weights

FIGURES = {
    "step": int,
    **dict.fromkeys(("seconds", "held_out_bits_per_dim", "standard_error", "baseline_bits_per_dim"), float),
}
"""Numbers among what a file of weights says of them, and their types."""


class OpenedRun(ABC):
    """What any trained model in use can say of itself and its data."""

    folder: RunFolder
    config: Config
    data: DataFacts
    metadata: dict[str, str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder.path)!r}, {self.config.model.name} of {self.data.name})"

    @property
    @abstractmethod
    def model(self) -> Denoiser | Relative:
        """With the averaged weights, without gradients."""

    @property
    def num_parameters(self) -> int:
        """How many numbers were trained."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def encode(self, raw: np.ndarray) -> Tensor:
        """Stored values (N, *shape) as the model sees them."""
        return self.data.encoding.encode(raw)

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
        return self.data.encoding.decode(x)

    def labels(self, names: list[str]) -> Tensor:
        """Class indices of class names.

        Raises:
            InputError: if its data have no labels or no such class.
        """
        if not self.data.class_names:  # an unconditional run's classifier may know them
            raise InputError(
                f"the run in {self.folder.path} knows no labels: train with --conditional on labelled data"
            )
        for name in names:
            if name not in self.data.class_names:
                raise InputError(f"no label {name!r} in this run: choose from {', '.join(self.data.class_names)}")
        return torch.tensor([self.data.class_names.index(name) for name in names])

    def conditions(self, vectors: np.ndarray) -> Tensor:
        """Condition vectors (N, F) as the model sees them: normalised as those of the training data; NaN rows stay null.

        Raises:
            InputError: if the run takes none, or of another length, or a value is not finite.
        """
        if not self.config.data.conditional or self.data.vectors is None:
            raise InputError(
                f"the run in {self.folder.path} takes no condition vectors: train with --conditional on data with vectors"
            )
        return self.data.vectors(vectors)

    def conditions_from(self, file: Path | str) -> Tensor:
        """The conditions that a file holds: labels or vectors, whichever the run takes.

        Arguments:
            file: an .npy array, of vectors (N, F), or of class names or numbers (N,); or a text of one class name a line.

        Raises:
            InputError: if it cannot be read, or does not hold what the run takes.
        """
        file = Path(file)
        read = read_conditions(file)
        try:
            if read.ndim == 1 and read.dtype.kind in "iuU":
                return self.labels([str(value) for value in read.tolist()])
            return self.conditions(read)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error

    def open_dataset(self, source: str | None = None) -> Dataset:
        """The data that the run was trained on.

        Arguments:
            source: where they are now, if not where they were.

        Raises:
            InputError: if they are not there, or no longer the same.
        """
        source = source or self.config.data.source
        dataset = open_configured(replace(self.config.data, source=source))
        if not dataset.has_fingerprint(self.data.fingerprint):
            raise InputError(
                f"{source} does not hold the examples, with the labels and the splits, that the run in {self.folder.path} "
                "was trained on: what it held out is not known of these; train a new run"
            )
        return dataset


@dataclass(frozen=True, repr=False)
class Run(OpenedRun):
    """A trained denoiser.

    Arguments:
        folder: where it lies.
        config: how it was trained.
        data: what it knows of its data.
        denoiser: with the averaged weights, without gradients.
        decoder: from the least noisy latent to the data; None: the run has no likelihood.
        metadata: what model.safetensors says of its weights.
        times: of a distilled run, those that its denoiser was made for, (num_steps,); None of all others.
    """

    folder: RunFolder
    config: Config
    data: DataFacts
    denoiser: Denoiser
    decoder: Decoder | None
    metadata: dict[str, str]
    times: Tensor | None = None

    @property
    def model(self) -> Denoiser:
        return self.denoiser

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
        return _open_denoiser(self.config, self.data, path, self.denoiser.device)[0]


@dataclass(frozen=True, repr=False)
class RelativeRun(OpenedRun):
    """A trained relative.

    Arguments:
        folder: where it lies.
        config: how it was trained.
        data: what it knows of its data.
        relative: with the averaged weights, without gradients.
        metadata: what model.safetensors says of its weights.
    """

    folder: RunFolder
    config: Config
    data: DataFacts
    relative: Relative
    metadata: dict[str, str]

    @property
    def model(self) -> Relative:
        return self.relative


def open_configured(data: DataConfig) -> Dataset:
    """The data set of a configuration."""
    return open_dataset(
        data.source,
        layout=data.layout,
        num_levels=data.num_levels,
        image_size=data.image_size,
        skip_bad_files=data.skip_bad_files,
    )


def open_any(path: Path | str, device: torch.device | str = "cpu") -> Run | RelativeRun:
    """Open a run for use, whatever its model.

    Raises:
        InputError: if there is no run, it has no model yet, or its files are damaged.
    """
    folder = RunFolder(path)
    config, facts = folder.read_config()
    if config.model.is_denoiser:
        return _open_run(folder, config, facts, device)
    relative = build_relative(config.model, facts.shape, facts.encoding.num_levels)
    metadata = _load(relative, folder.model)
    return RelativeRun(folder, config, facts, relative.requires_grad_(False).eval().to(device), metadata)


def open_run(path: Path | str, device: torch.device | str = "cpu") -> Run:
    """Open the run of a denoiser for use.

    Raises:
        InputError: if there is no run, it has no model yet, its files are damaged, or its model is no denoiser.
    """
    folder = RunFolder(path)
    config, facts = folder.read_config()
    if not config.model.is_denoiser:
        raise InputError(
            f"the run in {folder.path} is a model of the kind {config.model.name}, which is no denoiser: train, sample, "
            "evaluate, score and report take it; for anything else train a diffusion model"
        )
    return _open_run(folder, config, facts, device)


def _open_run(folder: RunFolder, config: Config, facts: DataFacts, device: torch.device | str) -> Run:
    denoiser, metadata = _open_denoiser(config, facts, folder.model, device)
    decoder = build_decoder(config.decoder, facts.encoding.num_levels)
    if decoder is None:
        denoiser.no_likelihood = "the run was trained with --decoder.name none"
    times = _times(metadata, folder.model)
    if times is not None:
        denoiser.no_likelihood = (
            f"the run is distilled: its network says where {len(times)} steps lead, no longer what E[x | x_t] is"
        )
    return Run(folder, config, facts, denoiser, decoder, metadata, times)


def check_levels(run: Run, purpose: str) -> None:
    """Refuse a distilled run, which knows its own steps' noise levels alone, for what needs others, by an InputError."""
    if run.times is not None:
        raise InputError(
            f"the run in {run.folder.path} is distilled and knows {len(run.times)} noise levels only: for {purpose} use the "
            "run that it was distilled from"
        )


def _times(metadata: dict[str, str], path: Path) -> Tensor | None:
    """The times that a file of distilled weights names."""
    if "times" not in metadata:
        return None
    try:
        times = torch.tensor(json.loads(metadata["times"]), dtype=torch.float64)
        falling = torch.cat([times, torch.zeros(1)]).diff() < 0
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is damaged: its times are {reprlib.repr(metadata['times'])}") from error
    if not len(times) or not falling.all() or times[0] > 1:
        raise InputError(
            f"{path} is damaged: its times are {reprlib.repr(metadata['times'])}, which do not fall from 1 to 0"
        )
    return times


def _load(model: nn.Module, path: Path) -> dict[str, str]:
    """Read a model's weights; returns what their file says of them, whose figures are checked to be numbers."""
    metadata = load_weights(model, path)
    for name, kind in FIGURES.items():
        try:
            kind(metadata.get(name, "0"))
        except ValueError as error:
            raise InputError(f"{path} is damaged: its {name} is {reprlib.repr(metadata[name])}, no number") from error
    return metadata


def _open_denoiser(
    config: Config, facts: DataFacts, path: Path, device: torch.device | str
) -> tuple[Denoiser, dict[str, str]]:
    """The denoiser with the weights of a file, for use, and what the file says of them."""
    sizes = (0, 0)
    if config.data.conditional:
        features = facts.num_condition_features
        sizes = (0 if features else len(facts.class_names), features)
    denoiser = build_denoiser(config, facts.shape, facts.encoding.num_levels, *sizes)
    metadata = _load(denoiser, path)
    return denoiser.requires_grad_(False).eval().to(device), metadata
