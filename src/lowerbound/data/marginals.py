"""The encoding of arrays of floats whose channels have values with a probability, units, heavy tails or heaps."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lowerbound.blocks import Blocks
from lowerbound.data.channels import ByChannel
from lowerbound.data.codes import AnyCode, OnGrid, PointMasses, Scaled, Warped
from lowerbound.data.codes.fit import LEAST_SHARE, fit_code
from lowerbound.data.codes.reals import MOST_SEARCHED
from lowerbound.data.columns import Column
from lowerbound.data.encoding import Affine, Encoding, stored
from lowerbound.data.parts import gathered, parts
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief

MOST_WARPED = 128
"""Entries of a vector up to which each may be made about normal."""
MOST_VALUES = 20_000
"""Of a channel, to which its code is fitted."""
_LOOKED_AT = 1 << 21
"""Of all channels, about."""
_ALIKE = 1e-6
"""Units that differ by less are the same, read off different values."""
_ARROW = {"float16": "halffloat", "float32": "float"}


@dataclass(frozen=True, repr=False)
class Marginals(Brief, ByChannel):
    """Arrays of floats, (N, C, *spatial), each channel by a code of its own.

    Arguments:
        codes: of the channels.
        dtype: the stored values' type.
        has_missing: whether entries may be missing, NaN on both sides.
    """

    kind = "marginals"
    codes: tuple[AnyCode, ...]  # pyrefly: ignore[bad-override] - as of Levels
    dtype: str = "float32"  # pyrefly: ignore[bad-override]
    has_missing: bool = False  # pyrefly: ignore[bad-override]

    @classmethod
    def where_needed(
        cls,
        affine: Affine,
        examples: np.ndarray,
        train: np.ndarray,
        *,
        may_warp: bool,
        densities: bool = False,
        least_share: float = LEAST_SHARE,
    ) -> Encoding:
        """This encoding if a channel asks for another code than the affine one, else that.

        Arguments:
            affine: of the same examples.
            examples: floats, (N, C, *spatial), NaN where an entry is missing; of series their rows, (T, C).
            train: numbers of the training examples, some of which are looked at.
            may_warp: whether channels may be made about normal by their quantiles, as it suits vectors.
            densities: whether all values are to have densities, repeated ones too.
            least_share: of values with a probability of their own.
        """
        if examples.shape[1] > MOST_SEARCHED:
            return affine
        channels = _channels(examples.shape[1], affine.dtype)
        plain = [Scaled(shift, scale) for shift, scale in zip(affine.shift, affine.scale, strict=True)]
        some = list(_some(examples, train))

        def code_of(k: int, may_be_recorded: bool = True) -> AnyCode:
            values = some[k]
            if len(values) < 2 or (densities and np.ptp(values) == 0):
                return plain[k]
            if np.ptp(values) == 0:  # the few others are not among those that were looked at
                return PointMasses((float(values[0]),), (1.0,), plain[k])
            settings = {"may_be_recorded": may_be_recorded, "densities": densities, "least_share": least_share}
            code = fit_code(channels[k], values, may_heap=may_warp, **settings)
            is_asked_for = isinstance(code, OnGrid | PointMasses) or (isinstance(code, Warped) and may_warp)
            return code if is_asked_for else plain[k]

        codes = [code_of(k) for k in range(len(channels))]
        for k in _off_grid(codes, examples, channels):
            codes[k] = code_of(k, may_be_recorded=False)
        if all(isinstance(code, Scaled) for code in codes):
            return affine
        return cls(tuple(codes), affine.dtype, affine.has_missing)

    @property
    def channels(self) -> tuple[Column, ...]:
        return _channels(len(self.codes), self.dtype)

    @property
    def blocks(self) -> Blocks | None:
        return self._blocks if any(isinstance(code, OnGrid | PointMasses) for code in self.codes) else None

    def decode(self, x: Tensor) -> np.ndarray:
        return stored(super().decode(x), self.dtype)

    @property
    def is_of_levels(self) -> bool:
        """Whether all values are multiples of one unit, as levels are."""
        units = {code.unit for code in self.codes if isinstance(code, OnGrid)}
        return all(isinstance(code, OnGrid) for code in self.codes) and max(units) <= (1 + _ALIKE) * min(units)

    @property
    def description(self) -> str:
        kinds = {"by quantiles": Warped, "in whole units": OnGrid, "with values of their own probability": PointMasses}
        counts = {said: sum(isinstance(code, kind) for code in self.codes) for said, kind in kinds.items()}
        found = [f"{number} of {len(self.codes)} {said}" for said, number in counts.items() if number]
        kind = "continuous" if self.blocks is None else "numbers"
        return ", ".join([f"{kind}, stored as {self.dtype}, normalised per channel", *found])

    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        if shape != self.shape((len(self.codes), *shape[1:])):
            raise InputError(f"{len(self.codes)} codes for examples of shape {shape}")


def _channels(num: int, dtype: str) -> tuple[Column, ...]:
    return tuple(Column(f"channel {k}", "real", _ARROW.get(dtype, "double")) for k in range(num))


def _some(examples: np.ndarray, train: np.ndarray) -> Iterator[np.ndarray]:
    """Of each channel some values that are there, in double precision."""
    num = max(1, min(MOST_VALUES, _LOOKED_AT // examples[0].size))
    some = gathered(examples, train[:: len(train) // num + 1])
    rng, most = np.random.default_rng(0), min(MOST_VALUES, _LOOKED_AT // examples.shape[1])
    for channel in np.moveaxis(some, 1, 0):
        values = channel[~np.isnan(channel)]
        chosen = values if len(values) <= most else rng.choice(values, most, replace=False, shuffle=False)
        yield chosen.astype(np.float64)


def _off_grid(codes: list[AnyCode], examples: np.ndarray, channels: tuple[Column, ...]) -> list[int]:
    """The channels whose values, of whatever split, are not all on the grid that some of them are on."""
    grids = [k for k, code in enumerate(codes) if isinstance(code, OnGrid)]
    off = set()
    for _, values in parts(examples) if grids else ():
        for k in grids:
            if k not in off and codes[k].rounded(values[:, k].reshape(-1).astype(np.float64), channels[k]).any():
                off.add(k)
    return sorted(off)
