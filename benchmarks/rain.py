"""A number that half of the rows have none of, against the truth: python benchmarks/rain.py --minutes 1

Made rows of x, a rain that is likelier and stronger where x is large, and y that depends on both, are learned as a table and
as an array, whose rain has a probability of none and a density of any other, and with --densities, a density throughout. So
are, with --maps, made maps of x, a Gaussian field, and the rain at each place. Bits per value of the test examples beside
what the truth needs of them; shares of values without rain, and below none, among the data and samples. A figure below the
truth's is no better than it: it is of something else.
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
from lowerbound.data.columns import Column
from lowerbound.words.rounding import figure_text

COLUMNS = tuple(Column(name, "real", "double") for name in ("x", "rain", "y"))
SPREAD = 0.4
"""Of the logarithm of rain, given x."""
SHIFT = 0.5
"""How much more y is with rain, and less without."""
NOISE = 0.3
"""Of y, given the other two."""
SIDE = 8
"""Places along each side of a map."""
REACH = 3.0
"""Places from which on x of two of them has a correlation of 1/e."""


@dataclass(frozen=True)
class Options:
    """Learn rows, or maps, with rain."""

    maps: bool = False
    """Maps in the place of rows."""
    minutes: float = 1.0
    """Of one thread, of each training."""
    rows: int = 4000
    """How many are made, or maps."""
    samples: int = 20_000
    """How many values of rain are drawn of each model."""
    seed: int = 0
    """Of the rows and the trainings."""


def made(num_rows: int, seed: int) -> np.ndarray:
    """Rows, (N, 3)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(num_rows)
    rain = _rain(x, rng)
    y = 0.8 * x + np.where(rain > 0, SHIFT, -SHIFT) + NOISE * rng.standard_normal(num_rows)
    return np.stack([x, rain, y], 1)


def truth(rows: np.ndarray) -> np.ndarray:
    """Bits per column of rows, (N,)."""
    x, rain, y = rows.T
    nats = _log_normal(x, 0.0, 1.0) + _log_prob_of_rain(rain, x)
    nats += _log_normal(y, 0.8 * x + np.where(rain > 0, SHIFT, -SHIFT), NOISE)
    return -nats / rows.shape[1] / math.log(2)


def made_maps(num_maps: int, seed: int) -> np.ndarray:
    """Maps, (N, 2, `SIDE`, `SIDE`)."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(_covariance())
    x = (rng.standard_normal((num_maps, SIDE**2)) @ root.T).reshape(-1, SIDE, SIDE)
    return np.stack([x, _rain(x, rng)], 1)


def truth_of_maps(maps: np.ndarray) -> np.ndarray:
    """Bits per value of maps, (N,)."""
    x, rain = maps.reshape(len(maps), 2, -1).swapaxes(0, 1)
    root = np.linalg.cholesky(_covariance())
    z = np.linalg.solve(root, x.T).T
    nats = _log_normal(z, 0.0, 1.0).sum(1) - np.log(np.diag(root)).sum() + _log_prob_of_rain(rain, x).sum(1)
    return -nats / (2 * SIDE**2) / math.log(2)


def _covariance() -> np.ndarray:
    """Of x at the places of a map."""
    places = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2)
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    return np.exp(-distances / REACH)


def _rain(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of each place with an x, none or some."""
    rains = rng.random(x.shape) < _chance(x)
    return np.where(rains, np.exp(0.5 * x + SPREAD * rng.standard_normal(x.shape)), 0.0)


def _log_prob_of_rain(rain: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Log probability of none, log density of some."""
    rains = rain > 0
    log_rain = np.log(np.where(rains, rain, 1.0))
    some = np.log(_chance(x)) + _log_normal(log_rain, 0.5 * x, SPREAD) - log_rain
    return np.where(rains, some, np.log(_chance(-x)))


def _chance(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-2 * x))


def _log_normal(values: np.ndarray, mean: np.ndarray | float, std: float) -> np.ndarray:
    return -0.5 * ((values - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))


def learned(dataset: Dataset, true_bits: np.ndarray, options: Options, out: Path) -> list[str]:
    """A row of the table: bits per value, less the truth's, and shares of samples."""
    config = lb.recipe(dataset, minutes=options.minutes)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, seed=options.seed))
    with processor_time():
        run = lb.open_run(lb.train(config, dataset, out, show_progress=False).path)
    bits = lb.score(run, dataset.examples[dataset.test], lb.Effort(64)).bits_per_dim
    num_samples = math.ceil(options.samples / math.prod(dataset.examples.shape[2:]))
    rain = lb.generate(run, num_samples, batch_size=1000)[:, 1]
    less = figure_text(*lb.mean_and_error(torch.from_numpy(bits - true_bits[dataset.test])))
    of_rows = figure_text(*lb.mean_and_error(torch.from_numpy(bits)))
    return [of_rows, less, f"{(rain == 0).mean():.2%}", f"{(rain < 0).mean():.2%}"]


def main(options: Options) -> None:
    """Print a row for each model, and one for the truth."""
    warnings.simplefilter("ignore")
    if options.maps:
        values = made_maps(options.rows, options.seed)
        true_bits, examples = truth_of_maps(values), Examples("rain", values, "NCHW")
        datasets = {"maps, with a probability of none": examples.dataset()}
    else:
        values = made(options.rows, options.seed)
        true_bits, examples = truth(values), Examples("rain", values, "ND")
        table = dataclasses.replace(examples, columns=COLUMNS)
        datasets = {
            "a table, with a probability of none": table.dataset(),
            "an array, with a probability of none": examples.dataset(),
        }
    datasets["with --densities, one density"] = examples.dataset(densities=True)
    with TemporaryDirectory() as folder:
        models = {
            name: learned(dataset, true_bits, options, Path(folder) / str(number))
            for number, (name, dataset) in enumerate(datasets.items())
        }
    test = figure_text(*lb.mean_and_error(torch.from_numpy(true_bits[next(iter(datasets.values())).test])))
    models["truth"] = [test, "", f"{(values[:, 1] == 0).mean():.2%} of the data", "none"]
    print_table("learned as", ("bits/value", "less the truth's", "without rain", "below none"), models)


if __name__ == "__main__":
    main(tyro.cli(Options))
