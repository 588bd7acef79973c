"""What it takes for the values of one column to become entries of x, and to come back."""

import math
from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Bool, Float64

from lowerbound.blocks import Block, Real
from lowerbound.data.columns import Column
from lowerbound.errors import InputError
from lowerbound.words.counts import counted

Values = Float64[np.ndarray, " num_rows"]
Entries = Float64[np.ndarray, "num_rows width"]
Mask = Bool[np.ndarray, " num_rows"]
_ROUNDING = {"halffloat": 2.0**-10, "float": 2.0**-22}
"""Of numbers of a type, relative to them."""
_ROUNDING_OF_OTHERS = 2.0**-50


class Code(ABC):
    """How a column's values become entries of x: a dataclass."""

    @property
    def block(self) -> Block:
        """What the entries are to a model."""
        return Real()

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

    def rounded(self, values: Values, column: Column) -> Mask:
        """Which values are taken for the nearest that has a place."""
        return np.zeros(len(values), bool)

    def of_rounded(self, number: int) -> str:
        """What is said of so many values that are."""
        lie, are = ("lies", "is") if number == 1 else ("lie", "are")
        return f"{counted(number, 'value')} {lie} between the {self.known} of training, and {are} taken for the nearest"

    @property
    def known(self) -> str:
        """The values that have a place, in words."""
        return "values"

    def log_slope(self, x: Entries) -> Values:
        r"""What is added to the model's $\log p(x)$ for the value's own: $\log dx / dv$ of a density, $-\log u$ where
        probabilities are told as densities, 0 of a probability."""
        return np.zeros(len(x))

    @abstractmethod
    def text(self, column: Column) -> str:
        """What it is to the values of a column, in words."""

    def _check(self, values: Values, column: Column) -> None:
        """Refuse values without a place, with an InputError."""
        if (misplaced := self.misplaced(values, column)) is not None:
            raise InputError(f"column {column.name} {misplaced[1]}")

    @property
    def draws_tails_in(self) -> bool:
        """Whether x grows with the logarithm of a value that is far out."""
        return False

    @property
    def filling(self) -> float:
        """A value that has a place."""
        return 0.0

    @property
    def center(self) -> float:
        """A value about which the others lie, from which their digits count that are known."""
        return 0.0

    @property
    def value_range(self) -> tuple[float, float]:
        """What pictures draw as black and white: three standard deviations around the mean."""
        low, high = self.decode(np.array([[-3.0], [3.0]]))
        return float(low), float(high)


def rounding(column: Column) -> float:
    """How far off values may be by the type that they came in, relative to them."""
    return _ROUNDING.get(column.dtype, _ROUNDING_OF_OTHERS)


def check_scale(shift: float, scale: float) -> None:
    """Refuse, with an InputError, what is no shift or no scale."""
    if not math.isfinite(shift) or not 0 < scale < math.inf:
        raise InputError(f"a shift of {shift} and a scale of {scale}: both finite, the scale above 0")


def multiples(least: float, unit: float, k: np.ndarray) -> np.ndarray:
    """least + k unit, to decimals as they would be written, and not sums with their rounding."""
    decimals = next((d for d in range(7) if round(unit, d) == unit and round(least, d) == least), 12)
    exact = least + k * unit
    with np.errstate(over="ignore"):
        rounded = np.round(exact, decimals)
    return np.where(np.isfinite(rounded), rounded, exact)
