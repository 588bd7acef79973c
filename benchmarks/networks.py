"""A transformer beside the recipe's network at equal processor time: python benchmarks/networks.py --seconds 20

Each network is trained by the recipe of its data, on the same fitted mixture or Gaussian where there is one, for as many
steps as fit into so many seconds of one thread, by the time that its steps take here beforehand. Held-out bits per dimension
of each seed's averaged weights at the end; beside them the mean of the paired differences from the recipe's network, with a
standard error over test examples and seeds: below zero a transformer wins.
"""

import dataclasses
import math
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from columns import TABLES, changed, trained

from lowerbound import Effort, Stream, open_dataset, recipe
from lowerbound.data.config import DataConfig
from lowerbound.data.dataset import Dataset
from lowerbound.data.directory import data_directory
from lowerbound.training import Config
from lowerbound.training.build import build_model
from lowerbound.training.trainer import Trainer
from lowerbound.words.rounding import figure_text

CALLS = 16
"""Network calls for the bound of an example."""
PROBED = 12
"""Steps by which a step is timed, the first two for nothing."""
SIZES: dict[str, tuple[dict[str, int], ...]] = {
    "table": ({"width": 32, "depth": 2}, {"width": 64, "depth": 3}),
    "digits": ({"width": 64, "depth": 4, "patch": 2}, {"width": 64, "depth": 3, "patch": 1}),
    "mnist": ({"width": 64, "depth": 4, "patch": 2}, {"width": 128, "depth": 4, "patch": 4}),
    "etth1": ({"width": 64, "depth": 3, "patch": 8}, {"width": 96, "depth": 4, "patch": 4}),
}
"""Of the transformers."""


@dataclass(frozen=True)
class Options:
    """Compare networks."""

    seconds: float = 20.0
    """Of one thread, of each training."""
    seeds: int = 2
    """How many runs of each."""
    data: tuple[str, ...] = ("wine", "wine-quality", "mixed", "digits", "etth1")
    """Which data: tables of columns.py, digits, or the windows of series.py."""
    examples: int = 500
    """The most test examples."""


def opened(name: str) -> tuple[Dataset, DataConfig]:
    """The data, and how they are opened."""
    if name in TABLES:
        table, _ = TABLES[name](4000)
        dataset = table if isinstance(table, Dataset) else table.dataset()
        return dataset, DataConfig(name)
    data = DataConfig(name)
    if name == "etth1":
        path = str(data_directory() / "etth1.csv")
        data = DataConfig(path, window=96, horizon=24, split_steps=(8640, 2880, 2880), covariates=("hour", "weekday"))
    return open_dataset(data), data


def steps_in(config: Config, dataset: Dataset, seconds: float) -> int:
    """How many steps take so many seconds of one thread."""
    training = dataclasses.replace(config.training, minutes=None, steps=PROBED)
    trainer = Trainer(dataclasses.replace(config, training=training), dataset)
    times = [time.process_time() for _ in trainer.records()]
    return max(1, round(seconds * (len(times) - 3) / (times[-1] - times[2])))


def bits(trainer: Trainer, dataset: Dataset, num_examples: int) -> np.ndarray:
    """Of test examples, per dimension."""
    indices = dataset.some("test", num_examples)
    x, cond = dataset.encoded(indices), dataset.cond(indices) if trainer.config.data.conditional else None
    if dataset.spec.series is not None:
        cond = dataset.cond(indices)
    with torch.no_grad():
        bound = trainer.model.given(cond, dataset.spec.observed(x)).elbo(x, Stream(1), Effort(CALLS))
    nats = bound.nats.double() + dataset.spec.encoding.log_det(x)
    return (-nats / bound.num_dims / math.log(2)).numpy()


def main(options: Options) -> None:
    """Print a row for each network."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("| data | network | steps | bits/dim of each seed | less the recipe's |\n|---|---|---|---|---|", flush=True)
    for name in options.data:
        dataset, data = opened(name)
        config, other = recipe(dataset, data), recipe(dataset, data, network="transformer")
        kind = f"{config.network.kind} {config.network.width}"
        networks = {kind: config}
        for sizes in SIZES.get(name, SIZES["table"]):
            of = ", ".join(f"{key} {value}" for key, value in sizes.items())
            networks[f"transformer, {of}"] = changed(other, "network", **sizes)
        ours: np.ndarray | None = None
        for network, changed_config in networks.items():
            steps = steps_in(changed_config, dataset, options.seconds)
            runs = (trained(changed_config, dataset, steps, seed, build_model) for seed in range(options.seeds))
            each = np.stack([bits(run, dataset, options.examples) for run in runs])
            ours = each if ours is None else ours
            less = (each - ours).mean(0)
            spread = math.hypot(less.std(ddof=1) / len(less) ** 0.5, _of_seeds(each), _of_seeds(ours))
            difference = "" if each is ours else figure_text(less.mean(), spread)
            means = ", ".join(f"{value:.4f}" for value in each.mean(1))
            print(f"| {name} | {network} | {steps} | {means} | {difference} |", flush=True)


def _of_seeds(each: np.ndarray) -> float:
    """The standard error of a mean over seeds; of one seed it is not known, and left out."""
    means = each.mean(1)
    return means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else 0.0


if __name__ == "__main__":
    main(tyro.cli(Options))
