"""Independent dimensions: histograms of levels, Gaussians of real numbers."""

import numpy as np

from lowerbound.baselines.splits import EXACT, Baseline, Splits, check_varying
from lowerbound.errors import InputError

SMOOTHINGS = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)
TABLE = 1 << 18
"""Counts of dimensions and levels that are made at a time, few enough for a processor's cache."""


def histogram(splits: Splits) -> Baseline:
    """Independent dimensions, each with its own smoothed histogram, $P_d(k) = (n_{dk} + a) / (N + a K)$.

    The additive smoothing a is chosen on the validation split.

    Raises InputError for continuous data.
    """
    num_levels = splits.num_levels
    if num_levels is None:
        raise InputError("a histogram has a probability mass for discrete data only; give num_levels")

    values = np.concatenate([splits.validation, splits.test])
    counts = np.empty(values.shape, dtype=np.int32)  # how often the training split has each value in the same dimension
    width = max(1, TABLE // num_levels)
    for first in range(0, splits.dim, width):
        some = slice(first, first + width)
        row = np.arange(min(width, splits.dim - first))
        of_levels = np.bincount((splits.train[:, some] + num_levels * row).ravel(), minlength=num_levels * len(row))
        counts[:, some] = of_levels[values[:, some] + num_levels * row]

    def nats(count: np.ndarray, smoothing: float) -> np.ndarray:
        return -np.log((count + smoothing) / (len(splits.train) + smoothing * num_levels)).sum(axis=1)

    on_validation, on_test = np.split(counts, [len(splits.validation)])
    smoothing = min(SMOOTHINGS, key=lambda a: nats(on_validation, a).mean())
    name = f"per-dimension histogram (smoothing {smoothing:g})"
    return splits.baseline(name, nats(on_test, smoothing), EXACT)


def independent_gaussian(splits: Splits) -> Baseline:
    """Independent dimensions, each with a Gaussian of the training split's mean and variance; missing entries do not count.

    Raises InputError for discrete data, or a dimension that is constant or of which nothing is there.
    """
    if splits.num_levels is not None:
        raise InputError(f"a Gaussian is for continuous data, these have {splits.num_levels} levels: take a histogram")
    train = splits.train.astype(np.float64)
    unseen = np.flatnonzero(np.isnan(train).all(axis=0))
    if len(unseen):
        raise InputError(f"of dimension {unseen[0]} no entry is there in the training split: leave it out")
    mean, scale = np.nanmean(train, axis=0), check_varying(np.nanstd(train, axis=0))
    squares = ((splits.test - mean) / scale) ** 2
    nats = np.nansum(0.5 * (squares + np.log(2 * np.pi)) + np.log(scale), axis=1)
    return splits.baseline("independent Gaussians", nats, EXACT)
