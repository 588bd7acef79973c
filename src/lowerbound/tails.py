r"""How heavy the upper tail of draws is: whether their mean has an error that can be told from them.

Beyond a high threshold draws follow nearly a generalised Pareto law of the shape k (Pickands 1975), and have finite moments
of orders below 1 / k. From k = 1/2 on the variance is infinite; above 0.7 so many draws are needed that in practice neither
a mean nor its error can be relied on (Vehtari, Simpson, Gelman, Yao & Gabry 2024, section 3).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from lowerbound.errors import InputError
from lowerbound.files.records import Measured

MOST_RELIABLE = 0.7
FEWEST_IN_TAIL = 20
FEWEST_DRAWS = 100
"""That have such a tail."""
_FEWEST_BEYOND = 5
"""Draws beyond the threshold, where the others are all the same: fewer are a tail of which nothing is known."""
_WORST_FIT = 1.1
"""Of the distance of distribution functions by the root of the draws, from a law that was fitted to them: chance makes more
of it once in a hundred times."""
_PRIOR_DRAWS = 10
"""Draws that the shape's prior, at 1/2, weighs as much as (Vehtari et al. 2024, appendix C)."""


class Tail(NamedTuple):
    r"""What is known of a tail.

    Arguments:
        shape: $\hat k$.
        is_pareto: whether the draws beyond the threshold follow a generalised Pareto law; if not, the shape is that of a law
            which they do not have, such as a heap of draws or whole numbers.
    """

    shape: float
    is_pareto: bool


def pareto_shape(draws: Float[np.ndarray, " num_draws"]) -> float:
    r"""$\hat k$ of the upper tail: its min(S / 5, 3 \sqrt S) largest of S draws.

    The posterior mean of Zhang & Stephens (2009), weakly drawn to 1/2; -inf where all of the tail is the same, inf where
    fewer than five draws differ from it. Its standard error is $1 + k$ over the root of the tail's draws, 0.2 for a thousand
    draws of k = 1. It is the shape of a law that is taken for granted: a heap of draws just beyond the threshold makes it
    large, however light what is farther out (`upper_tail` looks at that).

    Arguments:
        draws: what a mean is taken of, such as importance weights; finite.

    Raises:
        InputError: for fewer than a hundred draws, or if one is not finite.
    """
    return _beyond(draws, 1.0).shape


def upper_tail(draws: Float[np.ndarray, " num_draws"]) -> Tail:
    """The smaller shape above two thresholds, of all and of half of the tail's draws: a heavy tail is heavy above both.

    Where the draws follow no generalised Pareto law a third is looked at, of a quarter.

    Raises:
        InputError: as `pareto_shape` does.
    """
    whole, half = _beyond(draws, 1.0), _beyond(draws, 0.5)
    if whole.is_pareto:
        return Tail(min(whole.shape, half.shape), True)
    return Tail(min(whole.shape, half.shape, _beyond(draws, 0.25).shape), False)


def heavier_tail(draws: Float[np.ndarray, " num_draws"]) -> Tail:
    """The heavier of both tails of what a mean is taken of.

    Raises:
        InputError: as `pareto_shape` does.
    """
    draws = np.asarray(draws, np.float64)
    return max(upper_tail(draws), upper_tail(-draws))


def mean_of_draws(draws: Float[np.ndarray, " num_draws"]) -> Measured:
    """The mean and its standard error, which is NaN, not known, where the tails' shape is above `MOST_RELIABLE`.

    Fewer than `FEWEST_DRAWS` draws have the error that they have: their tail cannot be judged.
    """
    mean = Measured.of(draws)
    if len(draws) < FEWEST_DRAWS or not np.isfinite(draws).all():
        return mean
    return mean if heavier_tail(draws).shape <= MOST_RELIABLE else Measured(mean.value, math.nan)


def _beyond(draws: Float[np.ndarray, " num_draws"], share: float) -> Tail:
    """Of a share of the tail's draws, at least `FEWEST_IN_TAIL`."""
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
        return Tail(-math.inf, True)
    excess = excess[excess > 1e-12 * excess[-1]]  # a tie with the threshold is not beyond it
    if len(excess) < _FEWEST_BEYOND:
        return Tail(math.inf, True)
    return _zhang_stephens(excess)


def _zhang_stephens(excess: Float[np.ndarray, " num_tail"]) -> Tail:
    r"""A generalised Pareto law fitted to sorted draws (Zhang & Stephens 2009, section 3), and how far they are from it.

    Its distribution function is $1 - (1 - \theta x)^{-1 / k}$.
    """
    num = len(excess)
    num_grid = 30 + int(num**0.5)
    quartile = excess[int(num / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - (num_grid / (np.arange(1, num_grid + 1) - 0.5)) ** 0.5) / (3 * quartile)
    theta[theta == 0] = 1e-12 / excess[-1]  # the exponential law, as a limit; whole numbers meet it exactly
    shapes = np.log1p(-theta[:, None] * excess).mean(1)
    log_likelihood = num * (np.log(-theta / shapes) - shapes - 1)
    theta = softmax(log_likelihood) @ theta
    logs = np.log1p(-theta * excess)
    shape = float(logs.mean())
    below = -np.expm1(-logs / shape)
    steps = np.arange(num + 1) / num
    distance = max((steps[1:] - below).max(), (below - steps[:-1]).max())
    return Tail((num * shape + _PRIOR_DRAWS * 0.5) / (num + _PRIOR_DRAWS), bool(num**0.5 * distance <= _WORST_FIT))
