"""Against what is known of the data: their own density, that they are of levels, that they were trained on."""

import math

import numpy as np
from jaxtyping import Float

from lowerbound.auditing.allowance import BOUNDED, DRAWS, TRUTH, Allowance
from lowerbound.auditing.check import Check, Question, Untold
from lowerbound.auditing.columns import Columns
from lowerbound.auditing.integral import MOST_ERRORS, TOLERANCE, Weighted
from lowerbound.auditing.subject import Figures, Points, Subject
from lowerbound.files.records import Measured
from lowerbound.words.counts import counted

MOST_BOUNDED = 256
MOST_REPEATED = 0.05
"""The share of values that occur more than once in a column, above which they are of levels and no reals."""


def below_truth(allowance: Allowance, truth: Subject, num: int, seed: int) -> Check:
    """No density is on average above the one that points were drawn from."""
    assert truth.sample is not None
    x = truth.sample(num, seed)
    log_p, _ = allowance.log_prob(x, "samples of the truth", TRUTH)
    return _gibbs("never above the truth", log_p - truth.log_prob(x[: len(log_p)])[0])


def below_proposal(weighted: Weighted | Untold) -> Check:
    """The same of the proposal, in any number of dimensions and however far it is from the density."""
    return _gibbs("never above the proposal", weighted if isinstance(weighted, Untold) else weighted.log_weights)


def below_columns(allowance: Allowance, columns: Columns, num: int, seed: int) -> Check:
    """No mass is on average above that of draws of independent columns, however far they are from it."""
    x = columns.sample(num, seed)
    log_p, _ = allowance.log_prob(x, "draws", DRAWS)
    claim = "no mass, and no bound on one, has a larger mean log than that which the points were drawn from"
    remedy = "it is no mass: a wrong sign, a mean over entries for their sum, a constant, or a density"
    return _gibbs("never above independent columns", log_p - columns.log_prob(x[: len(log_p)]), claim, remedy)


def bound_below(allowance: Allowance, x: Points) -> Check:
    """A bound on any density, its own or another's, over samples of the density: of another one Gibbs' inequality holds
    besides, so that a diffusion model's bound, which is on what it draws with noise, is held against its flow."""
    subject = allowance.subject
    assert subject.bound is not None
    log_p, _ = allowance.log_prob(x[:MOST_BOUNDED], "points with a bound", BOUNDED)
    excess = subject.bound(x[: len(log_p)]) - log_p if len(log_p) else np.empty(0)
    claim = "no bound has a larger mean over samples of a density than the log density"
    remedy = "a term of the bound is left out or has the wrong sign, or the log density lacks one"
    return _gibbs("bound below the density", excess, claim, remedy)


def _gibbs(
    name: str,
    excess: Figures | Untold,
    claim: str = "no density has a larger mean log density than that which the points were drawn from",
    remedy: str = "it is no normalised density: a wrong sign, a constant, or a unit",
) -> Check:
    r"""$E_q[\log p] \le E_q[\log q]$ for all densities p and q (Gibbs)."""
    question = Question(name, claim)
    if isinstance(excess, Untold):
        return question.untold(*excess)
    if len(excess) < 2:
        return question.untold(f"{counted(len(excess), 'point')} has no spread to judge by", "more time (--minutes)")
    if not np.isfinite(excess).all():
        seen = f"{int((~np.isfinite(excess)).sum())} of {len(excess)} points have no finite log density"
        is_below = np.isneginf(excess[~np.isfinite(excess)]).all()
        seen += ": the mean is -inf" if is_below else ""
        return question.judged(is_below, seen, "a log density is a number or -inf")
    value, error = Measured.of(excess)
    seen = f"{value:+.4f} +- {error:.4f} nats above"
    return question.judged(value <= MOST_ERRORS * error + TOLERANCE, seen, remedy, value, error)


def of_levels(data: Points) -> Check:
    """Values that repeat are of levels: a density of them has no upper limit, and is none to compare with a mass."""
    question = Question("data of levels", "data that a density is compared on are real numbers that hardly ever repeat")
    shares = [1 - len(np.unique(column)) / len(column) for column in data.T]
    worst = int(np.argmax(shares))
    seen = f"column {worst} repeats {shares[worst]:.0%} of its values"
    values = np.unique(data[:, worst])
    unit = float(np.diff(values).min()) if len(values) > 1 else math.nan
    remedy = (
        f"a density can grow without limit on them: add noise over a level (of {unit:g} here) before comparing, or give the "
        "model's mass"
    )
    return question.judged(shares[worst] <= MOST_REPEATED, seen, remedy, shares[worst])


def apart(data: Points, train: Float[np.ndarray, "num_trained num_dims"]) -> Check:
    """Test data that were trained on."""
    question = Question("test data apart from training data", "no point that is scored was trained on")
    seen_before = {point.tobytes() for point in np.ascontiguousarray(train + 0.0)}
    both = sum(point.tobytes() in seen_before for point in np.ascontiguousarray(data + 0.0))
    seen = f"{both} of {len(data)} points are in the training data to the last digit"
    return question.judged(both == 0, seen, "leave them out of the test data", both / len(data))
