"""Choices for tables of mixed columns, measured: the same data, steps and seeds, one choice changed at a time.

    python benchmarks/columns.py                     # all variants on two made tables and scikit-learn's wine
    python benchmarks/columns.py --steps 1000 --data mixed

The categories of `masked` are no part of the Gaussian diffusion but a discrete one of their own, which hides them.
Bits per column of the held-out rows, with the standard error over rows, and for the made tables what the truth needs. The
network is smaller than the recipe's unless `--width` and `--depth` say otherwise. The data `mixed-levels` are `mixed` with
the flag as an entry of two levels in the place of a block of two categories.
"""

import dataclasses
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import tyro
from torch import Tensor

from lowerbound import Effort, Elbo, Model, Noise, Stream
from lowerbound.baselines import independent_columns
from lowerbound.blocks import layout
from lowerbound.data import DataSpec, open_dataset
from lowerbound.data.columns import Column
from lowerbound.data.config import DataConfig
from lowerbound.data.dataset import Dataset, Examples
from lowerbound.likelihood import prior_kl
from lowerbound.mixed import BlockDecoder, BlockDenoiser
from lowerbound.models import Draw, Losses
from lowerbound.training import Config, recipe
from lowerbound.training.build import build_model, build_network, build_schedule
from lowerbound.training.trainer import Trainer

CALLS = 64
"""Network calls for the bound of a row."""


@dataclass(frozen=True)
class Options:
    """Compare choices for tables."""

    steps: int = 1000
    """Of AdamW, at the recipe's batch."""
    rows: int = 4000
    """Of made tables."""
    width: int = 64
    """Of the network."""
    depth: int = 2
    """Of the network."""
    batch: int = 256
    """Rows of a step."""
    data: tuple[str, ...] = ("mixed", "mixed-levels", "choices", "wine")
    """Which tables."""
    variants: tuple[str, ...] = ()
    """Which choices; all if not given."""
    seeds: int = 1
    """How many runs of each."""


def mixed(num_rows: int) -> tuple[Examples, float]:
    """A category, two numbers and a flag that hang on it, and a count; and the bits per column that the truth needs."""
    rng = np.random.default_rng(0)
    weights, means = np.array([0.5, 0.25, 0.15, 0.1]), np.array([-1.0, 0.0, 1.0, 3.0])
    city = rng.choice(4, num_rows, p=weights)
    x = means[city] + 0.5 * rng.standard_normal(num_rows)
    y = x**2 / 2 + 0.3 * rng.standard_normal(num_rows)
    likely = 1 / (1 + np.exp(-3 * x))
    flag = rng.random(num_rows) < likely
    rate = 1 + 2 * flag
    count = rng.poisson(rate)
    nats = -np.log(weights[city]) + 0.5 * (((x - means[city]) / 0.5) ** 2 + ((y - x**2 / 2) / 0.3) ** 2)
    nats += math.log(2 * math.pi * 0.5 * 0.3) - np.log(np.where(flag, likely, 1 - likely))
    nats += rate - count * np.log(rate) + np.array([math.lgamma(k + 1) for k in count])
    columns = (
        Column("city", "categorical", "string", ("a", "b", "c", "d")),
        Column("x", "real", "double"),
        Column("y", "real", "double"),
        Column("flag", "boolean", "bool", ("False", "True")),
        Column("count", "integer", "int64"),
    )
    values = np.stack([city, x, y, flag, count], 1).astype(np.float64)
    return Examples("mixed", values, "ND", columns=columns), nats.mean() / 5 / math.log(2)


def mixed_levels(num_rows: int) -> tuple[Examples, float]:
    """The same rows, the flag an integer."""
    examples, truth = mixed(num_rows)
    columns = tuple(Column(c.name, "integer", "int64") if c.kind == "boolean" else c for c in examples.columns)
    return dataclasses.replace(examples, columns=columns), truth


def choices(num_rows: int) -> tuple[Examples, float]:
    """Six columns of five categories, each the one before it with probability 0.7, and a number that hangs on the last."""
    rng = np.random.default_rng(0)
    columns, nats = [rng.integers(0, 5, num_rows)], np.full(num_rows, math.log(5))
    for _ in range(5):
        stays = rng.random(num_rows) < 0.7
        columns.append(np.where(stays, columns[-1], rng.integers(0, 5, num_rows)))
        nats -= np.log(0.7 * (columns[-1] == columns[-2]) + 0.06)
    x = columns[-1] + 0.3 * rng.standard_normal(num_rows)
    nats += 0.5 * ((x - columns[-1]) / 0.3) ** 2 + math.log(0.3 * math.sqrt(2 * math.pi))
    names = tuple("abcde")
    described = [Column(f"c{k}", "categorical", "string", names) for k in range(6)]
    values = np.stack([*columns, x], 1).astype(np.float64)
    table = Examples("choices", values, "ND", columns=(*described, Column("x", "real", "double")))
    return table, nats.mean() / 7 / math.log(2)


def wine(num_rows: int) -> tuple[Examples, float]:
    """Scikit-learn's wine: 178 rows of 13 numbers and a class of three."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    names = [*bunch.feature_names, "class"]
    columns = [Column(name, "real", "double") for name in names[:-1]]
    columns.append(Column("class", "categorical", "string", tuple(map(str, bunch.target_names))))
    values = np.concatenate([bunch.data, bunch.target[:, None]], 1).astype(np.float64)
    order = np.random.default_rng(0).permutation(len(values))
    splits = {"train": order[:118], "validation": order[118:138], "test": order[138:]}
    return Examples("wine", values, "ND", splits, columns=tuple(columns)), math.nan


def from_file(name: str) -> Callable[[int], tuple[Dataset, float]]:
    """A table in the folder of data, read as people read it: each column by what it was recorded to."""

    def read(num_rows: int) -> tuple[Dataset, float]:
        folder = os.environ.get("LOWERBOUND_DATA")
        if not folder or not (Path(folder) / name).is_file():
            raise SystemExit(
                f"{name} is not there: set LOWERBOUND_DATA to a folder that has it, or leave out its --data"
            )
        return open_dataset(str(Path(folder) / name)), math.nan

    return read


TABLES: dict[str, Callable[[int], tuple[Examples | Dataset, float]]] = {
    "mixed": mixed,
    "mixed-levels": mixed_levels,
    "choices": choices,
    "wine": wine,
    "power-plant": from_file("uci-power-plant.txt"),
    "wine-quality": from_file("uci-wine-quality-red.txt"),
    "concrete": from_file("uci-concrete.txt"),
}


def changed(config: Config, section: str, **settings: object) -> Config:
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **settings)})


VARIANTS: dict[str, Callable[[Config], Config]] = {
    "recipe": lambda config: config,
    "no mixture": lambda config: changed(config, "denoiser", components=0),
    "masked": lambda config: config,
    "target eps": lambda config: changed(config, "denoiser", target="eps"),
    "target v": lambda config: changed(config, "denoiser", target="v", components=0),
    "learned gamma": lambda config: changed(config, "schedule", name="learned"),
    "gamma_max 5": lambda config: changed(config, "schedule", gamma_max=5.0),
    "rate 3e-4": lambda config: changed(config, "training", learning_rate=3e-4),
    "rate 2e-3": lambda config: changed(config, "training", learning_rate=2e-3),
}


class Masked(Model):
    r"""Categories by masking, beside the Gaussian diffusion of all other entries, at the same time t.

    Each choice is hidden with probability t; the bound's term for it is $\int_0^1 \frac1t E \sum -\log p(k | x_t) dt$ over
    those that are hidden (Sahoo et al. 2024, equation 10, with $\alpha_t = 1 - t$).
    """

    name = "masked"

    def __init__(self, config: Config, spec: DataSpec):
        super().__init__(spec.shape, None)
        assert spec.blocks is not None
        network = build_network(config.network, spec, outputs_per_entry=2)
        self.schedule = build_schedule(config.schedule)
        self.denoiser = BlockDenoiser(network, self.schedule, spec.blocks)
        self.decoder = BlockDecoder(spec.blocks)
        self.at = layout(spec.blocks, torch.device("cpu"))
        self.is_choice = torch.zeros(spec.shape, dtype=torch.bool)
        self.is_choice[self.at.choices[~self.at.beyond]] = True

    def integrand(self, x: Tensor, t: Tensor, noise: Noise) -> Tensor:
        at, level, slope = self.at, self.schedule.level(t), self.schedule.slope(t)
        eps, ratio = noise.normal(x), torch.exp(level.gamma / 2)[:, None]
        x_t = level.alpha[:, None] * x + level.sigma[:, None] * eps
        hidden = noise.uniform(x)[:, at.choices[:, 0]] < t[:, None]
        shown = torch.zeros_like(x).index_add(
            1, at.choices[~at.beyond], (x[:, at.choices] * ~hidden[..., None])[:, ~at.beyond]
        )
        said, spread = self.denoiser.network(torch.where(self.is_choice, shown, x_t), level.gamma, None).chunk(2, 1)
        x_hat = x_t / level.alpha[:, None] - ratio * said
        if len(at.grids):
            of_grids = self.denoiser._on_grids(x_hat[:, at.grids], spread[:, at.grids], ratio)
            x_hat = x_hat.index_copy(1, at.grids, of_grids)
        errors = ((x - x_hat) / ratio).square().masked_fill(self.is_choice, 0).sum(1)
        log_p = said[:, at.choices].masked_fill(at.beyond, -torch.inf).log_softmax(2)
        chosen = x[:, at.choices].masked_fill(at.beyond, -torch.inf).argmax(2, keepdim=True)
        surprise = -(log_p.gather(2, chosen)[..., 0] * hidden).sum(1)
        return 0.5 * slope * errors + surprise / t

    def loss(self, x: Tensor, draw: Draw) -> Losses:
        assert draw.place is not None
        return Losses.whole(self.integrand(x, draw.place.to(x).clamp(min=1e-5), draw.noise))

    def bound(self, x: Tensor, noise: Noise) -> Elbo:
        draws, low, high = [], self.schedule.level(0.0), self.schedule.level(1.0)
        for part in range(CALLS):
            t = (part + noise.uniform(x)[:, 0]) / CALLS
            draws.append(self.integrand(x, t.clamp(min=1e-5), noise))
        exact = self.decoder.estimate(x, low.alpha * x, low).masked_fill(self.is_choice, 0).sum(1)
        prior = prior_kl(x, high).masked_fill(self.is_choice, 0).sum(1)
        return Elbo(exact, prior, torch.stack(draws).mean(0), self.decoder.count_dims(x, None))

    def draw(self, num_samples: int, noise: Noise) -> Tensor:
        raise NotImplementedError("it is here to be measured")


def trained(config: Config, dataset: Dataset, steps: int, seed: int, build: Callable[..., Model]) -> Trainer:
    """After so many steps, with the averaged weights."""
    training = dataclasses.replace(config.training, minutes=None, steps=steps, seed=seed)
    with mock.patch("lowerbound.training.trainer.build_model", build):
        trainer = Trainer(dataclasses.replace(config, training=training), dataset)
    trainer.fit_below()
    for _ in trainer.records():
        pass
    assert trainer.average is not None
    trainer.average.swap()
    trainer.model.eval()
    return trainer


def bits(trainer: Trainer, dataset: Dataset) -> np.ndarray:
    """Of each test row, per column."""
    x = dataset.encoded(dataset.test)
    with torch.no_grad():
        effort = Effort(1 if isinstance(trainer.model, Masked) else CALLS)
        bound = trainer.model.given(observed=dataset.spec.observed(x)).elbo(x, Stream(1), effort)
    nats = bound.nats.double() + dataset.spec.encoding.log_det(x)
    return (-nats / bound.num_dims / math.log(2)).numpy()


def main(options: Options) -> None:
    """Print a table for each data set."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in options.data:
        table, truth = TABLES[name](options.rows)
        dataset = table if isinstance(table, Dataset) else table.dataset()
        simplest = independent_columns(dataset, dataset.train, dataset.test)
        print(f"\n{name}: truth {truth:.4f}, {simplest.name} {simplest.bits_per_dim:.4f} bits per column")
        for variant, change in VARIANTS.items():
            if options.variants and variant not in options.variants:
                continue
            config = changed(recipe(dataset, DataConfig(name)), "network", width=options.width, depth=options.depth)
            config = change(changed(config, "training", batch_size=min(options.batch, len(dataset.train))))
            build = Masked if variant == "masked" else build_model
            runs = (trained(config, dataset, options.steps, seed, build) for seed in range(options.seeds))
            each = [bits(run, dataset) for run in runs]
            means = np.array([values.mean() for values in each])
            error = each[0].std(ddof=1) / len(each[0]) ** 0.5
            print(f"{variant:20s} {means.mean():.4f} ± {error:.4f} over rows, seeds {np.round(means, 4)}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
