r"""Codes of real numbers: shifted and scaled, or through a spline that makes them about normal.

T takes the training values' quantiles to those of a normal distribution, smoothly: a monotone rational-quadratic spline
through knots (Gregory & Delbourgo 1982), beyond its last knots $z_J + \log(1 + T'(v_J) (v - v_J))$, so that what is ten
times as far is not ten times as large. Where values lie in heaps, such as rounded ones with noise on them, T has as many
knots as tell most of training values that it was not fitted to: it spreads the heaps out, which a network would have to
find.
"""

import math
from dataclasses import dataclass

import numpy as np

from lowerbound.data.codes.code import Code, Entries, Values, check_scale, multiples
from lowerbound.data.columns import Column
from lowerbound.errors import InputError

HEAVY = 9.0
"""The kurtosis from which on a column counts as heavy-tailed: a normal distribution has 3, an exponential one 9."""
MOST_VALUES = 5_000
"""From which the number of knots is chosen, at most."""
LEAST_GAIN = 0.02
"""In nats per value, of more knots."""
MOST_SEARCHED = 1_000
"""Columns of a table up to which each is looked at for heaps, which takes a few milliseconds a column."""
_NUM_KNOTS = (25, 50, 100, 200, 400)
_NUM_FOLDS = 5
_FARTHEST = 3.0


@dataclass(frozen=True)
class Recorded:
    """The unit of which all values are whole multiples, counted from the least of them."""

    least: float
    unit: float

    def __post_init__(self):
        check_scale(self.least, self.unit)

    def nearest(self, values: Values) -> Values:
        """The nearest multiples."""
        return multiples(self.least, self.unit, np.rint((values - self.least) / self.unit))


@dataclass(frozen=True)
class Scaled(Code):
    """Shifted and scaled.

    Arguments:
        shift, scale: subtracted, divided by.
        recorded: to what values were recorded, if they were, and draws are rounded.
    """

    shift: float
    scale: float
    recorded: Recorded | None = None

    def __post_init__(self):
        check_scale(self.shift, self.scale)

    def encode(self, values: Values, column: Column) -> Entries:
        return ((values - self.shift) / self.scale)[:, None]

    def decode(self, x: Entries) -> Values:
        values = x[:, 0] * self.scale + self.shift
        return values if self.recorded is None else self.recorded.nearest(values)

    def log_slope(self, x: Entries) -> Values:
        return np.full(len(x), -math.log(self.scale))

    @property
    def center(self) -> float:
        return self.shift

    def text(self, column: Column) -> str:
        return "density, scaled"


@dataclass(frozen=True)
class Warped(Code):
    """Through the spline T.

    Arguments:
        knots: $v_j$, increasing.
        places: $z_j = T(v_j)$, increasing.
        recorded: as of `Scaled`.
    """

    knots: tuple[float, ...]
    places: tuple[float, ...]
    recorded: Recorded | None = None

    def __post_init__(self):
        v, z = np.array(self.knots), np.array(self.places)
        if len(v) < 2 or v.shape != z.shape or not (np.diff(v) > 0).all() or not (np.diff(z) > 0).all():
            raise InputError(f"{len(v)} knots at {len(z)} places: at least two of each, both increasing")
        if not np.isfinite([*v, *z]).all():
            raise InputError("a knot or a place is not finite")

    @classmethod
    def fit(cls, values: Values, num_knots: int) -> "Warped":
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
        return cls(tuple(knots.tolist()), tuple(places.tolist()))

    def encode(self, values: Values, column: Column) -> Entries:
        return self._spline(values)[0][:, None]

    def decode(self, x: Entries) -> Values:
        values = self._inverse(x[:, 0])
        return values if self.recorded is None else self.recorded.nearest(values)

    def log_slope(self, x: Entries) -> Values:
        return np.log(self._spline(self._inverse(x[:, 0]))[1])

    def text(self, column: Column) -> str:
        return f"density, made about normal by {len(self.knots)} quantiles"

    def log_density(self, values: Values) -> Values:
        r"""$\log N(T(v); 0, 1) + \log T'(v)$: of each value by itself, in nats."""
        z, slope = self._spline(values)
        return -(z**2) / 2 - math.log(2 * math.pi) / 2 + np.log(slope)

    @property
    def draws_tails_in(self) -> bool:
        return True

    @property
    def filling(self) -> float:
        return self.knots[0]

    @property
    def center(self) -> float:
        return self.knots[len(self.knots) // 2]

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


def real_code(values: Values, *, may_heap: bool = True) -> Scaled | Warped:
    """The code of real numbers that are not all the same: through the spline where their tails are heavy, or where they lie
    in heaps.

    Arguments:
        values: of training.
        may_heap: whether to look for heaps.
    """
    shift, scale = float(values.mean()), float(values.std())
    num_knots = _enough_knots(values) if may_heap else _NUM_KNOTS[0]
    if num_knots > _NUM_KNOTS[0] or (((values - shift) / scale) ** 4).mean() >= HEAVY:
        return Warped.fit(values, num_knots)
    return Scaled(shift, scale)


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
