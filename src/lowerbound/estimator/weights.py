"""Rows that count more or less often, divided into those that are trained on and those that are held out."""

from dataclasses import replace

import numpy as np

from lowerbound.data import Dataset
from lowerbound.data.dataset import Examples
from lowerbound.errors import InputError
from lowerbound.estimator.rows import FEWEST_ROWS

REPEATS = 16
"""How often a row of average weight is counted where weights are no whole numbers."""


def divided(
    examples: Examples, weights: np.ndarray | None, validation_fraction: float, rng: np.random.Generator
) -> Dataset:
    """The rows, divided: what is held out stands for the test split too, which nobody asks for.

    weights: how often each row counts, or None: once.
    """
    if not 0 < validation_fraction < 1:
        raise InputError(f"validation_fraction is {validation_fraction}: it lies between 0 and 1")
    order = rng.permutation(len(examples.values) if weights is None else np.flatnonzero(weights))
    if len(order) < FEWEST_ROWS:
        raise InputError(f"{len(order)} rows have a positive weight: at least {FEWEST_ROWS} are needed")
    num_held_out = min(max(2, round(validation_fraction * len(order))), len(order) - 2)
    held_out, train_rows = (np.sort(part) for part in (order[:num_held_out], order[num_held_out:]))
    if weights is not None:
        held_out, train_rows = (np.repeat(part, counts(weights[part], rng)) for part in (held_out, train_rows))
    splits = {"train": train_rows, "validation": held_out, "test": held_out}
    return replace(examples, splits=splits).dataset()


def counts(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each row counts: its weight if all are small whole numbers, else about `REPEATS` times its weight beside the
    mean, up or down so that the expectation is right (systematic resampling)."""
    if (weights == np.rint(weights)).all() and weights.mean() <= REPEATS:
        return weights.astype(np.int64)
    ends = np.cumsum(weights) * (REPEATS * len(weights) / weights.sum())
    return np.diff(np.floor(ends + rng.random()).astype(np.int64), prepend=0)
