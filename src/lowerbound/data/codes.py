r"""How the values of one column of a table become entries of x, and back.

| code | for | x | of a value there is |
|---|---|---|---|
| `Scaled` | reals, dates | $(v - m) / s$ | a density |
| `Warped` | reals, dates with heavy tails or heaps | $T(v)$, about normal | a density |
| `OnGrid` | integers; reals recorded to a unit | $(v - m) / s$ at whole multiples of the unit | a probability |
| `OneHot` | categories, truth values | a block of K entries | a probability |

A number that was recorded to a unit u, such as two decimals, is one of the multiples of u, and a density that is trained
on such numbers grows at each of them without an end. On a grid it does not: the model has a probability P for each
multiple, and the density that is told is $P / u$, that of the value within its unit, which is never above $1 / u$. Where u
is below the noise at which a decoder of real numbers reads, `FINEST` standard deviations, it can't be seen, and a density
is told.

Whatever else repeats a value, such as a share of exact zeros, has no unit. There the density is bounded by the noise alone:
it is that of the scaled value with noise of standard deviation $\sigma_0 = e^{\gamma_0 / 2}$ on it, and never above
$1 / (\sigma_0 \sqrt{2 \pi})$ in scaled units. Such columns are told of by a warning.

T takes the training values' quantiles to those of a normal distribution, smoothly: a monotone rational-quadratic spline
through knots (Gregory & Delbourgo 1982), beyond its last knots $z_J + \log(1 + T'(v_J) (v - v_J))$, so that what is ten
times as far is not ten times as large. Where values lie in heaps, such as rounded ones with noise on them, T has as many
knots as tell most of training values that it was not fitted to: it spreads the heaps out, which a network would have to
find.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64

from lowerbound.blocks import ONE_HOT, Block, Choice, Grid, Real
from lowerbound.data.columns import Column
from lowerbound.errors import InputError
from lowerbound.words import counted

Values = Float64[np.ndarray, " num_rows"]
Entries = Float64[np.ndarray, "num_rows width"]
Mask = Bool[np.ndarray, " num_rows"]

FINEST = math.exp(-6)
r"""The finest unit of a grid, in standard deviations: the noise at $\gamma = -12$. Noise of a unit or more blurs its
multiples to one part in $10^8$ (Poisson's summation formula: $2 e^{-2 \pi^2}$ to the first power)."""
HEAVY = 9.0
"""The kurtosis from which on a column counts as heavy-tailed: a normal distribution has 3, an exponential one 9."""
MOST_LEVELS = 256
"""Of an integer column whose ends are taken for the last that there are."""
POINT_MASS = 0.02
"""The share of a single value from which on a density is said to have a point mass."""
MOST_VALUES = 5_000
"""From which the number of knots is chosen."""
LEAST_GAIN = 0.02
"""In nats per value, of more knots."""
_DECIMALS = 6
_NUM_KNOTS = (25, 50, 100, 200, 400)
_NUM_FOLDS = 5
_FARTHEST = 3.0
_ROUNDING = {"halffloat": 2.0**-10, "float": 2.0**-22}


class Code(ABC):
    """How a column's values become entries of x: a dataclass."""

    @property
    @abstractmethod
    def block(self) -> Block:
        """What the entries are to a model."""

    @abstractmethod
    def encode(self, values: Values, column: Column) -> Entries:
        """Values as entries of x; NaN stays NaN.

        Raises:
            InputError: for a value that has no place.
        """

    @abstractmethod
    def decode(self, x: Entries) -> Values:
        """Entries of x as values, the nearest where they are discrete."""

    def misplaced(self, values: Values, column: Column) -> tuple[int, str] | None:
        """The first value that has no place, and what to say of its column; None if all have one, or are missing."""
        return None

    def rounded(self, values: Values) -> Mask:
        """Which values are taken for the nearest that has a place."""
        return np.zeros(len(values), bool)

    @property
    def known(self) -> str:
        """The values that have a place, in words."""
        return "values"

    def log_slope(self, x: Entries) -> Values:
        r"""What is added to the model's $\log p(x)$ for the value's own: $\log dx / dv$ of a density, $-\log u$ where
        probabilities are told as densities, 0 of a probability."""
        return np.zeros(len(x))

    @property
    @abstractmethod
    def text(self) -> str:
        """What it is, in words."""

    def _check(self, values: Values, column: Column) -> None:
        """Refuse values without a place, with an InputError."""
        if (found := self.misplaced(values, column)) is not None:
            raise InputError(f"column {column.name} {found[1]}")

    @property
    def filling(self) -> float:
        """A value that has a place."""
        return 0.0


@dataclass(frozen=True)
class PointMass:
    """A value that a share of the column has."""

    value: float
    share: float


@dataclass(frozen=True)
class Scaled(Code):
    """Shifted and scaled.

    Arguments:
        shift, scale: subtracted, divided by.
        repeated: the value that has most of the share, if it is `POINT_MASS` or more.
    """

    shift: float
    scale: float
    repeated: PointMass | None = None

    def __post_init__(self):
        _check_scale(self.shift, self.scale)

    @property
    def block(self) -> Block:
        return Real()

    def encode(self, values: Values, column: Column) -> Entries:
        return ((values - self.shift) / self.scale)[:, None]

    def decode(self, x: Entries) -> Values:
        return x[:, 0] * self.scale + self.shift

    def log_slope(self, x: Entries) -> Values:
        return np.full(len(x), -math.log(self.scale))

    @property
    def text(self) -> str:
        return f"density, scaled{_mass_text(self.repeated)}"


@dataclass(frozen=True)
class Warped(Code):
    """Through the spline T.

    Arguments:
        knots: $v_j$, increasing.
        places: $z_j = T(v_j)$, increasing.
        repeated: as of `Scaled`.
    """

    knots: tuple[float, ...]
    places: tuple[float, ...]
    repeated: PointMass | None = None

    def __post_init__(self):
        v, z = np.array(self.knots), np.array(self.places)
        if len(v) < 2 or v.shape != z.shape or not (np.diff(v) > 0).all() or not (np.diff(z) > 0).all():
            raise InputError(f"{len(v)} knots at {len(z)} places: at least two of each, both increasing")
        if not np.isfinite([*v, *z]).all():
            raise InputError("a knot or a place is not finite")

    @classmethod
    def fit(cls, values: Values, num_knots: int, repeated: PointMass | None = None) -> "Warped":
        """Knots at quantiles; those of a value that is repeated are one knot, in the middle of its places."""
        from scipy.special import ndtr, ndtri

        far = min(_FARTHEST, -float(ndtri(0.5 / len(values))))
        places = np.linspace(-far, far, num_knots)
        knots = np.quantile(values, ndtr(places))
        least = 1e-6 * (knots[-1] - knots[0])
        if not least > 0:  # nearly all are the same
            places, knots = np.array([-far, far]), np.array([values.min(), values.max()])
        groups = np.cumsum(np.concatenate([[0], np.diff(knots) > least]))
        knots, places = (np.bincount(groups, each) / np.bincount(groups) for each in (knots, places))
        return cls(tuple(knots.tolist()), tuple(places.tolist()), repeated)

    @property
    def block(self) -> Block:
        return Real()

    def encode(self, values: Values, column: Column) -> Entries:
        return self._spline(values)[0][:, None]

    def decode(self, x: Entries) -> Values:
        return self._inverse(x[:, 0])

    def log_slope(self, x: Entries) -> Values:
        return np.log(self._spline(self._inverse(x[:, 0]))[1])

    @property
    def text(self) -> str:
        return f"density, made about normal by {len(self.knots)} quantiles{_mass_text(self.repeated)}"

    def log_density(self, values: Values) -> Values:
        r"""$\log N(T(v); 0, 1) + \log T'(v)$: of each value by itself, in nats."""
        place, slope = self._spline(values)
        return -(place**2) / 2 - math.log(2 * math.pi) / 2 + np.log(slope)

    @property
    def filling(self) -> float:
        return self.knots[0]

    def _parts(self, places: np.ndarray, within: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of each place its interval's start and width in v, start and height in z, and slopes: at both ends and between."""
        v, z = np.array(self.knots), np.array(self.places)
        secant = np.diff(z) / np.diff(v)
        slope = np.concatenate([secant[:1], 2 / (1 / secant[1:] + 1 / secant[:-1]), secant[-1:]])
        j = np.clip(np.searchsorted(within, places, "right") - 1, 0, len(secant) - 1)
        return v[j], np.diff(v)[j], z[j], np.diff(z)[j], slope[j], slope[j + 1], secant[j]

    def _spline(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """T and its slope."""
        ends = np.array(self.knots)[[0, -1]]
        v, width, z, height, start, end, secant = self._parts(values, np.array(self.knots))
        share = np.clip(values - v, 0, width) / width
        rest = share * (1 - share)
        denominator = secant + (start + end - 2 * secant) * rest
        inside = z + height * (secant * share**2 + start * rest) / denominator
        slope = secant**2 * (end * share**2 + 2 * secant * rest + start * (1 - share) ** 2) / denominator**2
        beyond = np.maximum(np.maximum(ends[0] - values, values - ends[1]), 0)
        grown = 1 + slope * beyond
        return inside + np.where(values > ends[1], 1, -1) * np.log(grown), slope / grown

    def _inverse(self, places: np.ndarray) -> np.ndarray:
        ends = np.array(self.places)[[0, -1]]
        v, width, z, height, start, end, secant = self._parts(places, np.array(self.places))
        rise = np.clip((places - z) / height, 0, 1)
        bend = rise * (start + end - 2 * secant)
        a, b, c = (secant - start) + bend, start - bend, -secant * rise
        share = -2 * c / (b + np.sqrt(np.maximum(b**2 - 4 * a * c, 0)))
        beyond = np.maximum(np.maximum(ends[0] - places, places - ends[1]), 0)
        # no model goes farther, and nothing overflows
        far = np.minimum(np.expm1(np.minimum(beyond, 500)), 1e300 * secant) / secant
        return v + width * share + np.where(places > ends[1], 1, -1) * far


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
        _check_scale(self.shift, self.scale)
        _check_scale(self.start, self.unit)
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
        place = int(min([*between[:1], *beyond[:1]]))
        other = "train on rows that hold such values too"
        if place in between:
            other = "give the column as a real number"
        return place, f"holds {values[place]:.12g}, where only {self.known} are known: leave out such rows, or {other}"

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

    @property
    def text(self) -> str:
        told = f", told as a density over {self.unit:g}" if self.tells_density else ""
        return f"probability of {self.known}{told}"

    @property
    def filling(self) -> float:
        return self.start

    @property
    def known(self) -> str:
        if self.num_levels is None:
            return f"multiples of {self.unit:g}" if self.unit != 1 else "whole numbers"
        last = self.start + (self.num_levels - 1) * self.unit
        steps = "" if self.unit == 1 else f" in steps of {self.unit:g}"
        return f"{counted(self.num_levels, 'level')}, {self.start:g} to {last:g}{steps}"

    def _value(self, k: np.ndarray) -> np.ndarray:
        # to a decimal as it would be written, not a sum with its rounding
        return np.round(self.start + k * self.unit, 12)


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
        there = ~np.isnan(values)
        x = np.zeros((len(values), self.num_categories))
        x[there, values[there].astype(np.int64)] = ONE_HOT
        x[~there] = np.nan
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

    @property
    def text(self) -> str:
        return f"probability of {counted(self.num_categories, 'category')}"


def fit_code(column: Column, values: Values) -> Code:
    """The code of a column, from those of its training values that are there.

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
    recorded = _recorded(values, column)
    if recorded is not None and recorded.unit >= FINEST * scale:
        has_ends = column.kind == "integer" and recorded.num_levels <= MOST_LEVELS
        return OnGrid(
            start=recorded.least,
            unit=recorded.unit,
            num_levels=recorded.num_levels if has_ends else None,
            shift=shift,
            scale=scale,
            tells_density=column.kind != "integer",
        )
    return real_code(values)


def real_code(values: Values) -> Scaled | Warped:
    """The code of real numbers that are not all the same: through the spline where their tails are heavy, or where they lie
    in heaps."""
    shift, scale, repeated = float(values.mean()), float(values.std()), _point_mass(values)
    num_knots = _enough_knots(values)
    if num_knots > _NUM_KNOTS[0] or (((values - shift) / scale) ** 4).mean() >= HEAVY:
        return Warped.fit(values, num_knots, repeated)
    return Scaled(shift, scale, repeated)


def _enough_knots(values: Values) -> int:
    """The number of knots that held-out values ask for: more than the fewest only where that gains surely, and enough."""
    shuffled = np.random.default_rng(0).permutation(values)[:MOST_VALUES]
    folds = np.arange(len(shuffled)) % _NUM_FOLDS
    few, *more = (n for n in _NUM_KNOTS if n <= max(_NUM_KNOTS[0], len(shuffled) // 2))

    def held_out(num_knots: int) -> Values:
        parts = [(shuffled[folds != fold], shuffled[folds == fold]) for fold in range(_NUM_FOLDS)]
        return np.concatenate([Warped.fit(rest, num_knots).log_density(fold) for rest, fold in parts if len(fold)])

    if len(shuffled) < 4 * few or not more or any(np.ptp(shuffled[folds != fold]) == 0 for fold in range(_NUM_FOLDS)):
        return few
    first = held_out(few)
    gains = {n: held_out(n) - first for n in more}
    best = max(more, key=lambda n: gains[n].mean())
    error = gains[best].std() / math.sqrt(len(first))
    return best if gains[best].mean() > max(LEAST_GAIN, 2 * error) else few


@dataclass(frozen=True)
class _Recorded:
    """The unit of which all values are multiples, the least of them, and how many there may be up to the largest."""

    least: float
    unit: float
    num_levels: int


def _recorded(values: np.ndarray, column: Column) -> _Recorded | None:
    """To which unit values were recorded: a multiple of a decimal, or of a third of one; None if they were to none."""
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
            return _Recorded(least, divisor / parts, int(steps.max()) // divisor + 1)
    return None


def _point_mass(values: np.ndarray) -> PointMass | None:
    """The value that most have, where they are `POINT_MASS` or more, and more than a few."""
    unique, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    share = float(counts[most] / len(values))
    return PointMass(float(unique[most]), share) if share >= POINT_MASS and counts[most] >= 5 else None


def _mass_text(repeated: PointMass | None) -> str:
    return "" if repeated is None else f"; {repeated.share:.1%} are {repeated.value:g}"


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)


def _check_scale(shift: float, scale: float) -> None:
    if not math.isfinite(shift) or not 0 < scale < math.inf:
        raise InputError(f"a shift of {shift} and a scale of {scale}: both finite, the scale above 0")
