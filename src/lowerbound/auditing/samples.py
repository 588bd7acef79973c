"""Are samples and density of one distribution? Draws of a proposal, weighted by the density, against the model's own."""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import kolmogorov, ndtr

from lowerbound.auditing.allowance import OTHER_SAMPLES, SCORED, Allowance
from lowerbound.auditing.check import Check, Question, Untold
from lowerbound.auditing.integral import MOST_ERRORS, Weighted
from lowerbound.auditing.subject import Figures, Points
from lowerbound.files.records import Measured
from lowerbound.tails import MOST_RELIABLE
from lowerbound.words.counts import counted

SHARES = (0.5, 0.9, 0.99)
FEWEST_EFFECTIVE = 100
FEWEST_SAMPLES = 20
_CHANCE = 2 * ndtr(-MOST_ERRORS)
MOST_DIRECTIONS = 16
LAW = Question("samples against density", "samples, seen from any side, are spread as the density says")
COVERAGE = Question(
    "coverage of highest-density regions",
    "a region that holds half, 90 or 99 % of the density's mass holds as many of the samples",
)
ENTROPY = Question("entropy", "log p is on average over samples what it is on average over the density")


def same_law(allowance: Allowance, weighted: Weighted | Untold, num_samples: int, seed: int) -> list[Check]:
    """Three questions that need samples of the model and its density: the law of what they look like, the coverage of
    highest-density regions, and the entropy.

    Arguments:
        allowance: the density, which can be sampled from.
        weighted: draws of a proposal.
        num_samples: as many as are affordable of so many; other ones than the proposal was fitted to.
        seed: of them.
    """

    def untold(finding: str, remedy: str) -> list[Check]:
        return [question.untold(finding, remedy) for question in (LAW, COVERAGE, ENTROPY)]

    if isinstance(weighted, Untold):
        return untold(*weighted)
    if not weighted.is_of_numbers:
        return untold("log densities are no numbers", "a log density that is a number or -inf everywhere")
    if weighted.shape > MOST_RELIABLE or weighted.effective < FEWEST_EFFECTIVE:
        seen = f"effective sample size {weighted.effective:,.0f}, k-hat {weighted.shape:.2f}"
        remedy = "the density could not be integrated: more draws, fewer dimensions, or a proposal nearer to it"
        return untold(seen, remedy)
    samples = allowance.sample(num_samples, seed, OTHER_SAMPLES)
    log_p, _ = allowance.log_prob(samples, "samples' log densities", SCORED)
    if len(log_p) < FEWEST_SAMPLES:
        seen = f"there is too little to compare: {counted(len(log_p), 'sample')}"
        return untold(seen, f"{FEWEST_SAMPLES} or more (--num-samples), and the time for them (--minutes)")
    samples = samples[: len(log_p)]
    return [_law(weighted, samples, log_p, seed), _coverage(weighted, log_p), _entropy(weighted, log_p)]


def _law(weighted: Weighted, samples: Points, log_p: Figures, seed: int) -> Check:
    """Kolmogorov and Smirnov's distance, of log p, of the distance from the middle, and along directions."""
    directions = _directions(samples.shape[1], seed)
    middle, scale = samples.mean(0), samples.std(0) + 1e-300
    views = {"log p": (log_p, weighted.log_p)}
    of_samples, of_density = (samples - middle) / scale, (weighted.x - middle) / scale
    views["the distance from the middle"] = (np.linalg.norm(of_samples, axis=1), np.linalg.norm(of_density, axis=1))
    for number, direction in enumerate(directions):
        views[f"direction {number + 1}"] = (of_samples @ direction, of_density @ direction)
    effective = 1 / (1 / len(samples) + 1 / weighted.effective)
    distances = {view: _distance(*values, weighted.shares) for view, values in views.items()}
    worst = max(distances, key=lambda view: distances[view])
    chance = min(1.0, len(views) * float(kolmogorov(effective**0.5 * distances[worst])))
    seen = f"largest distance of distribution functions {distances[worst]:.4f} in {worst}, p = {chance:.2g}"
    remedy = "samples come from another distribution than is scored: clipped, tempered, of another sampler or noise"
    return LAW.judged(chance >= _CHANCE, seen, remedy, distances[worst], effective**-0.5)


def _coverage(weighted: Weighted, log_p: Figures) -> Check:
    order = np.argsort(-weighted.log_p)
    mass = np.cumsum(weighted.shares[order])
    shares_covered, worst, worst_error = [], 0.0, math.nan
    for share in SHARES:
        threshold = weighted.log_p[order][np.searchsorted(mass, share)]
        covered = float((log_p >= threshold).mean())
        error = math.sqrt(share * (1 - share) * (1 / len(log_p) + 1 / weighted.effective))
        shares_covered.append(f"{share:.0%}: {covered:.1%}")
        if abs(covered - share) / error > worst:
            worst, worst_error = abs(covered - share) / error, error
    seen = f"{', '.join(shares_covered)} of the samples; {worst:.1f} standard errors at most"
    remedy = "the samples are narrower or wider than the density"
    return COVERAGE.judged(worst <= MOST_ERRORS, seen, remedy, worst, worst_error)


def _entropy(weighted: Weighted, log_p: Figures) -> Check:
    finite = np.isfinite(weighted.log_p)
    of_density = float(weighted.shares[finite] @ weighted.log_p[finite])
    error_of_density = float(np.sqrt((weighted.shares[finite] ** 2) @ (weighted.log_p[finite] - of_density) ** 2))
    if not np.isfinite(log_p).all():
        bad = int((~np.isfinite(log_p)).sum())
        seen = f"{bad} samples have a log density of -inf, +inf or NaN"
        return ENTROPY.judged(False, seen, "the model draws what it says cannot be")
    of_samples, error_of_samples = Measured.of(log_p)
    difference, error = of_samples - of_density, math.hypot(error_of_samples, error_of_density)
    seen = f"{of_samples:.4f} over samples, {of_density:.4f} over the density: {difference:+.4f} +- {error:.4f} nats"
    remedy = "samples too typical: clipped or tempered" if difference > 0 else "samples too wide, or of another model"
    return ENTROPY.judged(abs(difference) <= MOST_ERRORS * error, seen, remedy, difference, error)


def _directions(num_dims: int, seed: int) -> np.ndarray:
    """The axes, or as many random directions, at most `MOST_DIRECTIONS`."""
    if num_dims == 1:
        return np.eye(1)
    is_low = num_dims <= MOST_DIRECTIONS // 2
    normal = np.random.default_rng(seed).standard_normal((num_dims if is_low else MOST_DIRECTIONS, num_dims))
    directions = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.concatenate([np.eye(num_dims), directions]) if is_low else directions


def _distance(
    samples: Float[np.ndarray, " num_samples"],
    draws: Float[np.ndarray, " num_draws"],
    shares: Float[np.ndarray, " num_draws"],
) -> float:
    """The largest difference of the distribution functions of plain and of weighted values."""
    values = np.concatenate([samples, draws])
    steps = np.concatenate([np.full(len(samples), 1 / len(samples)), -shares])
    order = np.argsort(values, kind="stable")
    values, sums = values[order], np.cumsum(steps[order])
    last = np.append(values[1:] != values[:-1], True)  # equal values step together
    return float(np.abs(sums[last]).max())
