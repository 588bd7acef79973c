r"""How heavy the upper tail of draws is: whether their mean has an error that can be told from them.

Beyond a high threshold draws follow nearly a generalised Pareto law of the shape k (Pickands 1975), and have finite moments
of orders below 1 / k. From k = 1/2 on the variance is infinite; above 0.7 so many draws are needed that in practice neither
a mean nor its error can be relied on (Vehtari, Simpson, Gelman, Yao & Gabry 2024, section 3).
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from lowerbound.errors import InputError
from lowerbound.records import Measured

MOST_RELIABLE = 0.7
FEWEST_IN_TAIL = 20
FEWEST_DRAWS = 100
"""That have such a tail."""
_FEWEST_BEYOND = 5
"""Draws beyond the threshold, where the others are all the same: fewer are a tail of which nothing is known."""
_PRIOR_DRAWS = 10
"""Draws that the shape's prior, at 1/2, weighs as much as (Vehtari et al. 2024, appendix C)."""


def pareto_shape(draws: Float[np.ndarray, " num_draws"], share: float = 1.0) -> float:
    r"""$\hat k$ of the upper tail: its min(S / 5, 3 \sqrt S) largest of S draws, or a share of these.

    The posterior mean of Zhang & Stephens (2009), weakly drawn to 1/2; -inf where all of the tail is the same.

    Arguments:
        draws: what a mean is taken of, such as importance weights; finite.
        share: of the largest draws, those that are looked at, at least `FEWEST_IN_TAIL`.

    Raises:
        InputError: for fewer than a hundred draws, or if one is not finite.
    """
    draws = np.asarray(draws, np.float64)
    whole_tail = math.ceil(min(len(draws) / 5, 3 * len(draws) ** 0.5))
    num_tail = min(whole_tail, max(FEWEST_IN_TAIL, math.ceil(share * whole_tail)))
    if num_tail < FEWEST_IN_TAIL:
        raise InputError(f"{len(draws)} draws have a tail of {num_tail}: its shape takes a hundred draws or more")
    if not np.isfinite(draws).all():
        raise InputError("draws that are not finite have no tail: leave them out or mend them")
    tail = np.sort(draws)[-num_tail - 1 :]
    excess = tail[1:] - tail[0]
    if excess[-1] <= 1e-12 * abs(tail[0]):
        return -math.inf
    excess = excess[excess > 1e-12 * excess[-1]]  # a tie with the threshold is not beyond it
    if len(excess) < _FEWEST_BEYOND:
        return math.inf
    num_tail, shape = len(excess), _zhang_stephens(excess)
    return (num_tail * shape + _PRIOR_DRAWS * 0.5) / (num_tail + _PRIOR_DRAWS)


def shape_of_tails(draws: Float[np.ndarray, " num_draws"]) -> float:
    r"""$\hat k$ of the heavier of both tails of what a mean is taken of, judged at two thresholds.

    A heap of draws at the threshold, as a bound of one draw each has where its noise is known, looks like a heavy tail;
    above the higher one it does not, and a law whose tail is heavy is heavy above both.

    Raises:
        InputError: as `pareto_shape` does.
    """
    draws = np.asarray(draws, np.float64)
    return max(min(pareto_shape(sign * draws, share) for share in (1.0, 0.5)) for sign in (1, -1))


def mean_of_draws(draws: Float[np.ndarray, " num_draws"]) -> Measured:
    """The mean and its standard error, which is NaN, not known, where the tails' shape is above `MOST_RELIABLE`.

    Fewer than `FEWEST_DRAWS` draws have the error that they have: their tail cannot be judged.
    """
    mean = Measured.of(draws)
    if len(draws) < FEWEST_DRAWS or not np.isfinite(draws).all():
        return mean
    return mean if shape_of_tails(draws) <= MOST_RELIABLE else Measured(mean.value, math.nan)


def _zhang_stephens(excess: Float[np.ndarray, " num_tail"]) -> float:
    """The shape of a generalised Pareto law from its sorted draws (Zhang & Stephens 2009, section 3)."""
    num = len(excess)
    num_grid = 30 + int(num**0.5)
    quartile = excess[int(num / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - (num_grid / (np.arange(1, num_grid + 1) - 0.5)) ** 0.5) / (3 * quartile)
    shapes = np.log1p(-theta[:, None] * excess).mean(1)
    log_likelihood = num * (np.log(-theta / shapes) - shapes - 1)
    return float(np.log1p(-(softmax(log_likelihood) @ theta) * excess).mean())
