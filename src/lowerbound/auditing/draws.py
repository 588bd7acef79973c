"""Figures that are means of random draws: whether the draws' tail leaves the mean an error."""

import numpy as np

from lowerbound.auditing.check import Check
from lowerbound.auditing.subject import Points
from lowerbound.tails import MOST_RELIABLE, shape_of_tails


def heavy_tails(draws: Points) -> Check:
    """Of the draws of several points, (N, num_draws), each in units of its point's median size."""
    name, claim = "tails of the draws", "what is averaged has a variance, so that its mean has an error"
    unit = np.median(np.abs(draws), axis=1, keepdims=True) + 1e-300
    shape = shape_of_tails((draws / unit).reshape(-1))
    seen = f"k-hat {shape:.2f} of {draws.size:,} draws"
    if shape <= MOST_RELIABLE:
        return Check(name, claim, "pass", seen, "", shape)
    remedy = "the mean and its error are made by draws that were never seen: draw where the integrand is large"
    return Check(name, claim, "fail", seen, remedy, shape)
