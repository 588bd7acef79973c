"""What a yardstick is fitted to and scored on, and its figure."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num

from lowerbound.errors import InputError
from lowerbound.files.records import Measured
from lowerbound.words.brief import Brief

EXACT = "exact"
DEQUANTISED = "bound (uniform dequantisation)"


@dataclass(frozen=True)
class Baseline:
    """The figure of one yardstick on the test split.

    name: the model and the setting that the validation split chose.
    bits_per_dim: mean over the test examples of -log2 p / D.
    standard_error: of that mean, over examples.
    kind: "exact", or "bound (uniform dequantisation)" where a density stands for a mass.
    num_examples: number of test examples.
    """

    name: str
    bits_per_dim: float
    standard_error: float
    kind: str
    num_examples: int

    @property
    def bits(self) -> Measured:
        """Bits/dim with their standard error."""
        return Measured(self.bits_per_dim, self.standard_error)


@dataclass(frozen=True, repr=False)
class Splits(Brief):
    """The three splits as (N, D) arrays, checked together.

    train, validation, test: level indices 0 .. K-1 as integers, or floats in original units, NaN where an entry is missing.
    num_levels: K, or None for continuous data.

    Raises InputError for an empty split, splits of different width, values that are infinite, an example of which nothing
    is there, or levels outside 0 .. K-1.
    """

    train: Num[np.ndarray, "train dim"]
    validation: Num[np.ndarray, "validation dim"]
    test: Num[np.ndarray, "test dim"]
    num_levels: int | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            values = getattr(self, name)
            if values.ndim != 2 or values.shape[1:] != self.train.shape[1:]:
                raise InputError(
                    f"splits are (N, D) arrays of one width; train has shape {self.train.shape}, {name} {values.shape}"
                )
            if len(values) < 2:
                raise InputError(f"the {name} split has {len(values)} examples; a standard error needs at least 2")
            if self.num_levels is None:
                if np.isinf(values).any():
                    raise InputError(f"the {name} split holds values that are not finite; baselines need numbers")
                if np.isnan(values).all(axis=1).any():
                    raise InputError(f"the {name} split holds an example of which no entry is there: leave it out")
            elif not np.issubdtype(values.dtype, np.integer):
                raise InputError(f"num_levels={self.num_levels} needs integer level indices; {name} is {values.dtype}")
            elif values.min() < 0 or values.max() >= self.num_levels:
                raise InputError(
                    f"the {name} split has levels {values.min()} to {values.max()}; "
                    f"num_levels={self.num_levels} allows 0 to {self.num_levels - 1}"
                )

    @property
    def dim(self) -> int:
        return self.train.shape[1]

    @property
    def has_missing(self) -> bool:
        """Whether an entry is missing."""
        return any(np.isnan(values).any() for values in (self.train, self.validation, self.test))

    @property
    def kind(self) -> str:
        """What a density's figure is for this data."""
        return EXACT if self.num_levels is None else DEQUANTISED

    def baseline(self, name: str, nats: Float64[np.ndarray, " test"], kind: str) -> Baseline:
        """The figure for negative log-likelihoods `nats` of the test examples' entries that are there."""
        bits = nats / ((~np.isnan(self.test)).sum(axis=1) * np.log(2))
        return Baseline(name, *Measured.of(bits), kind, len(bits))


def check_complete(splits: Splits) -> None:
    """Refuse missing entries, by an InputError."""
    if splits.has_missing:
        raise InputError(
            "entries are missing (NaN): of the baselines, independent Gaussians alone are fitted to such data"
        )


def check_varying(deviations: np.ndarray) -> np.ndarray:
    """The standard deviations of dimensions, none of which may be 0, by an InputError."""
    constant = np.flatnonzero(deviations == 0)
    if len(constant):
        raise InputError(
            f"{len(constant)} dimensions are constant in the training split (the first is {constant[0]}): their "
            "density is infinite. Drop them, or give num_levels if the data is discrete"
        )
    return deviations
