"""Condition vectors: normalised per feature, as a network needs them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.words.brief import Brief


@dataclass(frozen=True, repr=False)
class Standardisation(Brief):
    """Vectors of F features, each feature shifted and scaled to mean 0 and standard deviation 1 over given vectors.

    A feature that is the same in all of them becomes 0 and keeps its scale. A row of NaN is a condition that is not given,
    and stays so.

    Arguments:
        shift: subtracted, one per feature.
        scale: divided by, one per feature, positive.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, vectors: np.ndarray) -> "Standardisation":
        """The normalisation that these vectors, (N, F), ask for.

        Raises:
            InputError: if a feature is too large to be squared.
        """
        present = vectors[~np.isnan(vectors).all(1)]
        if not len(present):
            return cls((0.0,) * vectors.shape[1], (1.0,) * vectors.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            shift, scale = present.mean(0, dtype=np.float64), present.std(0, dtype=np.float64)
        if not np.isfinite(scale).all():
            raise InputError(
                f"condition vectors with values up to {np.abs(present).max():g} are too large to be squared: give them in "
                "a larger unit"
            )
        # a spread of rounding errors is none
        constant = scale <= 1e-7 * np.maximum(np.abs(shift), 1e-30)
        return cls(tuple(shift.tolist()), tuple(np.where(constant, 1.0, scale).tolist()))

    def __call__(self, vectors: np.ndarray) -> Tensor:
        """Vectors as the model sees them, (N, F) float32.

        Raises:
            InputError: for vectors of another length, or with values that are not finite but in a row of nothing but NaN.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.shift) or vectors.dtype.kind not in "iubf":
            raise InputError(
                f"condition vectors of shape {vectors.shape} and type {vectors.dtype}: they should be (N, "
                f"{len(self.shift)}) numbers, one vector of {len(self.shift)} features for each example"
            )
        bad = np.flatnonzero(~np.isfinite(vectors).all(1) & ~np.isnan(vectors).all(1))
        if len(bad):
            raise InputError(
                f"{len(bad)} of {len(vectors)} condition vectors hold NaN or infinity (number {bad[0]}): a vector is of "
                "finite numbers, or all NaN for no condition"
            )
        return torch.from_numpy(((vectors - np.array(self.shift)) / np.array(self.scale)).astype(np.float32))


def check_normalisation(shift: tuple[float, ...], scale: tuple[float, ...]) -> None:
    """Refuse, with an InputError, numbers that were fitted to no data."""
    if len(shift) != len(scale) or not all(map(math.isfinite, shift)):
        raise InputError("a normalisation has a finite shift and a scale for each feature")
    if not all(0 < each < math.inf for each in scale):
        raise InputError("the scales of a normalisation are positive")
