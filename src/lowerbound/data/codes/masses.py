r"""The code of real numbers of which a share is one and the same value, such as rain, of which most days have none:
semicontinuous, or zero-inflated.

No density has a value at such a point: one that is trained on it grows there without an end. So the value has a probability
of its own, and what is told of any other is a density, $P(\text{other})\, p(v)$ with p that of the others' own code:

$$\log p(v) = \log P(v_k) \text{ if } v = v_k, \qquad \log P(\text{other}) + \log p(x) + \log \frac{dx}{dv} \text{ else}.$$

In x stands which of them it is, and beside it the number's x. Where it is $v_k$ noise z of N(0, 1) stands there, and its own
density is taken out again, $-\log N(z; 0, 1)$: a bound that is met by a model which knows that nothing depends on z
(`blocks`).
"""

import math
from dataclasses import dataclass

import numpy as np

from lowerbound.blocks import ONE_HOT, ChoiceOrReal
from lowerbound.data.codes.code import Code, Entries, Values
from lowerbound.data.codes.reals import Scaled, Warped
from lowerbound.data.columns import Column
from lowerbound.data.tables.arrow_values import from_floats
from lowerbound.errors import InputError

_NAMED = 2
"""Values that a description names."""
_FARTHEST = 3.0
"""Standard deviations of the other numbers, from which a value that stands for something else, such as -999, does not."""
ANY = Column("any", "real", "double")


@dataclass(frozen=True)
class PointMasses(Code):
    """One of some values, or any other number.

    Arguments:
        values: $v_k$, increasing.
        shares: of each in training.
        other: the code of the other numbers.
    """

    values: tuple[float, ...]
    shares: tuple[float, ...]
    other: Scaled | Warped

    def __post_init__(self):
        if len(self.values) != len(self.shares) or not (np.diff(self.values) > 0).all():
            raise InputError(
                f"{len(self.values)} values with {len(self.shares)} shares: one of each, values increasing"
            )
        if not np.isfinite(self.values).all():
            raise InputError("a value with a probability of its own is finite")
        _ = self.block

    @property
    def block(self) -> ChoiceOrReal:
        places = self.other.encode(np.array(self.values), ANY)[:, 0]
        return ChoiceOrReal(tuple(np.clip(places, -_FARTHEST, _FARTHEST).tolist()), self.shares)

    def encode(self, values: Values, column: Column) -> Entries:
        """With 0 where noise belongs."""
        place = np.searchsorted(self.values, values)
        is_one = np.array([*self.values, np.nan])[place] == values
        chosen = np.where(is_one, place, len(self.values))
        of_choice = ONE_HOT * (chosen[:, None] == np.arange(len(self.values) + 1))
        number = np.where(is_one[:, None], 0.0, self.other.encode(values, column))
        return np.where(np.isnan(values)[:, None], np.nan, np.concatenate([of_choice, number], 1))

    def decode(self, x: Entries) -> Values:
        number, chosen = self.other.decode(x[:, -1:]), x[:, :-1].argmax(1)
        # of a missing one the first of all is chosen, and the number is NaN
        is_one = (chosen < len(self.values)) & ~np.isnan(x[:, -1])
        return np.where(is_one, np.array([*self.values, math.nan])[chosen], number)

    def log_slope(self, x: Entries) -> Values:
        is_other, z = x[:, -2] > ONE_HOT / 2, x[:, -1]
        return np.where(is_other, self.other.log_slope(x[:, -1:]), (z**2 + math.log(2 * math.pi)) / 2)

    def text(self, column: Column) -> str:
        most = np.argsort(self.shares)[::-1][:_NAMED]
        named = ", ".join(f"{_shown(self.values[k], column)} ({self.shares[k]:.1%})" for k in most)
        others = f" and {len(self.values) - _NAMED} more" * (len(self.values) > _NAMED)
        return f"probability of {named}{others}; elsewhere {self.other.text(column)}"

    @property
    def draws_tails_in(self) -> bool:
        return self.other.draws_tails_in

    @property
    def filling(self) -> float:
        return self.values[0]

    @property
    def center(self) -> float:
        return self.other.center

    @property
    def value_range(self) -> tuple[float, float]:
        low, high = self.other.value_range
        return min(low, self.values[0]), max(high, self.values[-1])


def _shown(value: float, column: Column) -> str:
    return str(from_floats(np.array([value]), column)[0]) if column.kind == "date" else f"{value:g}"
