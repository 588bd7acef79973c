"""A run folder opened for use: the model, how its data are written, and its configuration."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lowerbound.data import Dataset, open_dataset
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.likelihood.decoder import Decoder
from lowerbound.train.build import build_decoder, build_denoiser
from lowerbound.train.config import Config, DataConfig
from lowerbound.train.folder import DataFacts, RunFolder


@dataclass(frozen=True)
class Run:
    """A trained model.

    Arguments:
        folder: where it lies.
        config: how it was trained.
        data: what it knows of its data.
        denoiser: with the averaged weights, without gradients.
        decoder: from the least noisy latent to the data; None: the run has no likelihood.
        metadata: what model.safetensors says of its weights.
    """

    folder: RunFolder
    config: Config
    data: DataFacts
    denoiser: Denoiser
    decoder: Decoder | None
    metadata: dict[str, str]

    def encode(self, raw: np.ndarray) -> Tensor:
        """Stored values (N, *shape) as the model sees them."""
        return self.data.encoding.encode(raw)

    def decode(self, x: Tensor) -> np.ndarray:
        """The model's values as stored ones, (N, *shape)."""
        return self.data.encoding.decode(x)

    def labels(self, names: list[str]) -> Tensor:
        """Class indices of class names.

        Raises:
            InputError: if the run has no labels or no such class.
        """
        if not self.config.data.conditional or not self.data.class_names:
            raise InputError(
                f"the run in {self.folder.path} knows no labels: train with --conditional on labelled data"
            )
        for name in names:
            if name not in self.data.class_names:
                raise InputError(f"no label {name!r} in this run: choose from {', '.join(self.data.class_names)}")
        return torch.tensor([self.data.class_names.index(name) for name in names])

    def open_dataset(self, source: str | None = None) -> Dataset:
        """The data that the run was trained on.

        Arguments:
            source: where they are now, if not where they were.

        Raises:
            InputError: if they are not there, or no longer the same.
        """
        source = source or self.config.data.source
        dataset = open_configured(replace(self.config.data, source=source))
        if dataset.fingerprint() != self.data.fingerprint:
            raise InputError(
                f"{source} does not hold the examples that the run in {self.folder.path} was trained on: what "
                "it held out is not known of these; train a new run"
            )
        return dataset


def open_configured(data: DataConfig) -> Dataset:
    """The data set of a configuration."""
    return open_dataset(
        data.source,
        layout=data.layout,
        num_levels=data.num_levels,
        image_size=data.image_size,
        skip_bad_files=data.skip_bad_files,
    )


def open_run(path: Path | str, device: torch.device | str = "cpu") -> Run:
    """Open a run for use.

    Raises:
        InputError: if there is no run, it has no model yet, or its files are damaged.
    """
    folder = RunFolder(path)
    config, facts = folder.read_config()
    sizes = (0, 0)
    if config.data.conditional:
        features = facts.num_condition_features
        sizes = (0 if features else len(facts.class_names), features)
    num_levels = facts.encoding.num_levels
    denoiser = build_denoiser(config, facts.shape, num_levels, *sizes)
    metadata = load_weights(denoiser, folder.model)
    denoiser.requires_grad_(False).eval().to(device)
    decoder = build_decoder(config.decoder, num_levels)
    if decoder is None:
        denoiser.no_likelihood = "the run was trained with --decoder.name none"
    return Run(folder, config, facts, denoiser, decoder, metadata)


def load_weights(denoiser: Denoiser, path: Path) -> dict[str, str]:
    """Read the weights of a denoiser from a safetensors file; returns the file's metadata."""
    if not path.is_file():
        raise InputError(
            f"{path} is not there yet: it is written when held-out bits/dim are first measured in training"
        )
    try:
        with safe_open(path, framework="pt") as file, torch.no_grad():
            metadata = file.metadata() or {}
            names = set(file.keys())
            for name, parameter in denoiser.named_parameters():
                if name not in names:
                    raise InputError(f"{path} lacks the weight {name} that its configuration calls for")
                weight = file.get_tensor(name)
                if weight.shape != parameter.shape:
                    raise InputError(
                        f"{path}: {name} has the shape {tuple(weight.shape)}, the configuration calls for "
                        f"{tuple(parameter.shape)}"
                    )
                parameter.copy_(weight)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return metadata
