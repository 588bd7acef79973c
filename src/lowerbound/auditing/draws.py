"""Figures that are means: whether the tail of what is averaged leaves the mean an error."""

import numpy as np

from lowerbound.auditing.check import Check, Question
from lowerbound.auditing.subject import Figures, Points
from lowerbound.tails import MOST_RELIABLE, heavier_tail


def heavy_tails(draws: Points) -> Check:
    """Of the draws of several points, (N, num_draws), each in units of its point's median size."""
    question = Question("tails of the draws", "what is averaged has a variance, so that its mean has an error")
    unit = np.median(np.abs(draws), axis=1, keepdims=True) + 1e-300
    remedy = "the mean and its error are made by draws that were never seen: draw where the integrand is large"
    return judged_tail(question, (draws / unit).reshape(-1), "draws", remedy)


def judged_tail(question: Question, values: Figures, noun: str, remedy: str) -> Check:
    """Whether the mean of values has an error, by the heavier of their tails.

    Arguments:
        question: that it answers.
        values: finite, (N,).
        noun: for several of them.
        remedy: of a heavy tail.

    Raises:
        InputError: as `heavier_tail` does.
    """
    shape, is_pareto = heavier_tail(values)
    finding = f"k-hat {shape:.2f} of {len(values):,} {noun}"
    if shape <= MOST_RELIABLE or is_pareto:
        return question.judged(shape <= MOST_RELIABLE, finding, remedy, shape)
    finding += ", whose tail follows no law that has such a shape"
    remedy = "a heap of draws at the threshold looks like a heavy tail: with ten times as many it can be told"
    return question.untold(finding, remedy, shape)
