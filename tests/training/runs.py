"""Small runs for tests."""

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from lowerbound.data import Affine, Dataset, DataSpec, Levels, open_dataset
from lowerbound.files.weights import weights_file
from lowerbound.models import Diffusion
from lowerbound.run import Run, open_run
from lowerbound.training import Config, recipe, train
from lowerbound.training.config import DataConfig, NetworkConfig
from lowerbound.training.folder import RunFolder
from lowerbound.training.trainer import Trainer


def made(shape: tuple[int, ...], num_levels: int | None) -> Dataset:
    """Four examples for training, all zero."""
    encoding = Levels(num_levels) if num_levels else Affine((0.0,), (1.0,))
    no = np.empty(0, dtype=np.int64)
    values = np.zeros((4, *shape), dtype=np.uint8 if num_levels else np.float32)
    return Dataset(DataSpec("made", shape, encoding), values, train=np.arange(4), validation=no, test=no)


def tiny_config(source: str = "digits", components: int = 2, **training: object) -> tuple[Config, Dataset]:
    """A configuration whose steps take milliseconds, and its data.

    It draws no pictures: one costs as much as half of the steps. Of vectors, a mixture of so many components at most is
    fitted: one of as many as the recipe has takes seconds, in each process anew.
    """
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(source))
    settings = {
        "minutes": None,
        "steps": 12,
        "batch_size": 8,
        "warmup_steps": 3,
        "num_evaluations": 3,
        "num_pictures": 0,
    }
    if config.network.kind == "unet":
        network = NetworkConfig(width=8, multipliers=(1, 2), blocks_per_level=1)
    else:
        network = NetworkConfig(config.network.kind, width=8, depth=1)
    denoiser = dataclasses.replace(config.denoiser, components=min(components, config.denoiser.components))
    trained = dataclasses.replace(config.training, **{**settings, **training})
    return dataclasses.replace(config, network=network, denoiser=denoiser, training=trained), dataset


def tiny_run(out: Path, source: str = "digits", **training: object) -> RunFolder:
    """A complete tiny run."""
    config, dataset = tiny_config(source, **training)
    return train(config, dataset, out, say=lambda line: None, show_progress=False)


def whole_and_stopped(config: Config, dataset: Dataset, folder: Path, monkeypatch) -> tuple[Run, Run]:
    """A run in one go, and one that was stopped and gone on with, which must not fit again what it stands upon."""
    quiet = {"say": lambda line: None, "show_progress": False}
    train(config, dataset, folder / "whole", **quiet)
    with pytest.raises(KeyboardInterrupt):
        train_until(3, config, dataset, folder / "stopped", monkeypatch, lambda line: None)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit_below", lambda trainer: pytest.fail("it was fitted already"))
        train(config, dataset, folder / "stopped", **quiet)
    return open_run(folder / "whole"), open_run(folder / "stopped")


def train_until(
    stop_at: int, config: Config, dataset: Dataset, out: Path, monkeypatch, say: Callable = print, device: str = "cpu"
) -> None:
    """Train and send the process a real SIGINT after a step; the run raises KeyboardInterrupt by itself."""
    original = Trainer.records

    def records(self):
        for record in original(self):
            if record.step == stop_at:
                signal.raise_signal(signal.SIGINT)
            yield record

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "records", records)
        train(config, dataset, out, device=device, say=say, show_progress=False)


ENOUGH_DRAWS = Diffusion.held_out_draws
"""How often held-out examples are drawn outside of tests."""


def draw_little(patch: pytest.MonkeyPatch) -> None:
    """From now on held-out bits along the way are of as many examples as ever, each drawn once or twice."""
    patch.setattr(
        Diffusion, "held_out_draws", lambda model, num_examples: max(1, ENOUGH_DRAWS(model, num_examples) // 32)
    )


def evaluate_quickly(patch: pytest.MonkeyPatch) -> None:
    """From now on evaluations tell their pace by one example, errors by ten splits, features by a classifier of 30 updates,
    columns by a fifth of the trees, and pictures are coarse, with axes that stay where they begin.

    How axes are moved, for their words not to touch, costs more than all else in a picture.
    """
    patch.setattr("lowerbound.evaluate.part.PROBE_SECONDS", 0.0)
    patch.setattr("lowerbound.evaluate.quality.NUM_SPLITS", 10)
    patch.setattr("lowerbound.evaluate.columns.NUM_SPLITS", 10)
    patch.setattr("lowerbound.evaluate.columns.NUM_TREES", 20)
    patch.setattr("lowerbound.evaluate.features.UPDATES", 30)
    patch.setattr("lowerbound.pictures.canvas.ConstrainedLayoutEngine", lambda **_: None)
    patch.setattr("lowerbound.pictures.canvas.DPI", 50)


def measure_little(monkeypatch) -> None:
    """From now on runs measure so little along the way that it costs nothing."""
    monkeypatch.setattr("lowerbound.models.Diffusion.most_held_out", 16)


def written_run(folder: Path, config: Config, dataset: Dataset, model: nn.Module) -> Run:
    """A run with a module's weights, as training would have written it."""
    folder.mkdir()
    made = RunFolder(folder)
    made.write_config(config, dataclasses.replace(dataset.spec, fingerprint=dataset.fingerprint()))
    made.model.write_bytes(weights_file(dict(model.named_parameters()), {}))
    return open_run(folder)
