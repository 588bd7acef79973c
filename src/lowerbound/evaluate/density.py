"""The probability flow on held-out data, beside the bound on the same examples.

Chain and flow are two models of one network. With the best possible denoiser the flow's density is the data's own and the
bound lies below it; of a trained network either may need fewer bits, and the difference is known better than the two
figures, since hard examples are hard for both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lowerbound.data import Dataset
from lowerbound.evaluate.likelihood import MOST_DRAWS, scored
from lowerbound.evaluate.part import Figures
from lowerbound.files.records import Measured, Unsure
from lowerbound.models import Effort
from lowerbound.run import Run
from lowerbound.scoring import Flow, score, score_density
from lowerbound.tails import mean_of_draws
from lowerbound.training.parallel.processes import ALONE, Processes

ENTRIES = 20_000
"""About how many entries of examples follow the flow where the number of examples is not given: 25 images of 28 x 28."""
MOST_EXAMPLES = 1000
REFINED = 4
"""How many examples are followed again at a tenth of the tolerance."""


@dataclass(frozen=True)
class HeldOutDensity(Figures):
    """The flow's figure on some test examples, and the bound on the same, in bits per dimension of the stored data.

    Arguments:
        total: the flow's, with the standard error over examples, in which the spread of probes and draws is contained.
        bound: the chain's.
        difference: the mean of flow minus chain, with its standard error over examples.
        refinement: how much the flow's figure changes on its first examples at a tenth of the tolerance, with the same
            probes and draws: the size of the solver's error.
        num_refined: how many examples were followed again.
        kind, settings: what the flow's figure is, and how it was computed.
        bound_kind: what the chain's is.
        num_examples: how many test examples.
        num_calls: network calls of the flow, the mean over examples.
        num_times: network calls per example of the bound.
        mismatch: how much of the flow's figure is the base density's not being what the denoiser has at the noise's end.
        solver_error: the solver's own estimate of its error, the mean over examples.
        num_unfinished: how many further examples were not followed to the end within their network calls; they are left
            out of every figure here.
    """

    total: Measured
    bound: Measured
    difference: Measured
    refinement: Measured
    num_refined: int
    kind: str
    settings: str
    bound_kind: str
    num_examples: int
    num_calls: float
    num_times: int
    mismatch: Measured
    solver_error: Unsure
    num_unfinished: int


class Bounds(NamedTuple):
    """The chain's bound on examples: bits/dim of each, what they are, and network calls per example."""

    bits: np.ndarray
    kind: str
    num_calls: int


def held_out_density(
    run: Run,
    dataset: Dataset,
    flow: Flow,
    bounds: Bounds,
    *,
    seed: int = 0,
    processes: Processes = ALONE,
    progress: Callable[[int], object] = lambda examples: None,
) -> HeldOutDensity:
    """The flow's figure and the bound on some test examples (`Dataset.some`).

    Arguments:
        run: the model.
        dataset: its data.
        flow: how the flow is followed.
        bounds: of these examples, which says how many they are.
        seed: of times, probes and noise.
        processes: that work together, as in `score`.
        progress: called with the number of examples after each batch of the flow.
    """
    indices = dataset.some("test", len(bounds.bits))
    settings: dict[str, Any] = {**scored(run, dataset, indices, seed), "processes": processes, "progress": progress}
    density = score_density(run, dataset.examples[indices], flow, num_refined=REFINED, **settings)
    arrived = np.isfinite(density.nats)
    refined = density.refinement[np.isfinite(density.refinement)]
    if not len(refined):  # of the first none arrived
        others = indices[arrived][:REFINED]
        taken = scored(run, dataset, others, seed)
        refined = score_density(run, dataset.examples[others], flow, num_refined=REFINED, **taken).refinement
    return HeldOutDensity(
        total=mean_of_draws(density.bits_per_dim[arrived]),
        bound=mean_of_draws(bounds.bits[arrived]),
        difference=mean_of_draws((density.bits_per_dim - bounds.bits)[arrived]),
        refinement=Measured.of(refined),
        num_refined=len(refined),
        kind=density.kind,
        settings=density.settings,
        bound_kind=bounds.kind,
        num_examples=int(arrived.sum()),
        num_calls=float(np.mean(density.num_calls)),
        num_times=bounds.num_calls,
        mismatch=Measured.of(density.base_mismatch[arrived]),
        solver_error=float(density.solver_error[arrived].mean()),
        num_unfinished=int((~arrived).sum()),
    )


def flow_bounds(
    run: Run, dataset: Dataset, num_examples: int, effort: Effort, seed: int = 0, processes: Processes = ALONE
) -> Bounds:
    """The bound on some test examples, drawn as often as a difference to the flow takes.

    Arguments:
        run: the model.
        dataset: its data.
        num_examples: how many.
        effort: spent on the bound, but for its number of draws.
        seed: of times and noise.
        processes: that work together, as in `score`.
    """
    indices = dataset.some("test", num_examples)
    effort = replace(effort, num_draws=enough_draws(run, effort), importance=1)
    settings: dict[str, Any] = {**scored(run, dataset, indices, seed), "processes": processes}
    scores = score(run, dataset.examples[indices], effort, **settings)
    return Bounds(scores.bits_per_dim, scores.kind, scores.num_calls)


def enough_draws(run: Run, effort: Effort) -> int:
    """Draws of the bound on an example that a difference to the flow takes."""
    advised = run.model.completed(replace(effort, num_draws=None)).num_draws
    assert advised is not None
    return min(MOST_DRAWS, advised)


def num_flow_examples(dataset: Dataset) -> int:
    """How many test examples follow the flow by default: about a minute's work on two cores for images of 28 x 28."""
    return min(len(dataset.test), MOST_EXAMPLES, max(8, ENTRIES // math.prod(dataset.shape)))
