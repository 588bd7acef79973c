"""The audit of a density: every question that can be asked of it, and the answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lowerbound.auditing import conditional
from lowerbound.auditing.allowance import GRID, SAMPLES, Allowance
from lowerbound.auditing.check import Check
from lowerbound.auditing.columns import Columns
from lowerbound.auditing.draws import heavy_tails
from lowerbound.auditing.function import NUM_POINTS, batches, refinement, repeats, slopes
from lowerbound.auditing.integral import Weighted, by_importance, by_quadrature, by_sum
from lowerbound.auditing.samples import same_law
from lowerbound.auditing.subject import Points, as_points, as_subject
from lowerbound.auditing.truth import apart, below_columns, below_proposal, below_truth, bound_below, of_levels
from lowerbound.errors import InputError
from lowerbound.words.counts import counted

NUM_DRAWS = 10_000
NUM_SAMPLES = 4_000
MINUTES = 2.0
NODES_PER_DRAW = 4
"""Of a grid in one or two dimensions, for each draw of the proposal."""
FEWEST_NODES = 100


@dataclass(frozen=True)
class Audit:
    """What was asked of a density, and what came out.

    Arguments:
        name: the density's.
        num_dims: D.
        checks: in the order in which they were made.
        note: what the time was too short for, and how much would do; empty if it sufficed.
    """

    name: str
    num_dims: int
    checks: tuple[Check, ...]
    note: str = ""

    @property
    def verdict(self) -> str:
        """The worst of the checks', but that what can't be told is no failure."""
        verdicts = {check.verdict for check in self.checks}
        return next(verdict for verdict in ("fail", "pass", "can't tell") if verdict in verdicts)

    def __getitem__(self, name: str) -> Check:
        """The check of a name."""
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = [f"{self.name}, {counted(self.num_dims, 'dimension')}: {self.verdict}"]
        for check in self.checks:
            remedy = f"\n{'':<{width + 14}}{check.remedy}" if check.remedy else ""
            lines.append(f"  {check.verdict:<10}  {check.name:<{width}}  {check.finding}{remedy}")
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])


def audit(
    model: Any,
    data: Any = None,
    *,
    given: Any = None,
    sample: Callable[[int], Any] | None = None,
    score: Callable[[Any], Any] | None = None,
    draws: Callable[[Any], Any] | None = None,
    truth: Any = None,
    train: Any = None,
    support: Any = None,
    bound: Callable[[Any], Any] | None = None,
    finer: Callable[[Any], Any] | None = None,
    num_draws: int = NUM_DRAWS,
    num_samples: int = NUM_SAMPLES,
    minutes: float = MINUTES,
    seed: int = 0,
) -> Audit:
    r"""Whether a log density is what it says it is.

    Arguments:
        model: a `Run`, or anything with `log_prob` or `score_samples`, or a function (`subject.as_subject`).
        data: test points, (N, D), if there are any.
        given: the observation that a conditional density is conditioned on (`conditional.conditioned_on`).
        sample: draws so many points, if the model has no `sample` of its own.
        score: the slope of log p as the model states it.
        draws: of a figure that is a mean of random draws, the draws of each of N points, (N, num_draws), on the scale on
            which they are averaged.
        truth: the distribution of the data, where it is known: anything that model may be, with samples.
        train: the points that the model was trained on.
        support: of a mass, all points that it can be of, (N, D); of a run of discrete data with 65,536 states at most all of
            them, if not given. Of one with more states less can be asked: its mass is held against independent columns.
        bound: a lower bound on the log density of each point, or an estimate of one; if not given, that of a run of a
            diffusion model.
        finer: the log density of each point, computed more finely, in more steps or in double precision; if not given, that
            of a run along its flow, at a tenth of the tolerance and in double precision.
        num_draws: of the proposal; in one and two dimensions four times as many points of a grid are looked at besides,
            unless the density is dear.
        num_samples: samples of the model.
        minutes: of one core that the audit may take, about: of a density that is dear there are as many draws and samples as
            the time suffices for, and the `note` says how many.
        seed: of all that is drawn here.

    Raises:
        InputError: if the model has no density, or a single one takes far longer than the minutes allow; if there is neither
            a way to sample nor data, arrays are of other shapes, or a number is not positive.
    """
    for name, value in (("num_draws", num_draws), ("num_samples", num_samples), ("minutes", minutes)):
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}: it must be positive and finite")
    subject = as_subject(
        model if given is None else conditional.conditioned_on(model, given), sample, score, bound, finer
    )
    data, train, support = (None if array is None else as_points(array) for array in (data, train, support))
    support = subject.support if support is None else support
    allowance = Allowance(subject, minutes)
    if support is not None or subject.values is not None:
        return _of_mass(allowance, support, num_draws, num_samples, seed)
    points = data if subject.sample is None else allowance.sample(num_samples, seed, SAMPLES)
    if points is None:
        raise InputError("the model has no sample: give data to integrate around, or a function that draws as sample")
    first = allowance.looked_at_again(points[:NUM_POINTS])
    checks = [repeats(subject, first), batches(subject, first), *slopes(subject, first, points.std(0) + 1e-300)]
    if subject.refinement is not None:
        checks.append(refinement(subject, first))
    num_nodes = allowance.affordable(NODES_PER_DRAW * num_draws, GRID)
    if points.shape[1] in (1, 2) and num_nodes >= FEWEST_NODES and not subject.is_dear:
        checks.append(by_quadrature(subject, points, num_nodes))
    weighted = Weighted.of(allowance, points, num_draws, seed + 1)
    checks += [by_importance(weighted), below_proposal(weighted)]
    if subject.sample is not None:
        checks += same_law(allowance, weighted, num_samples, seed + 2)
    if subject.bound is not None:
        checks.append(bound_below(allowance, points))
    if draws is not None:
        checks.append(heavy_tails(as_points(draws(points[:256]))))
    if truth is not None:
        checks.append(below_truth(allowance, as_subject(truth), num_samples, seed + 3))
    if data is not None:
        checks.append(of_levels(data))
        if train is not None:
            checks.append(apart(data, train))
    return Audit(subject.name, points.shape[1], tuple(checks), allowance.note)


def _of_mass(allowance: Allowance, support: Points | None, num_draws: int, num_samples: int, seed: int) -> Audit:
    """What is asked of a mass: its sum over all points, or where they are too many what it says of independent columns."""
    subject = allowance.subject
    if support is not None:
        first, check = support[:NUM_POINTS], by_sum(allowance, support)
    else:
        assert subject.values is not None
        assert subject.sample is not None
        points = allowance.sample(num_samples, seed, SAMPLES)
        first = allowance.looked_at_again(points[:NUM_POINTS])
        check = below_columns(allowance, Columns(points, subject.values), num_draws, seed + 1)
    if subject.is_fixed:
        subject = replace(subject, log_prob=lambda x: (allowance.subject.log_prob(x)[0], None))
    checks = (check, repeats(subject, first), batches(subject, first))
    return Audit(subject.name, first.shape[1], checks, allowance.note)
