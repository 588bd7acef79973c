r"""Does the density integrate to one? $E_q[p / q] = 1$ for any proposal q that reaches wherever p does."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import logsumexp

from lowerbound.auditing.allowance import DRAWS, TRUTH, Allowance
from lowerbound.auditing.check import Check, Question, Untold
from lowerbound.auditing.proposal import Proposal, fewest_points
from lowerbound.auditing.subject import Figures, Points, Subject
from lowerbound.tails import FEWEST_DRAWS, MOST_RELIABLE, pareto_shape
from lowerbound.words.brief import Brief
from lowerbound.words.counts import counted

TOLERANCE = 0.01
"""Nats by which the log of an integral may be off without being called wrong: a solver's error."""
MOST_NOISE = 1.0
"""Nats of a log mass's error, beyond which no mean of exponentials is trusted."""
MOST_ERRORS = 4.0
"""Standard errors that chance is believed to make, once in 16,000."""
_CLAIM = "the density integrates to one"
_MARGIN = 0.5
"""Of the grid around the points, as a multiple of their range."""


@dataclass(frozen=True, eq=False, repr=False)
class Weighted(Brief):
    """Draws of a proposal, and the log densities of a subject there.

    Arguments:
        x: the draws, (N, D).
        log_q: the proposal's log density there, (N,), nats.
        log_p: the subject's.
    """

    x: Points
    log_q: Figures
    log_p: Figures

    @classmethod
    def of(cls, allowance: Allowance, points: Points, num: int, seed: int) -> "Weighted | Untold":
        """Draws of a proposal that is fitted to points, as many as are affordable of so many.

        Of a subject that states errors, log p is lowered by half their square, for exp is convex.
        """
        num_points, num_dims = points.shape
        if num_points < (fewest := fewest_points(num_dims)):
            seen = (
                f"{counted(num_points, 'point')} of {counted(num_dims, 'dimension')} are too few to fit a proposal to"
            )
            return Untold(seen, f"{fewest:,} samples or more (--num-samples), and the time for them (--minutes)")
        proposal = Proposal.fitted(points)
        x = proposal.sample(num, seed)
        log_p, errors = allowance.log_prob(x, "draws", DRAWS)
        if len(log_p) < FEWEST_DRAWS:
            seen = f"too little was weighed: {counted(len(log_p), 'draw')} of the proposal"
            return Untold(seen, f"{FEWEST_DRAWS} draws or more (--num-draws), and the time for them (--minutes)")
        x = x[: len(log_p)]
        return cls(x, proposal.log_prob(x), log_p if errors is None else log_p - np.nan_to_num(errors) ** 2 / 2)

    @cached_property
    def log_weights(self) -> Figures:
        return self.log_p - self.log_q

    @property
    def is_of_numbers(self) -> bool:
        """Whether every log density is a number or -inf, and one at least a number."""
        return are_numbers(self.log_p)

    @cached_property
    def shape(self) -> float:
        """The tail's, of the weights (`tails.pareto_shape`)."""
        return pareto_shape(np.exp(self.log_weights - self.log_weights.max()))

    @cached_property
    def effective(self) -> float:
        """How many draws of p itself the weighted draws are worth (Kish 1965)."""
        return float(np.exp(2 * _log_sum(self.log_weights) - _log_sum(2 * self.log_weights)))

    @cached_property
    def shares(self) -> Figures:
        """The weights, summing to one."""
        return np.exp(self.log_weights - _log_sum(self.log_weights))

    def log_integral(self, log_p: Figures | None = None) -> tuple[float, float]:
        """The log of the integral of the density, or of another one there, and its standard error."""
        log_weights = self.log_weights if log_p is None else log_p - self.log_q
        num = len(log_weights)
        value = float(_log_sum(log_weights)) - math.log(num)
        relative = np.exp(log_weights - value)
        return value, float(relative.std(ddof=1)) / num**0.5


def are_numbers(log_p: Figures) -> bool:
    """Whether log densities are numbers or -inf, and not all -inf."""
    return bool((np.isfinite(log_p) | np.isneginf(log_p)).all() and np.isfinite(log_p).any())


def _no_numbers(log_p: Figures) -> tuple[str, str]:
    """What was seen of log densities that are none, and how to mend it."""
    bad = int((~np.isfinite(log_p) & ~np.isneginf(log_p)).sum())
    seen = f"{bad:,} of {len(log_p):,} log densities are NaN or +inf" if bad else "all log densities are -inf"
    return seen, "a log density is a number, or -inf where nothing can be"


def by_importance(weighted: Weighted | Untold) -> Check:
    """Of any number of dimensions, as far as the proposal reaches."""
    question = Question("normalisation by importance sampling", _CLAIM)
    if isinstance(weighted, Untold):
        return question.untold(*weighted)
    if not weighted.is_of_numbers:
        return question.judged(False, *_no_numbers(weighted.log_p))
    value, error = weighted.log_integral()
    seen = f"log of the integral {value:+.4f} +- {error:.4f}, effective sample size {weighted.effective:,.0f}, "
    seen += f"k-hat {weighted.shape:.2f}"
    if weighted.shape > MOST_RELIABLE:
        remedy = f"k-hat above {MOST_RELIABLE}: no error can be stated; more draws, or a proposal nearer to the density"
        return question.untold(seen, remedy, value)
    is_one = abs(value) <= MOST_ERRORS * error + TOLERANCE
    return question.judged(is_one, seen, "" if is_one else diagnosis(weighted, value), value, error)


def diagnosis(weighted: Weighted, log_integral: float) -> str:
    """What a density that does not integrate to one would have to be for it to do so."""
    num_dims, log_p = weighted.x.shape[1], weighted.log_p
    guesses = {
        "the figure is the mean over dimensions, where the sum is the density": num_dims * log_p,
        "the figure is the negative log density": -log_p,
        "the figure is in bits, where nats are meant": math.log(2) * log_p,
        "the figure is in bits per dimension with its sign turned": -math.log(2) * num_dims * log_p,
    }
    if num_dims == 1:
        guesses.pop("the figure is the mean over dimensions, where the sum is the density")
    for words, other in guesses.items():
        with np.errstate(over="ignore", invalid="ignore"):
            value, error = weighted.log_integral(other)
        if math.isfinite(value) and error < 0.2 and abs(value) <= MOST_ERRORS * error + TOLERANCE:
            return f"{words}: read so it integrates to one"
    variances = weighted.shares @ (weighted.x - weighted.shares @ weighted.x) ** 2
    spread = float(np.log(np.sqrt(variances)).sum())
    for words, constant in {
        "the Jacobian of a normalisation to unit variance is missing": spread,
        "the Jacobian of a normalisation to unit variance has the wrong sign": 2 * spread,
        "the constant (2 pi)^(D/2) of a Gaussian is missing": num_dims * math.log(2 * math.pi) / 2,
    }.items():
        if abs(constant) > 0.1 and abs(log_integral - constant) < 0.1 + 0.02 * abs(constant):
            return f"{words}: its log would be {constant:.3f}"
    return (
        "look for a constant that was left out, a trace or a Jacobian that is missing, or a scale that was not undone"
    )


def by_quadrature(subject: Subject, points: Points, num_nodes: int) -> Check:
    """In one and two dimensions, on a grid of half and of full fineness over the points' range and around it."""
    question = Question("normalisation by quadrature", _CLAIM)
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * (high - low)
    num_nodes = 2 * int(num_nodes ** (1 / points.shape[1]) / 2) + 1
    axes = [np.linspace(a - m, b + m, num_nodes) for a, b, m in zip(low, high, margin, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    log_p, _ = subject.log_prob(grid)
    if not are_numbers(log_p):
        return question.judged(False, *_no_numbers(log_p))
    log_p = log_p.reshape([num_nodes] * len(axes))
    fine, coarse = (
        _log_trapezoid(log_p[(slice(None, None, step),) * len(axes)], [axis[::step] for axis in axes])
        for step in (1, 2)
    )
    error = abs(fine - coarse)
    seen = f"log of the integral {fine:+.4f}, {error:.1g} from half as fine a grid"
    if error > 0.05:
        return question.untold(seen, "the density is rougher than the grid", fine, error)
    remedy = (
        "a constant, a Jacobian or a trace is missing" if fine > 0 else "mass is missing, or lies outside of the grid"
    )
    return question.judged(abs(fine) <= TOLERANCE + 2 * error, seen, remedy, fine, error)


def by_sum(allowance: Allowance, support: Points) -> Check:
    """Of a mass on points that can be counted, or of a bound on one; of one with errors as of draws (`Weighted.of`)."""
    is_bound = allowance.subject.is_bound
    claim = f"the masses of all possible points sum to one{', and bounds on them to no more' if is_bound else ''}"
    question = Question("normalisation by summing", claim)
    values, errors = allowance.log_prob(support, "points of the support", TRUTH)
    if len(values) < len(support):
        seen = f"the masses of {len(values):,} of {len(support):,} points were had"
        return question.untold(seen, "more time (--minutes)")
    errors = np.zeros(len(values)) if errors is None else np.nan_to_num(errors)
    if errors.max() > MOST_NOISE:
        seen = f"the log masses have errors of up to {errors.max():.2g} nats, of which the exponential is too large"
        return question.untold(seen, "more draws for each log mass")
    masses = np.exp(values - errors**2 / 2)
    total, error = float(masses.sum()), float(np.hypot(1e-3, np.linalg.norm(masses * errors)))
    seen = f"{len(support):,} points have the mass {total:.6f}"
    allowed = 1e-3 if not errors.any() else MOST_ERRORS * error
    remedy = "points are missing from the support, or this is a density and no mass"
    if is_bound:
        remedy = "a bound is above what it bounds: a term is left out"
    is_one = total - 1 < allowed and (is_bound or 1 - total < allowed)
    return question.judged(is_one, seen, remedy, total, error)


def _log_trapezoid(log_p: np.ndarray, axes: list[np.ndarray]) -> float:
    for axis in reversed(axes):
        log_weights = np.full(len(axis), math.log(axis[1] - axis[0]))
        log_weights[[0, -1]] -= math.log(2)
        log_p = _log_sum(log_p + log_weights)
    return float(log_p)


def _log_sum(values: np.ndarray) -> np.ndarray:
    """The log of the sum of exponentials along the last axis."""
    return np.asarray(logsumexp(values, axis=-1))
