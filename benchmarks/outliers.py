"""Planted outliers, and which column made them so: python benchmarks/outliers.py

In half of the test rows one column, drawn at random, is planted: "swapped" takes its value from another test row, so that
it is usual in itself and only beside the others is not; "moved" adds three standard deviations of either sign. The area
under the curve (AUC) is of -log p(x) as a score of planted rows against untouched ones, beside a Gaussian, a kernel density
and an isolation forest fitted to the same rows. "Named" is the share of planted rows whose planted column comes first: by
what each column adds to the bound, less the mean of that over training rows; of the Gaussian by each column's residual given
the others, in its standard deviations; and by each column's distance from its mean alone.
"""

import argparse

import numpy as np
from scipy.stats import multivariate_normal
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity

from lowerbound import DiffusionDensity
from lowerbound.data.directory import data_directory

SETS = {"wine": ("uci-wine-quality-red.txt", 11), "power-plant": ("uci-power-plant.txt", 5)}
"""File, and the columns that are taken from its beginning."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--steps", type=int, help="in the place of minutes")
    parser.add_argument("--num-rows", type=int, default=400, help="of the test set, half of them planted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=list(SETS), choices=list(SETS))
    arguments = parser.parse_args()
    for name in arguments.set:
        rows = read(name)
        rng = np.random.default_rng(arguments.seed)
        order = rng.permutation(len(rows))
        test, train = rows[order[: arguments.num_rows]], rows[order[arguments.num_rows :]]
        scale = train.std(0)
        test, train = test / scale, train / scale
        model = DiffusionDensity(arguments.minutes, arguments.steps, random_state=arguments.seed).fit(train)
        for kind in ("swapped", "moved"):
            compare(f"{name}, {kind}", model, train, *plant(test, kind, rng))


def compare(title: str, model: DiffusionDensity, train: np.ndarray, rows: np.ndarray, planted: np.ndarray) -> None:
    """Print both figures of each method; planted is the column of each row, -1 of untouched ones."""
    mean, covariance = train.mean(0), np.cov(train.T) + 1e-6 * np.eye(train.shape[1])
    precision = np.linalg.inv(covariance)
    usual = model.score_samples(train[:500], by="column").mean(0)
    residuals = np.abs((rows - mean) @ precision) / np.sqrt(np.diag(precision))
    candidates = {
        "diffusion": (-model.score_samples(rows), usual - model.score_samples(rows, by="column")),
        "Gaussian": (-multivariate_normal(mean, covariance).logpdf(rows), residuals),
        "kernel density": (-KernelDensity(bandwidth="scott").fit(train).score_samples(rows), None),
        "isolation forest": (-IsolationForest(random_state=0).fit(train).score_samples(rows), None),
        "each column alone": (np.abs(rows - mean).max(1), np.abs(rows - mean)),
    }
    print(f"{title}: {len(rows)} rows of {train.shape[1]} columns, {(planted >= 0).sum()} planted")
    for name, (scores, by_column) in candidates.items():
        named = "" if by_column is None else f"{(by_column.argmax(1) == planted)[planted >= 0].mean():>8.3f}"
        print(f"  {name:<20} AUC {roc_auc_score(planted >= 0, scores):.3f}  named {named}", flush=True)


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
    return np.loadtxt(data_directory() / file)[:, :num_columns]


if __name__ == "__main__":
    main()
