r"""Encodings: how stored values become what a model sees, and back.

Integers with K levels become the centres $2 (k + \tfrac12) / K - 1$; their likelihood is a probability mass and needs no
correction. Floats are shifted and scaled per channel to mean 0 and standard deviation 1; their density in the units they
came in is $\log p(raw) = \log p(x) + \log|\det dx/d\,raw|$. Floats may have missing entries, NaN as stored and as encoded.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lowerbound.blocks import Blocks
from lowerbound.data.columns import Column
from lowerbound.data.parts import check_finite, moments, parts
from lowerbound.data.vectors import check_normalisation
from lowerbound.errors import InputError
from lowerbound.files.records import read
from lowerbound.levels import check_num_levels, level_centres, nearest_level
from lowerbound.words.brief import Brief
from lowerbound.words.counts import counted


class Encoding(ABC):
    """A reversible map from stored values to float32 tensors, of the same shape (N, *shape) unless values take several
    entries each: a dataclass.

    Attributes:
        kind: its name where it is stored.
        num_levels: K of discrete data, None of continuous data.
        offset: what is stored for level 0; 0 of continuous data.
        dtype: the stored values' type.
        has_missing: whether entries may be missing, NaN on both sides.
        columns: of a table; empty for everything else.
    """

    kind: ClassVar[str]
    num_levels: int | None
    offset: int = 0
    dtype: str
    has_missing: bool = False
    columns: tuple[Column, ...] = ()

    @property
    def blocks(self) -> Blocks | None:
        """What the entries of x are, where they are of several kinds; None: all the same."""
        return None

    def raw_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a stored example, from that of x."""
        return shape

    def shape(self, raw_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of x, from that of a stored example."""
        return raw_shape

    def observed_entries(self, observed: np.ndarray) -> np.ndarray:
        """Which entries of x are there, (N, *shape), from which stored values are."""
        return observed

    def by_value(self, figures: np.ndarray) -> np.ndarray:
        """Figures of each entry of x, (N, *shape), as those of each stored value, which are sums."""
        return figures

    @property
    def filling(self) -> float | np.ndarray:
        """A stored value, or one for each place of an example, that can be encoded, to stand where nothing is known."""
        return 0.0

    @property
    def centers(self) -> float | np.ndarray:
        """What the stored values lie about, of a table each column's, (C,): the digits that are known count from there."""
        return 0.0

    @property
    def draws_tails_in(self) -> bool | np.ndarray:
        """Whether x grows with the logarithm of a value that is far out, of each entry of x, (D,), where they differ."""
        return False

    @abstractmethod
    def encode(self, raw: np.ndarray) -> Tensor:
        """Stored values as the model sees them.

        Raises:
            InputError: for values that this encoding has no place for.
        """

    @abstractmethod
    def decode(self, x: Tensor) -> np.ndarray:
        """Model values as stored values, rounded to the nearest level if they are discrete."""

    def log_det(self, x: Tensor) -> Tensor:
        r"""$\log|\det dx/d\,raw|$ of the entries that are there of each encoded example, (N,), nats in double precision; 0
        for discrete data."""
        return x.new_zeros(len(x), dtype=torch.float64)

    def log_slopes(self, x: Tensor) -> Tensor:
        """What each entry adds to `log_det`, of the shape of x, nats in double precision; 0 where there is none."""
        return torch.zeros_like(x, dtype=torch.float64)

    @property
    @abstractmethod
    def value_range(self) -> tuple[float, float]:
        """What pictures draw as black and white, as stored values: the end levels of discrete data, three standard
        deviations around the mean of continuous data."""

    @property
    def description(self) -> str:
        """What the values are, for people."""
        if self.num_levels is None:
            return f"continuous, stored as {self.dtype}, normalised per channel"
        low, high = self.value_range
        return f"{self.num_levels} levels, {low} to {high}, stored as {self.dtype}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, its fields beside its `kind`; `read_encoding` reads it."""
        return {"kind": self.kind, **asdict(self)}  # pyrefly: ignore[bad-argument-type]

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse, with an InputError, what no examples of this shape are encoded by."""
        try:
            fits = np.dtype(self.dtype).kind in ("f" if self.num_levels is None else "iub")
        except TypeError:
            fits = False
        if not fits:
            raise InputError(f"the values are of the type {self.dtype!r}, which is not theirs")
        if abs(self.offset) >= 1 << 62:
            raise InputError(f"levels from {self.offset} on fit into no type")


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

    kind = "levels"
    num_levels: int  # pyrefly: ignore[bad-override] - frozen, so narrower is safe
    offset: int = 0  # pyrefly: ignore[bad-override]
    dtype: str = "uint8"  # pyrefly: ignore[bad-override]

    def __post_init__(self):
        check_num_levels(self.num_levels)

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.dtype.kind not in "iub":
            raise InputError(
                f"values of type {raw.dtype} were given where integers with {self.num_levels} levels are known"
            )
        low, high = self.value_range
        if raw.size and (raw.min() < low or raw.max() > high):
            raise InputError(f"values from {raw.min()} to {raw.max()} were given; the levels go from {low} to {high}")
        index = torch.from_numpy(np.subtract(raw, self.offset, dtype=np.int64))
        centres = level_centres(torch.arange(self.num_levels), self.num_levels).float()
        return centres.index_select(0, index.flatten()).view(index.shape)  # a third of the time of their arithmetic

    def decode(self, x: Tensor) -> np.ndarray:
        index = nearest_level(x.detach().cpu().double(), self.num_levels).long().numpy()
        return (index + self.offset).astype(self.dtype)

    @property
    def filling(self) -> float:
        return self.offset

    @property
    def value_range(self) -> tuple[float, float]:
        return self.offset, self.offset + self.num_levels - 1


@dataclass(frozen=True, repr=False)
class Affine(Brief, Encoding):
    """Floats, shifted and scaled per channel (the first axis of an example).

    Arguments:
        shift: subtracted, one per channel.
        scale: divided by, one per channel, positive.
        dtype: the stored values' type.
        has_missing: whether entries may be missing, NaN on both sides.
    """

    kind = "affine"
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    dtype: str = "float32"  # pyrefly: ignore[bad-override]
    has_missing: bool = False  # pyrefly: ignore[bad-override]
    num_levels = None

    @classmethod
    def fit(cls, raw: np.ndarray, chosen: np.ndarray | None = None, names: tuple[str, ...] = ()) -> "Affine":
        """The encoding that gives examples, (N, C, *), mean 0 and standard deviation 1 in each channel, of
        the entries that are there.

        Arguments:
            raw: the examples, NaN where an entry is missing; they are gone through once, in parts.
            chosen: (N,) booleans, which of them it is fitted to; all if None.
            names: of the channels, for messages; their numbers if there are none.

        Raises:
            InputError: if a value of any of them is infinite, or, of the chosen, a channel has no entry, is constant, or is
                too large or too small to be squared.
        """
        channels = moments(raw, chosen)
        names = names or tuple(map(str, range(raw.shape[1])))
        shift, scale = channels.mean, np.sqrt(channels.variance)
        unseen = np.flatnonzero(channels.num_entries == 0)
        if len(unseen):
            raise InputError(
                f"channel {names[unseen[0]]} holds nothing but NaN in the training split: leave out the empty channels "
                f"({', '.join(names[k] for k in unseen[:10])})"
            )
        if not np.isfinite(scale).all():
            most = max(np.nanmax(np.abs(values)) for _, values in parts(raw) if not np.isnan(values).all())
            raise InputError(f"values up to {most:g} are too large to be squared: give them in a larger unit")
        # a spread of rounding errors is none
        least = 1e-12 if raw.dtype == np.float64 else 1e-7
        constant = np.flatnonzero(scale <= least * np.maximum(np.abs(shift), 1e-30))
        if len(constant):
            first = shift[constant[0]]
            if 0 < abs(first) < 1e-30:
                raise InputError(
                    f"channel {names[constant[0]]} has a mean of {first:g} and hardly any spread: give the values in a "
                    "smaller unit"
                )
            remedy = f"leave out the constant channels ({', '.join(names[k] for k in constant[:10])})"
            raise InputError(
                f"channel {names[constant[0]]} has the same value, {first:g}, in every example: a constant has no density; "
                + (remedy if len(constant) < len(shift) else "there is no other channel, and nothing to learn")
            )
        return cls(tuple(shift.tolist()), tuple(scale.tolist()), str(raw.dtype), channels.has_missing)

    def encode(self, raw: np.ndarray) -> Tensor:
        if raw.shape[1] != len(self.shift):
            raise InputError(f"examples of {raw.shape[1]} channels were given where {len(self.shift)} are known")
        check_finite(raw, self.has_missing)
        shift, scale = self._along(raw.ndim)
        return seen((raw - shift) / scale)

    def decode(self, x: Tensor) -> np.ndarray:
        shift, scale = self._along(x.ndim)
        return stored(x.detach().cpu().double().numpy() * scale + shift, self.dtype)

    def log_det(self, x: Tensor) -> Tensor:
        log_scale = torch.as_tensor(np.log(self.scale), device=x.device)
        whole = -math.prod(x.shape[2:]) * float(np.log(self.scale).sum())
        num_missing = x.isnan().reshape(*x.shape[:2], -1).sum(2)
        return whole + num_missing.double() @ log_scale

    def log_slopes(self, x: Tensor) -> Tensor:
        log_scale = torch.as_tensor(np.log(self.scale), device=x.device)
        return torch.where(x.isnan(), 0, -log_scale.reshape(1, -1, *[1] * (x.ndim - 2)))

    @property
    def value_range(self) -> tuple[float, float]:
        pairs = list(zip(self.shift, self.scale, strict=True))
        return min(m - 3 * s for m, s in pairs), max(m + 3 * s for m, s in pairs)

    def to_dict(self) -> dict[str, Any]:
        values = {"kind": self.kind, "shift": list(self.shift), "scale": list(self.scale), "dtype": self.dtype}
        # complete data are described as they were before entries could be missing, for hashes that were taken of it
        return {**values, "has_missing": True} if self.has_missing else values

    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        check_normalisation(self.shift, self.scale)
        if len(self.shift) != shape[0]:
            raise InputError(f"{len(self.shift)} shifts for {shape[0]} channels")

    def _along(self, num_axes: int) -> tuple[np.ndarray, np.ndarray]:
        """Shift and scale, to be broadcast over examples (N, C, *) of so many axes."""
        axes = (1, -1, *[1] * (num_axes - 2))
        return np.array(self.shift).reshape(axes), np.array(self.scale).reshape(axes)


def seen(x: np.ndarray) -> Tensor:
    """Entries in single precision, as a model sees them.

    Raises:
        InputError: if one is too far from the training values for single precision, naming its example.
    """
    with np.errstate(over="ignore"):
        entries = x.astype(np.float32)
    if len(far := np.flatnonzero(np.isinf(entries).any(tuple(range(1, x.ndim))))):
        raise InputError(
            f"{counted(len(far), 'example')} of {len(x)} (first: example {far[0]}) hold values more than 10^38 standard "
            "deviations from the training values: correct them, or give NaN for what is not known"
        )
    return torch.from_numpy(entries)


def stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values in the type they are stored in: beyond its last number, that number, as infinity would be refused where it is
    read again."""
    last = np.finfo(dtype).max
    return np.clip(values, -last, last).astype(dtype)


def read_encoding(values: Mapping[str, Any]) -> Encoding:
    """The encoding that `to_dict` described, of any class derived from `Encoding`.

    Raises:
        InputError: if it describes none.
    """
    fields = dict(values)
    if isinstance(fields.get("codes"), list):
        fields["codes"] = [_current(code) for code in fields["codes"]]
    kind, classes = fields.pop("kind", None), _kinds(Encoding)
    for encoding in classes:
        if encoding.kind == kind:
            return read(encoding, fields, "the stored encoding")
    kinds = " and ".join(encoding.kind for encoding in classes)
    raise InputError(f"unknown kind of encoding {kind!r}: known are {kinds}")


def _kinds(base: type[Encoding]) -> list[type[Encoding]]:
    """All encodings that have a name, derived from one by whatever way."""
    derived = base.__subclasses__()
    return [cls for each in derived for cls in [*[each] * hasattr(each, "kind"), *_kinds(each)]]


def _current(code: Any) -> Any:
    """A column's code as it is stored, without what was kept of a value with a share until it had a probability."""
    if not isinstance(code, dict) or "repeated" not in code:
        return code
    if code["repeated"] is not None:
        raise InputError(
            "a column has a density where a share of its values are the same, which now have a probability of their own: "
            "train the run anew"
        )
    return {name: value for name, value in code.items() if name != "repeated"}
