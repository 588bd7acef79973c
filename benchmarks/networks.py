"""A transformer beside the recipe's network at equal processor time: python benchmarks/networks.py --seconds 20

Each network is trained as `train` would in so many seconds of one thread, by the recipe of its data, on the same fitted
mixture or Gaussian where there is one, and judged by the weights that `train` keeps, those of the best held-out figure: bits
per dimension of test examples for each seed, and the mean of the paired differences from the recipe's network, with a
standard error over test examples and seeds. Below zero a transformer wins.
"""

import dataclasses
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from columns import TABLES, changed
from ledger import processor_time

import lowerbound as lb
from lowerbound.data.config import DataConfig
from lowerbound.data.dataset import Dataset
from lowerbound.data.directory import data_directory
from lowerbound.training import Config
from lowerbound.words.rounding import figure_text

CALLS = 16
"""Network calls for the bound of an example."""
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
    return lb.open_dataset(data), data


def bits(config: Config, dataset: Dataset, seed: int, num_examples: int, out: Path) -> tuple[int, np.ndarray]:
    """The steps of a training, and bits per dimension of test examples."""
    training = dataclasses.replace(config.training, seed=seed)
    folder = lb.train(dataclasses.replace(config, training=training), dataset, out, show_progress=False)
    run = lb.open_run(folder.path)
    rows = dataset.some("test", num_examples)
    cond = dataset.cond(rows) if config.data.conditional or dataset.spec.series is not None else None
    scores = lb.score(run, dataset.examples[rows], lb.Effort(CALLS), cond=cond, numbers=rows)
    return max(record["step"] for record in folder.read_log()), scores.bits_per_dim


def main(options: Options) -> None:
    """Print a row for each network."""
    warnings.simplefilter("ignore")
    print("| data | network | steps | bits/dim of each seed | less the recipe's |\n|---|---|---|---|---|", flush=True)
    for name in options.data:
        dataset, data = opened(name)
        minutes = options.seconds / 60
        config, other = lb.recipe(dataset, data, minutes), lb.recipe(dataset, data, minutes, network="transformer")
        networks = {f"{config.network.kind} {config.network.width}": config}
        for sizes in SIZES.get(name, SIZES["table"]):
            of = ", ".join(f"{key} {value}" for key, value in sizes.items())
            networks[f"transformer, {of}"] = changed(other, "network", **sizes)
        ours: np.ndarray | None = None
        for network, its_config in networks.items():
            with TemporaryDirectory() as folder, processor_time():
                runs = [
                    bits(its_config, dataset, seed, options.examples, Path(folder) / str(seed))
                    for seed in range(options.seeds)
                ]
            each = np.stack([values for _, values in runs])
            ours = each if ours is None else ours
            less = (each - ours).mean(0)
            spread = math.hypot(less.std(ddof=1) / len(less) ** 0.5, _of_seeds(each), _of_seeds(ours))
            difference = "" if each is ours else figure_text(less.mean(), spread)
            steps, means = ", ".join(f"{steps:,}" for steps, _ in runs), ", ".join(f"{v:.4f}" for v in each.mean(1))
            print(f"| {name} | {network} | {steps} | {means} | {difference} |", flush=True)


def _of_seeds(each: np.ndarray) -> float:
    """The standard error of a mean over seeds; of one seed it is not known, and left out."""
    means = each.mean(1)
    return means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else 0.0


if __name__ == "__main__":
    main(tyro.cli(Options))
