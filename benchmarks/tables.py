r"""Densities of tables, in nats per row: python benchmarks/tables.py runs/tables --minutes 2 --seeds 3

Each table is split into 80 % for training and 10 % each for validation and testing, anew for each seed, and its columns are
scaled to mean 0 and standard deviation 1 on the training rows, so that nats do not depend on units.

**Rounded values.** A density may be infinite where a value recurs, and what is written down with two decimals, or as an
integer, recurs. So every column is dequantised alike for all methods: the unit in which it is written is the largest power
of ten of which all its values are multiples, and a draw uniform over one such unit, centred at the value, takes its place.
No method gains by being narrower than the unit; of the rounded table the figures are bounds, on the log of the mass over the
unit's volume (Theis, van den Oord & Bethge 2016). A column that is written with more than six decimals stays as it is.

The table of each set: test log-likelihood, its standard error over the test rows (of one seed, averaged), that over seeds,
and whether it is the best, within one standard error (the larger of its two) of the best, or how far behind. The diffusion
network and the forest are bounds, in continuous time; the network has its density along the probability flow as well; the
spline flow, the Gaussian, the mixture and the copula are exact. Network, forest and spline flow train for the same processor
time of one thread, whatever else the machine does; the others take what they take, and choose their settings on the
validation rows.

Each figure is written to figures.jsonl in the folder as soon as it is known; the same command again goes on from there, and
with the run that was being trained. Conditional densities of the same tables: conditionals.py.
"""

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from ledger import Ledger, places, print_table, processor_time

import lowerbound as lb
from lowerbound.baselines import Splits, gaussian, gaussian_copula, gaussian_mixture
from lowerbound.data import DataConfig
from lowerbound.errors import InputError
from lowerbound.files.records import Measured
from lowerbound.training import recipe, train

MOST_DECIMALS = 6
ROWS_AT_ONCE = 1024
"""Of a network that is so small, most of a call with fewer would be overhead."""


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
    parser.add_argument("folder", type=Path, help="for figures and runs")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training, processor time")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="*", default=list(TRAINED), choices=TRAINED, help="those that are trained")
    parser.add_argument("--calls", type=int, default=256, help="of the network for the bound on a test row")
    arguments = parser.parse_args()
    ledger = Ledger(arguments.folder, minutes=arguments.minutes, calls=arguments.calls)
    tables = {name: SETS[name]() for name in arguments.sets}  # a file that is not there is met before any training
    with processor_time():
        for name, table in tables.items():
            units = [recording_unit(column) for column in table.T]
            written = " ".join("-" if unit is None else f"{unit:g}" for unit in units)
            print(f"\n{name}: {len(table):,} rows of {table.shape[1]} columns, written in units of {written}")
            for seed in range(arguments.seeds):
                parts = split(dequantised(table, units, seed), seed)
                densities(ledger, (name, f"seed {seed}"), parts, arguments, seed)
            summary(ledger, name)


def summary(ledger: Ledger, name: str) -> None:
    """Print the figures of a set, and which of them is the best."""
    figures = {kind[0]: figure for kind, figure in ledger.pooled(name).items()}
    seeds = max(figure.num_seeds for figure in figures.values())
    errors = "± over rows" + " ± over seeds" * (seeds > 1)
    columns = (f"nats per row {errors}, {seeds} seed{'s' * (seeds > 1)}", "beside the best")
    found = places(figures)
    ordered = sorted(figures, key=lambda kind: -figures[kind].mean)
    print_table(name, columns, {kind: [str(figures[kind]), found[kind]] for kind in ordered})
    ours = [kind for kind in figures if kind.startswith("diffusion")]
    if ours:
        met = any("behind" not in found[kind] for kind in ours)
        print(
            f"aim, the network best or within one standard error of the best: {'met' if met else 'missed'}", flush=True
        )


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
    ledger: Ledger, names: tuple[str, str], parts: dict[str, np.ndarray], arguments: argparse.Namespace, seed: int
) -> None:
    """Nats per test row, by method."""
    splits, factor = Splits(**parts), -parts["test"].shape[1] * math.log(2)
    for kind, fit in (
        ("Gaussian", gaussian),
        ("Gaussian copula", gaussian_copula),
        ("Gaussian mixture", gaussian_mixture),
    ):
        if ledger.lacks(*names, f"{kind}, exact"):
            baseline = fit(splits, seed) if fit is gaussian_mixture else fit(splits)
            figure = Measured(factor * baseline.bits_per_dim, -factor * baseline.standard_error)
            ledger.add((*names, f"{kind}, exact"), figure)
    for model in arguments.models:
        is_denoiser = model != "flow"
        last = "diffusion, density (ODE)" if model == "diffusion" else f"{model}, {'bound' if is_denoiser else 'exact'}"
        if not ledger.lacks(*names, last):
            continue
        run = trained(parts, arguments.folder / "-".join(names).replace(" ", "-"), model, arguments.minutes, seed)
        if run is None:
            continue
        effort = lb.Effort(arguments.calls) if is_denoiser else lb.Effort()
        bits = lb.score(run, parts["test"], effort, batch_size=ROWS_AT_ONCE).bits_per_dim
        ledger.add((*names, f"{model}, {'bound' if is_denoiser else 'exact'}"), Measured.of(factor * bits))
        if model == "diffusion":
            ledger.add((*names, last), Measured.of(factor * lb.score_density(run, parts["test"]).bits_per_dim))


def trained(
    parts: dict[str, np.ndarray], folder: Path, model: str, minutes: float, seed: int, hidden: float = 0.0
) -> lb.Run | None:
    """The run of a model in a folder of its own, trained as far as it is not yet; None if it can't be trained here."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{model}.npz"
    np.savez(source, **parts)
    dataset, data = lb.open_dataset(str(source)), DataConfig(str(source))
    config = recipe(dataset, data, minutes=minutes, model=model)
    config = replace(config, training=replace(config.training, seed=seed, num_pictures=0, hidden=hidden))
    try:
        train(config, dataset, folder / model, say=lambda line: None, show_progress=False)
    except InputError as error:
        print(f"  {model} is left out: {error}")
        return None
    return lb.open_run(folder / model)


if __name__ == "__main__":
    main()
