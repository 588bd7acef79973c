r"""How well a mean of few draws is known.

Of draws $d_1 .. d_n$ in the order of a place along which their mean has a trend, one from each of n equal parts, the
variance of the mean is estimated from second differences $u_k = d_{k-1} - 2 d_k + d_{k+1}$,

$$\frac{1}{6 n (n - 2)} \sum_k u_k^2,$$

which hold the noise of three and nothing of a straight trend (Wolter 2007, "Introduction to variance estimation", section
8.2); of two draws from their difference, trend and all. One draw says nothing.

An error from few draws is itself uncertain: an interval of 95 % is Student's quantile t wide, not 2. Its degrees of freedom
are those of normal draws of one variance, $(n - 2)^2 / (n - 2 + \frac89 (n - 3) + \frac1{18} (n - 4))$ as neighbouring
differences share draws, or fewer where few differences hold most of the sum (after Satterthwaite 1946).
"""

import math

import numpy as np
from jaxtyping import Float

Draws = Float[np.ndarray, "num_examples num_draws"]
Errors = Float[np.ndarray, " num_examples"]

LEVEL = 0.95
"""Of all intervals."""


def error_of_mean(draws: Draws) -> tuple[Errors, Errors]:
    """The standard error of each row's mean, and half of an interval of 95 %; NaN for a single draw.

    Arguments:
        draws: (N, n), one from each of n equal parts, in order.
    """
    num_draws = draws.shape[1]
    if num_draws == 1:
        unknown = np.full(len(draws), math.nan)
        return unknown, unknown
    order = min(2, num_draws - 1)
    squares = np.diff(draws, order, axis=1) ** 2
    count = squares.shape[1]
    error = np.sqrt(squares.sum(1) / (math.comb(2 * order, order) * num_draws * count))
    most = count if order == 1 else count**2 / (count + 8 / 9 * max(count - 1, 0) + max(count - 2, 0) / 18)
    # the fourth moment of a normal number is three times the square of its second
    even = (3 * squares.sum(1) ** 2 / np.maximum((squares**2).sum(1), np.finfo(float).tiny) - 2) * most / count
    return error, half_interval(error, np.clip(even, 1, most))


def half_interval(error: Errors, degrees_of_freedom: Errors | int) -> Errors:
    """Student's quantile of 95 % times the error."""
    from scipy.special import stdtrit

    return error * stdtrit(degrees_of_freedom, (1 + LEVEL) / 2)
