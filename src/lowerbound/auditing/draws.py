"""Figures that are means of random draws: whether the draws' tail leaves the mean an error."""

import numpy as np

from lowerbound.auditing.check import Check
from lowerbound.auditing.subject import Points
from lowerbound.tails import MOST_RELIABLE, heavier_tail

NO_LAW = ", whose tail follows no law that has such a shape"
MORE_DRAWS = "a heap of draws at the threshold looks like a heavy tail: with ten times as many it can be told"


def heavy_tails(draws: Points) -> Check:
    """Of the draws of several points, (N, num_draws), each in units of its point's median size."""
    name, claim = "tails of the draws", "what is averaged has a variance, so that its mean has an error"
    unit = np.median(np.abs(draws), axis=1, keepdims=True) + 1e-300
    shape, is_pareto = heavier_tail((draws / unit).reshape(-1))
    seen = f"k-hat {shape:.2f} of {draws.size:,} draws"
    if shape <= MOST_RELIABLE:
        return Check(name, claim, "pass", seen, "", shape)
    if not is_pareto:
        return Check(name, claim, "can't tell", seen + NO_LAW, MORE_DRAWS, shape)
    remedy = "the mean and its error are made by draws that were never seen: draw where the integrand is large"
    return Check(name, claim, "fail", seen, remedy, shape)
