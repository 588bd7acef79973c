"""Is log p a function of x, and its slope the one that is stated? Batches, order, repeats, a finer solver, derivatives."""

import math

import numpy as np
from scipy.special import chdtrc

from lowerbound.auditing.check import Check, Question
from lowerbound.auditing.subject import Figures, Points, Subject
from lowerbound.errors import InputError

RELATIVE = 1e-3
"""By which two figures of one point may differ, of its size or of one nat."""
NUM_POINTS = 48
"""That are looked at, if their log densities are not dear."""
MOST_ALONE = 12
NUM_REFINED = 8
MOST_CHANGE = 5.0
"""Standard errors of a change: a stated error may itself be estimated, by the spread of a few draws."""
_STEP = 1e-3
"""Of a finite difference, in standard deviations of the points."""


def repeats(subject: Subject, x: Points) -> Check:
    """The same points again: the same figures, or figures that differ as much as their errors say."""
    question = Question("repeats", "a point has one log density, or an error that covers how much it changes")
    (first, errors), (second, other_errors) = subject.log_prob(x), subject.log_prob(x)
    change, tolerance = _change(first, second), _tolerance(first)
    if errors is None:
        worst = int(np.argmax(np.abs(change) / tolerance))
        most = np.abs(change).max()
        remedy = f"the figure is random (point {worst} changes by {change[worst]:+.3g}) and states no error: state it"
        is_same = (np.abs(change) <= tolerance).all()
        return question.judged(is_same, f"changes by up to {most:.2g} nats", remedy, most)
    scale = np.sqrt(_variance(first, errors) + _variance(second, other_errors) + (tolerance / 4) ** 2)
    ratio = float(((change / scale) ** 2).mean())
    chance = float(chdtrc(len(x), ratio * len(x)))
    seen = f"changes are {math.sqrt(ratio):.2f} times as wide as the stated errors, p = {chance:.2g}"
    remedy = "the stated error is too small: probes or draws that are not independent"
    return question.judged(chance >= 1e-4, seen, remedy, ratio)


def batches(subject: Subject, x: Points) -> Check:
    """Alone, in another order and together."""
    question = Question("batches", "the log density of a point does not depend on the points beside it")
    if len(x) == 1:
        return question.untold("a single point was looked at", "more time (--minutes)")
    order = np.random.default_rng(0).permutation(len(x))
    together, shuffled = subject.log_prob(x), subject.log_prob(x[order])
    alone = [subject.log_prob(x[i : i + 1]) for i in range(min(MOST_ALONE, len(x)))]
    rows = np.concatenate([order, np.arange(len(alone))])  # the point that each of the other figures is of
    others = np.concatenate([values for values, _ in [shuffled, *alone]])
    variance = np.concatenate([_variance(*figures) for figures in [shuffled, *alone]]) + _variance(*together)[rows]
    change = np.abs(_change(together[0][rows], others))
    allowed = _tolerance(together[0])[rows] + MOST_CHANGE * np.sqrt(variance)
    point = rows[np.argmax(change / allowed)]
    remedy = f"point {point} has another density in another batch: statistics of a batch, or random draws, enter it"
    return _within(question, change, allowed, remedy)


def refinement(subject: Subject, x: Points) -> Check:
    """At a tenth of the tolerance or of the step, and in double precision, of a few points."""
    assert subject.refinement is not None
    claim = "a tenth of the tolerance, or of the step, and double precision change log p by no more than its error"
    question = Question("refinement", claim)
    try:
        values, finer, errors = subject.refinement(x[:NUM_REFINED])
    except InputError as error:
        return question.untold(f"the finer figure cannot be had: {error}", "a larger budget of steps")
    change, allowed = np.abs(_change(values, finer)), _tolerance(finer) + MOST_CHANGE * np.nan_to_num(errors)
    remedy = "too few steps, too large a tolerance, or too little precision: compute more finely, or state the error"
    return _within(question, change, allowed, remedy)


def _within(question: Question, change: Figures, allowed: Figures, remedy: str) -> Check:
    """Whether no figure changes by more than it may."""
    worst = int(np.argmax(change / allowed))
    seen = f"changes by up to {change[worst]:.2g} nats, of {allowed[worst]:.2g} allowed"
    return question.judged(change[worst] <= allowed[worst], seen, remedy, change[worst], allowed[worst])


def slopes(subject: Subject, x: Points, scale: np.ndarray) -> list[Check]:
    """Derivatives of log p, as differentiated and as stated, against finite differences along random directions.

    Arguments:
        subject: the density.
        x: where, (N, D).
        scale: its spread in each dimension, positive, (D,).
    """
    checks = []
    for name, slope in (("gradient", subject.gradient), ("score", subject.score)):
        if slope is None:
            continue
        question = Question(name, f"the {name} is the slope of log p")
        directions = np.random.default_rng(0).standard_normal(x.shape)
        directions *= scale / np.linalg.norm(directions, axis=1, keepdims=True)
        try:
            stated = (slope(x) * directions).sum(1)
        except RuntimeError as error:
            checks.append(question.untold(f"it cannot be had: {error}"))
            continue
        # the best step of a difference in the precision at hand: two are taken, and their disagreement is the error
        first, second = (_difference(subject, x, directions, step) for step in (_STEP, 4 * _STEP))
        allowed = 4 * np.abs(first - second) + 0.01 * np.maximum(1, np.abs(first))
        off = np.abs(stated - first)
        wrong = off > allowed
        worst = int(np.argmax(off / allowed))
        seen = f"{wrong.mean():.0%} of {len(x)} slopes are off, at worst {stated[worst]:.4g} for {first[worst]:.4g}"
        is_turned = np.abs(stated + first).mean() < 0.1 * np.abs(stated - first).mean()
        remedy = "the sign is turned" if is_turned else "a term is not differentiated, or counted twice"
        is_slope = wrong.mean() <= 0.1  # kinks of a piecewise smooth density
        checks.append(question.judged(is_slope, seen, remedy, off[worst], allowed[worst]))
    return checks


def _tolerance(figures: Figures) -> Figures:
    """By which figures of the same points may differ."""
    return RELATIVE * np.maximum(1, np.abs(np.nan_to_num(figures, posinf=0, neginf=0)))


def _variance(figures: Figures, errors: Figures | None) -> Figures:
    """Of figures with stated errors; none where no error is stated."""
    return np.zeros_like(figures) if errors is None else np.nan_to_num(errors) ** 2


def _change(first: Figures, second: Figures) -> Figures:
    """Of the figures of points: none where both are the same, infinite or no number, and infinite where one of them is."""
    with np.errstate(invalid="ignore"):
        change = second - first
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    return np.where(same, 0.0, np.where(np.isnan(change), np.inf, change))


def _difference(subject: Subject, x: Points, directions: Points, step: float) -> np.ndarray:
    high, low = subject.log_prob(x + step * directions)[0], subject.log_prob(x - step * directions)[0]
    return (high - low) / (2 * step)
