"""Small runs for tests."""

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

from lowerbound.data import Dataset, open_dataset
from lowerbound.training import Config, recipe, train
from lowerbound.training.config import DataConfig, NetworkConfig
from lowerbound.training.folder import RunFolder
from lowerbound.training.trainer import Trainer


def tiny_config(source: str = "digits", **training: object) -> tuple[Config, Dataset]:
    """A configuration whose steps take milliseconds, and its data."""
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(source))
    settings = {
        "minutes": None,
        "steps": 12,
        "batch_size": 8,
        "warmup_steps": 3,
        "num_evaluations": 3,
        "num_pictures": 1,
    }
    network = NetworkConfig(kind=config.network.kind, width=8, multipliers=(1, 2), blocks_per_level=1, depth=1)
    return (
        dataclasses.replace(
            config, network=network, training=dataclasses.replace(config.training, **{**settings, **training})
        ),
        dataset,
    )


def tiny_run(out: Path, source: str = "digits", **training: object) -> RunFolder:
    """A complete tiny run."""
    config, dataset = tiny_config(source, **training)
    return train(config, dataset, out, say=lambda line: None, show_progress=False)


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


def measure_little(monkeypatch) -> None:
    """From now on runs measure so little along the way that it costs nothing."""
    monkeypatch.setattr("lowerbound.models.Diffusion.most_held_out", 16)
