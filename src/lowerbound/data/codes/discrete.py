"""Codes of discrete values: levels and numbers that were recorded to a unit, and categories.

A number that was recorded to a unit u, such as two decimals, is one of the multiples of u, and a density that is trained
on such numbers grows at each of them without an end. On a grid it does not: the model has a probability P for each
multiple, and the density that is told is $P / u$, that of the value within its unit, which is never above $1 / u$. Draws are
whole multiples of the unit.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from lowerbound.blocks import ONE_HOT, Block, Choice, Grid
from lowerbound.data.codes.code import Code, Entries, Mask, Values, check_scale, multiples, rounding
from lowerbound.data.columns import Column
from lowerbound.words.counts import counted


@dataclass(frozen=True)
class OnGrid(Code):
    """Whole multiples of a unit.

    Arguments:
        start: the value of k = 0.
        unit: u, from one value to the next.
        num_levels: K, of k = 0 ... K - 1; None: no ends.
        shift, scale: of x, as of `Scaled`.
        tells_density: whether P / u is told in the place of P.
    """

    start: float
    unit: float
    num_levels: int | None
    shift: float
    scale: float
    tells_density: bool = False

    def __post_init__(self):
        check_scale(self.shift, self.scale)
        check_scale(self.start, self.unit)
        _ = self.block

    def holding(self, values: Values) -> "OnGrid":
        """The same, or without ends if some of the values are beyond them."""
        k = self._number(values)
        fits = self.num_levels is None or ((k >= 0) & (k < self.num_levels)).all()
        return self if fits else replace(self, num_levels=None)

    @property
    def block(self) -> Block:
        origin, spacing = (self.start - self.shift) / self.scale, self.unit / self.scale
        return Grid(origin, spacing, self.num_levels, self.tells_density)

    def encode(self, values: Values, column: Column) -> Entries:
        self._check(values, column)
        return ((self._value(self._number(values)) - self.shift) / self.scale)[:, None]

    def misplaced(self, values: Values, column: Column) -> tuple[int, str] | None:
        k = self._number(values)
        between = np.flatnonzero(self._between(values, column)) if not self.tells_density else []
        beyond = np.flatnonzero((k < 0) | (k >= self.num_levels)) if self.num_levels is not None else []
        if not len(between) and not len(beyond):
            return None
        row = int(min([*between[:1], *beyond[:1]]))
        other = "train on rows that hold such values too"
        if row in between:
            other = "give the column as a real number"
        return row, f"holds {values[row]:.12g}, where only {self.known} are known: leave out such rows, or {other}"

    def rounded(self, values: Values, column: Column) -> Mask:
        return self._between(values, column) if self.tells_density else super().rounded(values, column)

    def _number(self, values: Values) -> Values:
        """k of the nearest multiple."""
        return np.rint((values - self.start) / self.unit)

    def _between(self, values: Values, column: Column) -> Mask:
        """Which are not the multiple that they are nearest to."""
        allowed = 1e-6 * self.unit + rounding(column) * np.abs(values)
        return np.abs(values - self._value(self._number(values))) > allowed

    def decode(self, x: Entries) -> Values:
        k = self._number(x[:, 0] * self.scale + self.shift)
        return self._value(k if self.num_levels is None else np.clip(k, 0, self.num_levels - 1))

    def log_slope(self, x: Entries) -> Values:
        return np.full(len(x), -math.log(self.unit) if self.tells_density else 0.0)

    def text(self, column: Column) -> str:
        density_note = f", told as a density over {self.unit:g}" if self.tells_density else ""
        return f"probability of {self.known}{density_note}"

    @property
    def filling(self) -> float:
        return self.start

    @property
    def center(self) -> float:
        return self.shift

    @property
    def known(self) -> str:
        if self.num_levels is None:
            return f"multiples of {self.unit:g}" if self.unit != 1 else "whole numbers"
        last = self.start + (self.num_levels - 1) * self.unit
        steps = "" if self.unit == 1 else f" in steps of {self.unit:g}"
        return f"{counted(self.num_levels, 'level')}, {self.start:g} to {last:g}{steps}"

    def _value(self, k: np.ndarray) -> np.ndarray:
        return multiples(self.start, self.unit, k)


@dataclass(frozen=True)
class OneHot(Code):
    """A block with an entry for each category.

    Arguments:
        num_categories: K.
    """

    num_categories: int

    def __post_init__(self):
        _ = self.block

    @property
    def block(self) -> Block:
        return Choice(self.num_categories)

    def encode(self, values: Values, column: Column) -> Entries:
        self._check(values, column)
        is_present = ~np.isnan(values)
        x = np.zeros((len(values), self.num_categories))
        x[is_present, values[is_present].astype(np.int64)] = ONE_HOT
        x[~is_present] = np.nan
        return x

    def misplaced(self, values: Values, column: Column) -> tuple[int, str] | None:
        wrong = np.flatnonzero(~np.isin(values, np.arange(self.num_categories)) & ~np.isnan(values))
        if not len(wrong):
            return None
        return int(wrong[0]), (
            f"holds category number {values[wrong[0]]:g}, where {self.num_categories} ({_first(column.categories)}) are "
            "known: leave out such rows, or train on rows that hold it too"
        )

    def decode(self, x: Entries) -> Values:
        return x.argmax(1).astype(np.float64)

    def text(self, column: Column) -> str:
        return f"probability of {counted(self.num_categories, 'category')}"

    @property
    def value_range(self) -> tuple[float, float]:
        return 0.0, float(max(1, self.num_categories - 1))


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)
