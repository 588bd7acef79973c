"""A number that half of the rows have none of, against the truth: python benchmarks/rain.py --minutes 1

Made rows of x, a rain that is likelier and stronger where x is large, and y that depends on both, are learned as a table,
whose rain has a probability of none and a density of any other, and as an array, whose numbers have densities throughout.
Bits per column of the test rows beside what the truth needs of them; shares of rows without rain, and below none, among the
data and samples. A figure below the truth's is no better than it: it is of something else.
"""

import dataclasses
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from ledger import print_table, processor_time

import lowerbound as lb
from lowerbound.data import Dataset, Examples
from lowerbound.data.tables.columns import Column
from lowerbound.words.rounding import figure_text

COLUMNS = tuple(Column(name, "real", "double") for name in ("x", "rain", "y"))
SPREAD = 0.4
"""Of the logarithm of rain, given x."""
SHIFT = 0.5
"""How much more y is with rain, and less without."""
NOISE = 0.3
"""Of y, given the other two."""


@dataclass(frozen=True)
class Options:
    """Learn rows with rain."""

    minutes: float = 1.0
    """Of one thread, of each training."""
    rows: int = 4000
    """How many are made."""
    samples: int = 20_000
    """How many are drawn of each model."""
    seed: int = 0
    """Of the rows and the trainings."""


def made(num_rows: int, seed: int) -> np.ndarray:
    """Rows, (N, 3)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(num_rows)
    rains = rng.random(num_rows) < _chance(x)
    rain = np.where(rains, np.exp(0.5 * x + SPREAD * rng.standard_normal(num_rows)), 0.0)
    y = 0.8 * x + np.where(rains, SHIFT, -SHIFT) + NOISE * rng.standard_normal(num_rows)
    return np.stack([x, rain, y], 1)


def truth(rows: np.ndarray) -> np.ndarray:
    """Bits per column of rows, (N,)."""
    x, rain, y = rows.T
    rains = rain > 0
    log_rain = np.log(np.where(rains, rain, 1.0))
    strong = np.log(_chance(x)) + _log_normal(log_rain, 0.5 * x, SPREAD) - log_rain
    nats = _log_normal(x, 0.0, 1.0) + np.where(rains, strong, np.log(_chance(-x)))
    nats += _log_normal(y, 0.8 * x + np.where(rains, SHIFT, -SHIFT), NOISE)
    return -nats / rows.shape[1] / math.log(2)


def _chance(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-2 * x))


def _log_normal(values: np.ndarray, mean: np.ndarray | float, std: float) -> np.ndarray:
    return -0.5 * ((values - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))


def learned(dataset: Dataset, options: Options, out: Path) -> list[str]:
    """A row of the table: bits per column, less the truth's, and shares of samples."""
    config = lb.recipe(dataset, minutes=options.minutes)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, seed=options.seed))
    with processor_time():
        run = lb.open_run(lb.train(config, dataset, out, show_progress=False).path)
    rows = dataset.examples[dataset.test]
    bits = lb.score(run, rows, lb.Effort(64)).bits_per_dim
    rain = lb.generate(run, options.samples, batch_size=1000)[:, 1]
    less = figure_text(*lb.mean_and_error(torch.from_numpy(bits - truth(rows))))
    of_rows = figure_text(*lb.mean_and_error(torch.from_numpy(bits)))
    return [of_rows, less, f"{(rain == 0).mean():.2%}", f"{(rain < 0).mean():.2%}"]


def main(options: Options) -> None:
    """Print a row for each model, and one for the truth."""
    warnings.simplefilter("ignore")
    rows = made(options.rows, options.seed)
    table = Examples("rain", rows, "ND", columns=COLUMNS).dataset()
    array = Examples("rain", rows, "ND").dataset()
    with TemporaryDirectory() as folder:
        models = {
            "a table, with a probability of none": learned(table, options, Path(folder) / "table"),
            "an array, one density": learned(array, options, Path(folder) / "array"),
        }
    test = figure_text(*lb.mean_and_error(torch.from_numpy(truth(rows[table.test]))))
    models["truth"] = [test, "", f"{(rows[:, 1] == 0).mean():.2%} of the data", "none"]
    print_table("learned as", ("bits/column", "less the truth's", "without rain", "below none"), models)


if __name__ == "__main__":
    main(tyro.cli(Options))
