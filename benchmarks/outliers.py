"""Planted outliers, and which column made them so: python benchmarks/outliers.py runs/outliers --minutes 2 --seeds 3

In half of the test rows one column, drawn at random, is planted: "swapped" takes its value from another test row, so that
it is usual in itself and only beside the others is not; "moved" adds three standard deviations of either sign. The area
under the curve (AUC) is of -log p(x) as a score of planted rows against untouched ones, beside a Gaussian, a kernel density
and an isolation forest fitted to the same rows. "Named" is the share of planted rows whose planted column comes first: by
what each column adds to the bound, less the mean of that over training rows; of the Gaussian by each column's residual given
the others, in its standard deviations; and by each column's distance from its mean alone.

Errors are over rows (of an AUC DeLong's) and over seeds, each of which splits the rows, plants and trains anew. Minutes are
a processor's. Each figure is written to figures.jsonl in the folder as soon as it is known, and the same command again goes
on from there, and with the run that was being trained.
"""

import argparse
from pathlib import Path

import numpy as np
from ledger import DONE, Ledger, places, print_table, processor_time
from scipy.stats import multivariate_normal
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import KernelDensity

from lowerbound import DiffusionDensity
from lowerbound.data.directory import data_directory
from lowerbound.evaluate.copies import Ranks
from lowerbound.files.records import Measured

SETS = {"wine": ("uci-wine-quality-red.txt", 11), "power-plant": ("uci-power-plant.txt", 5)}
"""File, and the columns that are taken from its beginning."""
KINDS = ("swapped", "moved")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for figures and runs")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training, processor time")
    parser.add_argument("--steps", type=int, help="in the place of minutes")
    parser.add_argument("--num-rows", type=int, default=400, help="of the test set, half of them planted")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    arguments = parser.parse_args()
    settings = {name: getattr(arguments, name) for name in ("minutes", "steps", "num_rows")}
    ledger = Ledger(arguments.folder, **settings)
    for name in arguments.sets:  # a file that is not there is met before any training
        read(name)
    with processor_time():
        for name in arguments.sets:
            for seed in range(arguments.seeds):
                measure(ledger, name, seed, arguments)
            for kind in KINDS:
                summary(ledger, f"{name}, {kind}")


def measure(ledger: Ledger, name: str, seed: int, arguments: argparse.Namespace) -> None:
    """All figures of a set and a seed that are not there yet."""
    lacking = [kind for kind in KINDS if ledger.lacks(f"{name}, {kind}", f"seed {seed}", DONE)]
    if not lacking:
        return
    rows = read(name)
    order = np.random.default_rng(seed).permutation(len(rows))
    test, train = rows[order[: arguments.num_rows]], rows[order[arguments.num_rows :]]
    scale = train.std(0)
    test, train = test / scale, train / scale
    path = arguments.folder / f"{name}-seed-{seed}"
    model = DiffusionDensity(arguments.minutes, arguments.steps, random_state=seed, path=path).fit(train)
    for kind in lacking:
        head = (f"{name}, {kind}", f"seed {seed}")
        planted = plant(test, kind, np.random.default_rng((seed, KINDS.index(kind))))
        for method, figures in compare(model, train, *planted).items():
            for what, figure in figures.items():
                ledger.add((*head, method, what), figure)
        ledger.add((*head, DONE), Measured(1.0, 0.0))


def compare(
    model: DiffusionDensity, train: np.ndarray, rows: np.ndarray, planted: np.ndarray
) -> dict[str, dict[str, Measured]]:
    """Both figures of each method; planted is the column of each row, -1 of untouched ones."""
    mean, covariance = train.mean(0), np.cov(train.T) + 1e-6 * np.eye(train.shape[1])
    precision = np.linalg.inv(covariance)
    usual = model.score_samples(train[:500], by="column").mean(0)
    by_column = model.score_samples(rows, by="column")
    residuals = np.abs((rows - mean) @ precision) / np.sqrt(np.diag(precision))
    candidates = {
        "network": (-by_column.sum(1), usual - by_column),
        "Gaussian": (-multivariate_normal(mean, covariance).logpdf(rows), residuals),
        "kernel density": (-KernelDensity(bandwidth="scott").fit(train).score_samples(rows), None),
        "isolation forest": (-IsolationForest(random_state=0).fit(train).score_samples(rows), None),
        "each column alone": (np.abs(rows - mean).max(1), np.abs(rows - mean)),
    }
    found = {}
    for name, (scores, by_column) in candidates.items():
        ranks = Ranks.of(scores[planted < 0], scores[planted >= 0])
        found[name] = {"AUC": Measured(ranks.auc, ranks.error)}
        if by_column is not None:
            found[name]["named"] = Measured.of((by_column.argmax(1) == planted)[planted >= 0])
    return found


def summary(ledger: Ledger, title: str) -> None:
    """Print a table of a set and a way to plant."""
    figures = ledger.pooled(title)
    columns, rows = [], {method: [] for method, _ in figures}
    for what in ("AUC", "named"):
        each = {method: figure for (method, measure), figure in figures.items() if measure == what}
        found = places(each)
        columns += [f"{what}, ± over rows ± over seeds", "beside the best"]
        for method, cells in rows.items():
            cells.extend([str(each[method]), found[method]] if method in each else ["", ""])
    print_table(title, columns, rows)


def plant(test: np.ndarray, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows with every second one planted, in units of one standard deviation, and where."""
    rows, planted = test.copy(), np.full(len(test), -1)
    for i in range(0, len(rows), 2):
        j = planted[i] = rng.integers(rows.shape[1])
        rows[i, j] = test[rng.integers(len(test)), j] if kind == "swapped" else rows[i, j] + rng.choice([-3, 3])
    return rows, planted


def read(name: str) -> np.ndarray:
    """The rows of a set."""
    file, num_columns = SETS[name]
    path = data_directory() / file
    if not path.is_file():
        raise SystemExit(
            f"{path} is not there: set LOWERBOUND_DATA to a folder that has it, or leave {name} out of --sets"
        )
    return np.loadtxt(path)[:, :num_columns]


if __name__ == "__main__":
    main()
