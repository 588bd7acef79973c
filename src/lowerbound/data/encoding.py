r"""Encodings: how stored values become what a model sees, and back.

Integers with K levels become the centres $2 (k + \tfrac12) / K - 1$; their likelihood is a probability mass and needs no
correction. Floats are shifted and scaled per channel to mean 0 and standard deviation 1; their density in the units they
came in is $\log p(raw) = \log p(x) + \log|\det dx/d\,raw|$.
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
    """

    num_levels: int | None
    dtype: str

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
    def log_det(self, shape: tuple[int, ...]) -> float:
        r"""$\log|\det dx/d\,raw|$ of one example of this shape, nats; 0 for discrete data."""

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

    def log_det(self, shape: tuple[int, ...]) -> float:
        return 0.0

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
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    dtype: str = "float32"
    num_levels = None

    @classmethod
    def fit(cls, raw: np.ndarray, chosen: np.ndarray | None = None) -> "Affine":
        """The encoding that gives examples, (N, C, *), mean 0 and standard deviation 1 in each channel.

        Arguments:
            raw: the examples; they are gone through once, in parts.
            chosen: (N,) booleans, which of them it is fitted to; all if None.

        Raises:
            InputError: if a value of any of them is not finite, or, of the chosen, a channel is constant or too large or too
                small to be squared.
        """
        shift, variance = moments(raw, chosen)
        scale = np.sqrt(variance)
        if not np.isfinite(scale).all():
            most = max(np.abs(values).max() for _, values in parts(raw))
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
        return cls(tuple(shift.tolist()), tuple(scale.tolist()), str(raw.dtype))

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.shape[1] != len(self.shift):
            raise InputError(f"examples of {raw.shape[1]} channels were given where {len(self.shift)} are known")
        check_finite(raw)
        shift, scale = (self._along(values, raw.ndim) for values in (self.shift, self.scale))
        return torch.from_numpy(((raw - shift) / scale).astype(np.float32))

    def decode(self, x: Tensor) -> np.ndarray:
        shift, scale = (self._along(values, x.ndim) for values in (self.shift, self.scale))
        return (x.detach().cpu().double().numpy() * scale + shift).astype(self.dtype)

    def log_det(self, shape: tuple[int, ...]) -> float:
        return -math.prod(shape[1:]) * float(np.log(self.scale).sum())

    @property
    def value_range(self) -> tuple[float, float]:
        pairs = list(zip(self.shift, self.scale, strict=True))
        return min(m - 3 * s for m, s in pairs), max(m + 3 * s for m, s in pairs)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "affine", "shift": list(self.shift), "scale": list(self.scale), "dtype": self.dtype}

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
            return Affine(tuple(map(float, values["shift"])), tuple(map(float, values["scale"])), str(values["dtype"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the stored encoding {dict(values)} cannot be read: {error}") from error
    raise InputError(f"unknown kind of encoding {values['kind']!r}: known are levels and affine")
