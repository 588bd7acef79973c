r"""How the values of one column of a table become entries of x, and back.

| code | for | x | of a value there is |
|---|---|---|---|
| `Scaled` | reals, dates | $(v - m) / s$ | a density |
| `Warped` | reals, dates with heavy tails or heaps | $T(v)$, about normal | a density |
| `OnGrid` | integers; reals recorded to a unit | $(v - m) / s$ at whole multiples of the unit | a probability |
| `OneHot` | categories, truth values | a block of K entries | a probability |
| `PointMasses` | reals, a share of which is one value | which it is, and the number's x | a probability or a density |

A number that was recorded to a unit u, such as two decimals, is one of the multiples of u, and a density that is trained
on such numbers grows at each of them without an end. On a grid it does not: the model has a probability P for each
multiple, and the density that is told is $P / u$, that of the value within its unit, which is never above $1 / u$. Where u
is below the noise at which a decoder of real numbers reads, `FINEST` standard deviations, it can't be seen, and a density
is told: `reals`, where the first two are. Draws of either are whole multiples of the unit.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from lowerbound.blocks import ONE_HOT, Block, Choice, Grid
from lowerbound.data.repeats import frequent
from lowerbound.data.tables.code import Code, Entries, Mask, Values, check_scale, multiples
from lowerbound.data.tables.columns import Column
from lowerbound.data.tables.masses import PointMasses
from lowerbound.data.tables.reals import Recorded, Scaled, real_code
from lowerbound.errors import InputError
from lowerbound.words.counts import counted

FINEST = math.exp(-6)
r"""The finest unit of a grid, in standard deviations: the noise at $\gamma = -12$. Noise of a unit or more blurs its
multiples to one part in $10^8$ (Poisson's summation formula: $2 e^{-2 \pi^2}$ to the first power)."""
MOST_LEVELS = 256
"""Of an integer column whose ends are taken for the last that there are."""
_DECIMALS = 6
_ROUNDING = {"halffloat": 2.0**-10, "float": 2.0**-22}


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
        return Grid((self.start - self.shift) / self.scale, self.unit / self.scale, self.num_levels)

    def encode(self, values: Values, column: Column) -> Entries:
        self._check(values, column)
        return ((self._value(self._number(values)) - self.shift) / self.scale)[:, None]

    def misplaced(self, values: Values, column: Column) -> tuple[int, str] | None:
        k = self._number(values)
        between = np.flatnonzero(self._between(values)) if not self.tells_density else []
        beyond = np.flatnonzero((k < 0) | (k >= self.num_levels)) if self.num_levels is not None else []
        if not len(between) and not len(beyond):
            return None
        row = int(min([*between[:1], *beyond[:1]]))
        other = "train on rows that hold such values too"
        if row in between:
            other = "give the column as a real number"
        return row, f"holds {values[row]:.12g}, where only {self.known} are known: leave out such rows, or {other}"

    def rounded(self, values: Values) -> Mask:
        return self._between(values) if self.tells_density else super().rounded(values)

    def _number(self, values: Values) -> Values:
        """k of the nearest multiple."""
        return np.rint((values - self.start) / self.unit)

    def _between(self, values: Values) -> Mask:
        """Which are not the multiple that they are nearest to."""
        return np.abs(values - self._value(self._number(values))) > 1e-6 * self.unit

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


def fit_code(column: Column, values: Values, *, may_heap: bool = True) -> Code:
    """The code of a column, from those of its training values that are there.

    Arguments:
        column: what its values are.
        values: of training.
        may_heap: whether to look for heaps of real numbers.

    Raises:
        InputError: if there are none, a number is always the same, or it is too large to be squared.
    """
    if not len(values):
        raise InputError(
            f"column {column.name} is empty in the training split: leave it out with --ignore {column.name}"
        )
    if column.categories:
        return OneHot(len(column.categories))
    with np.errstate(over="ignore", invalid="ignore"):
        shift, scale = float(values.mean()), float(values.std())
    if not math.isfinite(scale):
        raise InputError(f"column {column.name} holds values too large to be squared: give it in a larger unit")
    if len(values) == 1:
        raise InputError(
            f"column {column.name} has a single value in the training split, which has no spread: give more rows, or leave "
            f"it out with --ignore {column.name}"
        )
    if scale <= 1e-12 * max(abs(shift), 1e-30):
        raise InputError(
            f"column {column.name} has the same value, {values[0]:g}, in every row of the training split: a constant has no "
            f"density; leave it out with --ignore {column.name}"
        )
    recorded, num_levels = _recorded(values, column)
    if recorded is not None and recorded.unit >= FINEST * scale:
        has_ends = column.kind == "integer" and num_levels <= MOST_LEVELS
        return OnGrid(
            start=recorded.least,
            unit=recorded.unit,
            num_levels=num_levels if has_ends else None,
            shift=shift,
            scale=scale,
            tells_density=column.kind != "integer",
        )
    own, shares = frequent(values)
    others = values[~np.isin(values, own)]
    # of others that are too few for a code of their own nothing is known but where the values lie
    other = real_code(others, may_heap=may_heap) if len(others) and np.ptp(others) > 0 else Scaled(shift, scale)
    other = replace(other, recorded=recorded)
    return PointMasses(tuple(own.tolist()), tuple(shares.tolist()), other) if len(own) else other


def _recorded(values: np.ndarray, column: Column) -> tuple[Recorded | None, int]:
    """To which unit values were recorded, a multiple of a decimal, or of a third of one, and how many multiples there may be
    up to the largest; None if they were to none."""
    least = float(values.min())
    for parts in (10.0**decimals * thirds for thirds in (1, 3) for decimals in range(_DECIMALS + 1)):
        scaled = values * parts
        allowed = 1e-6 + np.abs(scaled).max() * _ROUNDING.get(column.dtype, 2.0**-50)
        whole = np.rint(scaled)
        if allowed > 0.01 or np.abs(scaled - whole).max() > allowed:
            continue
        steps = (whole - whole.min()).astype(np.int64)
        divisor = int(np.gcd.reduce(steps))
        if divisor:
            return Recorded(least, divisor / parts), int(steps.max()) // divisor + 1
    return None, 0


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)
