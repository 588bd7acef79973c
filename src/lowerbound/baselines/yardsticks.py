"""Every yardstick that data allow, and what the simplest one says of a model."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Num

from lowerbound.baselines.columns import independent_columns
from lowerbound.baselines.correlated import gaussian, gaussian_copula
from lowerbound.baselines.factors import factor_analysis
from lowerbound.baselines.independent import histogram, independent_gaussian
from lowerbound.baselines.mixture import gaussian_mixture
from lowerbound.baselines.shrinkage import ENOUGH
from lowerbound.baselines.splits import Baseline, Splits
from lowerbound.blocks import Real
from lowerbound.data import Dataset
from lowerbound.errors import InputError

GAUSSIAN_DIMS = 6144
COPULA_DIMS = 128
YARDSTICK_EXAMPLES = 10_000


def baselines(
    train: Num[np.ndarray, "train dim"],
    validation: Num[np.ndarray, "validation dim"],
    test: Num[np.ndarray, "test dim"],
    num_levels: int | None = None,
    seed: int = 0,
) -> list[Baseline]:
    """Every yardstick that the data allows, in order of capacity.

    train, validation, test: (N, D) level indices 0 .. K-1 as integers, or floats in original units.
    num_levels: K for discrete data, which adds the histogram; None for continuous data.
    seed: of the dequantisation noise and of the mixture's start.

    The copula is for continuous data of at most 128 dimensions, factor analysis for those of fewer than ten training
    examples for each dimension. Above 6,144 a covariance is no longer quick, so that only the histogram, factor analysis and
    the mixture remain. Where entries are missing (NaN), independent Gaussians are the one yardstick, fitted to and scored on
    those that are there.

    Raises InputError for data that does not fit `num_levels`, or a dimension that is constant in continuous data.
    """
    splits = Splits(train, validation, test, num_levels)
    if splits.has_missing:
        return [independent_gaussian(splits)]
    of_levels = [] if num_levels is None else [histogram(splits)]
    of_pairs = [gaussian(splits)] if splits.dim <= GAUSSIAN_DIMS else []
    of_ranks = [gaussian_copula(splits)] if num_levels is None and splits.dim <= COPULA_DIMS else []
    few = num_levels is None and splits.dim > 1 and len(splits.train) < ENOUGH * splits.dim
    of_factors = [factor_analysis(splits)] if few else []
    return [*of_levels, *of_pairs, *of_factors, *of_ranks, gaussian_mixture(splits, seed)]


def flat(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Examples as `Splits` takes them, (N, D): level indices 0 .. K-1, or floats in original units."""
    return dataset.examples[indices].reshape(len(indices), -1) - dataset.spec.encoding.offset


def of_dataset(dataset: Dataset, num_examples: int | None = None) -> list[Baseline]:
    """Every yardstick that a data set allows (see `baselines`), of so many test examples; where values are of several
    kinds, as in a table, `independent_columns` and, if all of them are real numbers, the others too.

    Raises InputError as `baselines` and `independent_columns`.
    """
    test = dataset.some("test", num_examples)
    blocks = dataset.spec.blocks
    of_columns = [] if blocks is None else [independent_columns(dataset, dataset.train, test)]
    if blocks is not None and not all(isinstance(block, Real) for block in blocks):
        return of_columns
    of_all = baselines(
        *(flat(dataset, indices) for indices in (dataset.train, dataset.validation, test)),
        num_levels=dataset.spec.num_levels,
    )
    return [*of_columns, *of_all]


def yardstick(dataset: Dataset, num_examples: int) -> Baseline | None:
    """What the simplest model reaches on some validation examples: independent dimensions, histograms or Gaussians.

    It takes a moment only, on any data; a model that stays behind it has not learned anything yet.

    Arguments:
        dataset: the data, of which at most `YARDSTICK_EXAMPLES` training examples are read.
        num_examples: how many validation examples.

    Returns:
        The baseline on the validation examples in place of test ones; None where there is none, as of a dimension that is
        constant, or of one example.
    """
    train, validation = dataset.some("train", YARDSTICK_EXAMPLES), dataset.some("validation", num_examples)
    try:
        if dataset.spec.blocks is not None:
            return independent_columns(dataset, train, validation)
        others = flat(dataset, validation)
        splits = Splits(flat(dataset, train), others, others, dataset.spec.encoding.num_levels)
        return independent_gaussian(splits) if splits.num_levels is None else histogram(splits)
    except InputError:
        return None


def weakness(metadata: Mapping[str, str]) -> str | None:
    """A sentence on a model that is no better than its simplest baseline, from what its file of weights says; else None."""
    try:
        bits, simplest = float(metadata["held_out_bits_per_dim"]), float(metadata["baseline_bits_per_dim"])
        error = float(metadata.get("standard_error", 0))
    except (KeyError, ValueError):
        return None
    name = metadata.get("baseline", "independent dimensions")
    if bits <= simplest:
        return None
    if bits <= simplest + error:
        return (
            f"this model has not learned more than the simplest baseline ({name}): {bits:.3f} ± {error:.3f} bits/dim on "
            f"held-out data, which needs {simplest:.3f}"
        )
    return (
        f"this model has not learned much: {bits:.3f} bits/dim on held-out data, where the simplest baseline ({name}) needs "
        f"{simplest:.3f}"
    )
