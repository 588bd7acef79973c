"""Which code the values of a column, or of a channel, ask for."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from lowerbound.data.codes import AnyCode, OneHot, OnGrid, PointMasses, Scaled
from lowerbound.data.codes.code import Values, rounding
from lowerbound.data.codes.reals import Recorded, real_code
from lowerbound.data.columns import Column
from lowerbound.errors import InputError

FINEST = math.exp(-6)
r"""The finest unit of a grid, in standard deviations: the noise at $\gamma = -12$, at which a decoder of real numbers reads.
Noise of a unit or more blurs its multiples to one part in $10^8$ (Poisson's summation formula: $2 e^{-2 \pi^2}$ to the first
power), so that a finer one can't be seen, and a density is told."""
LEAST_SHARE = 0.02
"""Of the values that are there, of one that is frequent."""
FEWEST = 5
"""Of these."""
MOST_LEVELS = 256
"""Of an integer column whose ends are taken for the last that there are."""
_DECIMALS = 6
_FEWEST_APART = 4
"""Different values from which on a unit is read off them that is no decimal."""
Frequent = Float64[np.ndarray, " num_frequent"]


def fit_code(
    column: Column,
    values: Values,
    *,
    may_heap: bool = True,
    may_be_recorded: bool = True,
    densities: bool = False,
    least_share: float = LEAST_SHARE,
) -> AnyCode:
    """The code of a column, from those of its training values that are there.

    Arguments:
        column: what its values are.
        values: of training.
        may_heap: whether to look for heaps of real numbers.
        may_be_recorded: whether to look for a unit that all values are multiples of.
        densities: whether all real numbers and dates are to have densities, repeated ones too.
        least_share: of values with a probability of their own.

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
    recorded, num_levels = _recorded(values, column) if may_be_recorded else (None, 0)
    densities = densities and column.kind != "integer"
    if recorded is not None and recorded.unit >= FINEST * scale and not densities:
        has_ends = column.kind == "integer" and num_levels <= MOST_LEVELS
        return OnGrid(
            start=recorded.least,
            unit=recorded.unit,
            num_levels=num_levels if has_ends else None,
            shift=shift,
            scale=scale,
            tells_density=column.kind != "integer",
        )
    own, shares = (np.empty(0), np.empty(0)) if densities else frequent(values, least_share)
    others = values[~np.isin(values, own)]
    # of others that are too few for a code of their own nothing is known but where the values lie
    other = real_code(others, may_heap=may_heap) if len(others) and np.ptp(others) > 0 else Scaled(shift, scale)
    other = replace(other, recorded=recorded)
    return PointMasses(tuple(own.tolist()), tuple(shares.tolist()), other) if len(own) else other


def frequent(values: np.ndarray, least_share: float = LEAST_SHARE) -> tuple[Frequent, Frequent]:
    """The values that a share of all have, increasing, and their shares; none if no value is so frequent.

    Arguments:
        values: (N,), of any type.
        least_share: of all.
    """
    unique, counts = np.unique(values, return_counts=True)
    is_frequent = counts >= max(FEWEST, least_share * len(values))
    return unique[is_frequent].astype(np.float64), counts[is_frequent] / len(values)


def _recorded(values: Values, column: Column) -> tuple[Recorded | None, int]:
    """To which unit values were recorded, a multiple of a decimal, of a third of one, or whatever it is that two values are
    apart at least, and how many multiples there may be up to the largest; None if they were to none."""
    least, share = float(values.min()), rounding(column)
    for parts in (10.0**decimals * thirds for thirds in (1, 3) for decimals in range(_DECIMALS + 1)):
        if (whole := _whole(values * parts, share)) is None:
            continue
        steps = (whole - whole.min()).astype(np.int64)
        divisor = int(np.gcd.reduce(steps))
        if divisor:
            return Recorded(least, divisor / parts), int(steps.max()) // divisor + 1
    unique = np.unique(values)
    if len(unique) < _FEWEST_APART:
        return None, 0
    extent = unique[-1] - least
    # of two values next to each other rounding is a larger share than of the first and the last
    with np.errstate(over="ignore"):
        num_steps = np.rint(extent / np.diff(unique).min())
    of_extent = share * max(1.0, np.abs(unique).max() / extent)
    if not num_steps < math.inf or _whole((unique - least) * (num_steps / extent), of_extent) is None:
        return None, 0
    return Recorded(least, float(extent / num_steps)), int(num_steps) + 1


def _whole(scaled: Values, share: float) -> Values | None:
    """The whole numbers that these are but for rounding by a share of the largest; None if they are none, or rounding may
    hide it."""
    allowed = 1e-6 + np.abs(scaled).max() * share
    whole = np.rint(scaled)
    return None if allowed > 0.01 or np.abs(scaled - whole).max() > allowed else whole
