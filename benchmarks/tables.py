r"""Densities of tables, in nats per row: python benchmarks/tables.py --minutes 2 --seeds 3 --sets power-plant wine

Each table is split into 80 % for training and 10 % each for validation and testing, anew for each seed, and its columns are
scaled to mean 0 and standard deviation 1 on the training rows, so that nats do not depend on units.

**Rounded values.** A density may be infinite where a value recurs, and what is written down with two decimals, or as an
integer, recurs. So every column is dequantised alike for all methods: the unit in which it is written is the largest power
of ten of which all its values are multiples, and a draw uniform over one such unit, centred at the value, takes its place.
No method gains by being narrower than the unit; of the rounded table the figures are bounds, on the log of the mass over the
unit's volume (Theis, van den Oord & Bethge 2016). A column that is written with more than six decimals stays as it is.

Rows of the table: test log-likelihood, its standard error over the test rows (of one seed, averaged), and the standard error
over seeds. The diffusion network and the forest are bounds, in continuous time; the network has its density along the
probability flow as well; the spline flow, the Gaussian, the mixture and the copula are exact. Network, forest and spline
flow train for the same time on this machine; the others take what they take, and choose their settings on the validation
rows.

With --conditionals, log p(missing | observed) at 10, 30 and 50 % missing entries of test rows, in nats per missing entry: of
network and forest, trained on rows of which all shares of entries are missing, the bound on the row less the bound on what
is observed of it (a difference of two bounds, and itself none); of the mixture exact.
"""

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import lowerbound as lb
from lowerbound.baselines import Splits, best_mixture, gaussian, gaussian_copula, gaussian_mixture
from lowerbound.data import DataConfig
from lowerbound.errors import InputError
from lowerbound.records import Measured
from lowerbound.training import recipe, train

MOST_DECIMALS = 6
SHARES = (0.1, 0.3, 0.5)
COPIES = 4
"""Of each training row, with other entries missing, where conditionals are asked for."""


def from_file(name: str, columns: slice = slice(None), **settings: object) -> Callable[[], np.ndarray]:
    """A reader of a text file in the folder of data."""

    def read() -> np.ndarray:
        folder = os.environ.get("LOWERBOUND_DATA")
        if not folder or not (Path(folder) / name).is_file():
            raise SystemExit(
                f"{name} is not there: set LOWERBOUND_DATA to a folder that has it, or leave it out of --sets"
            )
        return np.loadtxt(Path(folder) / name, **settings)[:, columns]

    return read


def bundled(name: str) -> Callable[[], np.ndarray]:
    """A reader of a set that scikit-learn brings."""

    def read() -> np.ndarray:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")().data

    return read


SETS = {
    "power-plant": from_file("uci-power-plant.txt"),
    "concrete": from_file("uci-concrete.txt"),
    "wine": from_file("uci-wine-quality-red.txt"),
    "sklearn-wine": bundled("wine"),
    "breast-cancer": bundled("breast_cancer"),
}
TRAINED = ("diffusion", "forest", "flow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="*", default=list(TRAINED), choices=TRAINED, help="those that are trained")
    parser.add_argument("--calls", type=int, default=256, help="of the network for the bound on a test row")
    parser.add_argument("--conditionals", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.sets:
        table = SETS[name]()
        units = [recording_unit(column) for column in table.T]
        written = " ".join("-" if unit is None else f"{unit:g}" for unit in units)
        print(f"\n{name}: {len(table):,} rows of {table.shape[1]} columns, written in units of {written}")
        found: dict[str, list[Measured]] = {}
        for seed in range(arguments.seeds):
            parts = split(dequantised(table, units, seed), seed)
            with tempfile.TemporaryDirectory() as folder:
                measure = conditionals if arguments.conditionals else densities
                for method, nats in measure(parts, Path(folder), arguments, seed):
                    print(f"  seed {seed}: {method:<44} {nats}", flush=True)
                    found.setdefault(method, []).append(nats)
        print(f"{'':46} {'nats':>9} {'over rows':>10} {'over seeds':>11}")
        for method, figures in found.items():
            means, errors = np.array(figures).T
            over_seeds = f"{means.std(ddof=1) / len(means) ** 0.5:.4f}" if len(means) > 1 else "-"
            print(f"{method:46} {means.mean():>9.4f} {errors.mean():>10.4f} {over_seeds:>11}", flush=True)


def recording_unit(column: np.ndarray) -> float | None:
    """The largest power of ten of which all values are multiples; None of more than `MOST_DECIMALS` decimals."""
    for decimals in range(MOST_DECIMALS + 1):
        scaled = column * 10.0**decimals
        if np.abs(scaled - np.round(scaled)).max() < 1e-6 * max(1.0, np.abs(scaled).max()):
            return 10.0**-decimals
    return None


def dequantised(table: np.ndarray, units: list[float | None], seed: int) -> np.ndarray:
    """Each value with a draw uniform over one unit around it."""
    widths = np.array([unit or 0.0 for unit in units])
    return table + widths * (np.random.default_rng(seed).random(table.shape) - 0.5)


def split(table: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The three splits, scaled by the training rows."""
    rows = table[np.random.default_rng(1000 + seed).permutation(len(table))]
    tenth = len(rows) // 10
    train_rows = rows[2 * tenth :]
    rows = (rows - train_rows.mean(0)) / train_rows.std(0)
    return {"train": rows[2 * tenth :], "validation": rows[tenth : 2 * tenth], "test": rows[:tenth]}


def densities(
    parts: dict[str, np.ndarray], folder: Path, arguments: argparse.Namespace, seed: int
) -> Iterator[tuple[str, Measured]]:
    """Nats per test row, by method."""
    splits, factor = Splits(**parts), -parts["test"].shape[1] * math.log(2)
    for baseline in (gaussian(splits), gaussian_copula(splits), gaussian_mixture(splits, seed)):
        kind = baseline.name.partition(" (")[0]
        yield f"{kind}, exact", Measured(factor * baseline.bits_per_dim, -factor * baseline.standard_error)
    for model, run in trained(parts, folder, arguments, seed):
        effort = lb.Effort(arguments.calls) if run.is_denoiser else lb.Effort()
        kind = "bound" if run.is_denoiser else "exact"
        yield f"{model}, {kind}", Measured.of(factor * lb.score(run, parts["test"], effort).bits_per_dim)
        if model == "diffusion":
            yield "diffusion, density (ODE)", Measured.of(factor * lb.score_density(run, parts["test"]).bits_per_dim)


def conditionals(
    parts: dict[str, np.ndarray], folder: Path, arguments: argparse.Namespace, seed: int
) -> Iterator[tuple[str, Measured]]:
    """Nats per missing entry of test rows, given what is observed of it, by method and share."""
    rng = np.random.default_rng(seed)
    test, num_dims = parts["test"], parts["test"].shape[1]
    fitted = best_mixture(parts["train"], parts["validation"], seed)
    mixture = lb.GaussianMixture(
        *(torch.from_numpy(each) for each in (fitted.weights_, fitted.means_, fitted.covariances_)), lb.LinearGamma()
    )
    models = [model for model in arguments.models if model != "flow"]
    gaps = {name: with_gaps(np.repeat(parts[name], COPIES, 0), None, rng) for name in ("train", "validation")}
    runs = list(
        trained({**gaps, "test": test}, folder, argparse.Namespace(**{**vars(arguments), "models": models}), seed)
    )
    x = torch.from_numpy(test)
    for share in SHARES:
        seen = with_gaps(test, share, rng)
        observed = ~np.isnan(seen)
        missing = (~observed).sum(1)
        marginal = mixture.log_marginal(x, lb.schedule.CLEAN, torch.from_numpy(observed))
        yield f"mixture, exact, {share:.0%} missing", Measured.of((mixture.log_prob(x) - marginal).numpy() / missing)
        for model, run in runs:
            # the same times and noise in both
            whole, part = (lb.score(run, rows, lb.Effort(arguments.calls)).bits_per_dim for rows in (test, seen))
            difference = math.log(2) * (part * observed.sum(1) - whole * num_dims)
            yield f"{model}, difference of bounds, {share:.0%} missing", Measured.of(difference / missing)


def with_gaps(rows: np.ndarray, share: float | None, rng: np.random.Generator) -> np.ndarray:
    """Rows with a share of their entries missing (NaN), one at least and never all; None: a share of its own for each."""
    num_dims = rows.shape[1]
    shares = rng.random(len(rows)) if share is None else np.full(len(rows), share)
    fewest = 0 if share is None else 1
    counts = np.clip(np.round(shares * num_dims), fewest, num_dims - 1)
    order = rng.random(rows.shape).argsort(1).argsort(1)
    return np.where(order < counts[:, None], np.nan, rows)


def trained(parts: dict[str, np.ndarray], folder: Path, arguments: argparse.Namespace, seed: int):
    """The name of each model that could be trained, and its run."""
    source = folder / "table.npz"
    np.savez(source, **parts)
    dataset, data = lb.open_dataset(str(source)), DataConfig(str(source))
    for model in arguments.models:
        config = recipe(dataset, data, minutes=arguments.minutes, model=model)
        config = replace(config, training=replace(config.training, seed=seed, num_pictures=0))
        try:
            train(config, dataset, folder / model, say=lambda line: None, show_progress=False)
        except InputError as error:
            print(f"  {model} is left out: {error}")
            continue
        yield model, lb.open_run(folder / model)


if __name__ == "__main__":
    main()
