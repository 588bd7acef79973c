r"""Encodings: how stored values become what a model sees, and back.

Integers with K levels become the centres $2 (k + \tfrac12) / K - 1$; their likelihood is a probability mass and needs no
correction. Floats are shifted and scaled per channel to mean 0 and standard deviation 1; their density in the units they
came in is $\log p(raw) = \log p(x) + \log|\det dx/d\,raw|$. Floats may have missing entries, NaN as stored and as encoded.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.brief import Brief
from lowerbound.data.parts import check_finite, moments, parts
from lowerbound.errors import InputError
from lowerbound.levels import check_num_levels, level_centres, nearest_level


class Encoding(ABC):
    """A reversible map from stored values (N, *shape) to float32 tensors of the same shape.

    Attributes:
        num_levels: K of discrete data, None of continuous data.
        dtype: the stored values' type.
        has_missing: whether entries may be missing, NaN on both sides.
    """

    num_levels: int | None
    dtype: str
    has_missing: bool = False

    @abstractmethod
    def encode(self, raw: np.ndarray) -> Tensor:
        """Stored values as the model sees them.

        Raises:
            InputError: for values that this encoding has no place for.
        """

    @abstractmethod
    def decode(self, x: Tensor) -> np.ndarray:
        """Model values as stored values, rounded to the nearest level if they are discrete."""

    @abstractmethod
    def log_det(self, x: Tensor) -> Tensor:
        r"""$\log|\det dx/d\,raw|$ of the entries that are there of each encoded example, (N,), nats in double precision; 0
        for discrete data."""

    @property
    @abstractmethod
    def value_range(self) -> tuple[float, float]:
        """What pictures draw as black and white, as stored values: the end levels of discrete data, three standard
        deviations around the mean of continuous data."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `read_encoding` reads it."""


@dataclass(frozen=True)
class Levels(Encoding):
    """Integers offset ... offset + K - 1.

    Arguments:
        num_levels: K, 2 to 65,536.
        offset: the stored value of level 0.
        dtype: the stored values' type.

    Raises:
        InputError: if K is out of range.
    """

    num_levels: int  # pyright: ignore[reportIncompatibleVariableOverride] - frozen, so narrower is safe
    offset: int = 0
    dtype: str = "uint8"
    has_missing = False

    def __post_init__(self):
        check_num_levels(self.num_levels)

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.dtype.kind not in "iub":
            raise InputError(
                f"values of type {raw.dtype} were given where integers with {self.num_levels} levels are known"
            )
        index = raw.astype(np.int64) - self.offset
        if index.size and (index.min() < 0 or index.max() >= self.num_levels):
            raise InputError(
                f"values from {raw.min()} to {raw.max()} were given; the levels go from {self.offset} to "
                f"{self.offset + self.num_levels - 1}"
            )
        return level_centres(torch.from_numpy(index), self.num_levels).float()

    def decode(self, x: Tensor) -> np.ndarray:
        index = nearest_level(x.detach().cpu().double(), self.num_levels).long().numpy()
        return (index + self.offset).astype(self.dtype)

    def log_det(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), dtype=torch.float64)

    @property
    def value_range(self) -> tuple[float, float]:
        return self.offset, self.offset + self.num_levels - 1

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "levels", "num_levels": self.num_levels, "offset": self.offset, "dtype": self.dtype}


@dataclass(frozen=True, repr=False)
class Affine(Brief, Encoding):
    """Floats, shifted and scaled per channel (the first axis of an example).

    Arguments:
        shift: subtracted, one per channel.
        scale: divided by, one per channel, positive.
        dtype: the stored values' type.
        has_missing: whether entries may be missing, NaN on both sides.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    dtype: str = "float32"
    has_missing: bool = False
    num_levels = None

    @classmethod
    def fit(cls, raw: np.ndarray, chosen: np.ndarray | None = None) -> "Affine":
        """The encoding that gives examples, (N, C, *), mean 0 and standard deviation 1 in each channel, of
        the entries that are there.

        Arguments:
            raw: the examples, NaN where an entry is missing; they are gone through once, in parts.
            chosen: (N,) booleans, which of them it is fitted to; all if None.

        Raises:
            InputError: if a value of any of them is infinite, or, of the chosen, a channel has no entry, is constant, or is
                too large or too small to be squared.
        """
        found = moments(raw, chosen)
        shift, scale = found.mean, np.sqrt(found.variance)
        unseen = np.flatnonzero(found.num_entries == 0)
        if len(unseen):
            raise InputError(
                f"channel {unseen[0]} holds nothing but NaN in the training split: leave out the empty channels "
                f"({', '.join(map(str, unseen[:10]))})"
            )
        if not np.isfinite(scale).all():
            most = max(np.nanmax(np.abs(values)) for _, values in parts(raw) if not np.isnan(values).all())
            raise InputError(f"values up to {most:g} are too large to be squared: give them in a larger unit")
        # a spread of rounding errors is none
        constant = np.flatnonzero(scale <= 1e-7 * np.maximum(np.abs(shift), 1e-30))
        if len(constant):
            first = shift[constant[0]]
            if 0 < abs(first) < 1e-30:
                raise InputError(
                    f"channel {constant[0]} has a mean of {first:g} and hardly any spread: give the values in a smaller unit"
                )
            remedy = f"leave out the constant channels ({', '.join(map(str, constant[:10]))})"
            raise InputError(
                f"channel {constant[0]} has the same value, {first:g}, in every example: a constant has no density; "
                + (remedy if len(constant) < len(shift) else "there is no other channel, and nothing to learn")
            )
        return cls(tuple(shift.tolist()), tuple(scale.tolist()), str(raw.dtype), found.has_missing)

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.shape[1] != len(self.shift):
            raise InputError(f"examples of {raw.shape[1]} channels were given where {len(self.shift)} are known")
        check_finite(raw, self.has_missing)
        shift, scale = (self._along(values, raw.ndim) for values in (self.shift, self.scale))
        return torch.from_numpy(((raw - shift) / scale).astype(np.float32))

    def decode(self, x: Tensor) -> np.ndarray:
        shift, scale = (self._along(values, x.ndim) for values in (self.shift, self.scale))
        return (x.detach().cpu().double().numpy() * scale + shift).astype(self.dtype)

    def log_det(self, x: Tensor) -> Tensor:
        log_scale = torch.as_tensor(np.log(self.scale), device=x.device)
        whole = -math.prod(x.shape[2:]) * float(np.log(self.scale).sum())
        num_missing = x.isnan().reshape(*x.shape[:2], -1).sum(2)
        return whole + num_missing.double() @ log_scale

    @property
    def value_range(self) -> tuple[float, float]:
        pairs = list(zip(self.shift, self.scale, strict=True))
        return min(m - 3 * s for m, s in pairs), max(m + 3 * s for m, s in pairs)

    def to_dict(self) -> dict[str, Any]:
        values = {"kind": "affine", "shift": list(self.shift), "scale": list(self.scale), "dtype": self.dtype}
        # complete data are described as they were before entries could be missing, for hashes that were taken of it
        return {**values, "has_missing": True} if self.has_missing else values

    @staticmethod
    def _along(values: tuple[float, ...], num_axes: int) -> np.ndarray:
        return np.array(values).reshape(1, -1, *[1] * (num_axes - 2))


def read_encoding(values: Mapping[str, Any]) -> Encoding:
    """The encoding that `to_dict` described.

    Raises:
        InputError: if it describes none.
    """
    try:
        if values["kind"] == "levels":
            return Levels(int(values["num_levels"]), int(values["offset"]), str(values["dtype"]))
        if values["kind"] == "affine":
            shift, scale = (tuple(map(float, values[name])) for name in ("shift", "scale"))
            return Affine(shift, scale, str(values["dtype"]), bool(values.get("has_missing", False)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the stored encoding {dict(values)} cannot be read: {error}") from error
    raise InputError(f"unknown kind of encoding {values['kind']!r}: known are levels and affine")
