"""The probability flow's density of each example, in the units of the stored data; of discrete data, a bound."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from lowerbound.data.series.windows import Windows
from lowerbound.discrete import discrete_log_prob
from lowerbound.errors import InputError
from lowerbound.likelihood.density import ProbedFlow, follow
from lowerbound.run import Run
from lowerbound.run.examples import Batch, Vector, batches, condition_text
from lowerbound.scoring.calibration import calibrated
from lowerbound.scoring.flow import Flow
from lowerbound.scoring.spread import half_interval
from lowerbound.training.parallel.processes import ALONE, Processes
from lowerbound.words.brief import Brief

ENTRIES_AT_ONCE = 32_768
"""About how many entries go through the flow at a time where the batch size is not given: 40 images of 28 x 28."""
FIGURES = ("nats", "standard_error", "solver_error", "mismatch", "num_calls", "num_dims")
"""Of a `Density`, which an example's scores are made from."""
CORRECTIONS = ("correction", "correction_error")
"""Further ones, of few calls."""


@dataclass(frozen=True, repr=False)
class DensityScores(Brief):
    """The figure of each example under the probability flow, an array (N,) each.

    Arguments:
        nats: log p of the example as it is stored; of discrete data, the bound on it; NaN where the calls did not suffice.
        bits_per_dim: -nats / (D ln 2), D the number of entries that are there.
        standard_error: of the probes, in bits per dimension: zero for an exact trace; NaN, not known, for a single probe.
        interval_95: half the width of an interval of 95 % from it, by Student's distribution: of two probes 4.3 of it.
        solver_error: the solver's own estimate of its error, in bits per dimension.
        base_mismatch: bits per dimension that the example's figure contains because the base density is not what the
            denoiser has at the noise's end (`mismatch.base_mismatch`).
        refinement: how much `bits_per_dim` changes at a tenth of the tolerance with the same probes and draws, of the first
            examples: those that were followed again.
        num_calls: network calls along the flow of each example, at its tolerance.
        correction: of a flow in few calls, what its calibration has added, in bits per dimension; otherwise None. The
            solver's error is then the standard deviation that the calibration found.
        correction_error: the standard error of that. Examples share it; that of their mean is at most its root mean square.
        kind: what the number is: `density (ODE)`, or `bound (ODE, dequantised, K=...)`.
        settings: how it was computed: tolerance, trace, dequantiser, condition.
    """

    nats: Vector
    bits_per_dim: Vector
    standard_error: Vector
    interval_95: Vector
    solver_error: Vector
    base_mismatch: Vector
    refinement: Float[np.ndarray, " num_refined"]
    num_calls: Int[np.ndarray, " num_examples"]
    correction: Vector | None
    correction_error: Vector | None
    kind: str
    settings: str

    @property
    def flags(self) -> list[str]:
        """What is wrong with each example's figure, in a word; mostly nothing.

        `unfinished`: its calls were spent before the flow's end. `moved`: at a tenth of the tolerance it changes by more
        than the solver's estimate of its error.
        """
        change = np.zeros_like(self.nats)
        change[: len(self.refinement)] = self.refinement
        moved = ~(np.abs(change) <= self.solver_error)  # and one whose finer flow did not arrive
        return np.select([np.isnan(self.nats), moved], ["unfinished", "moved"], "").tolist()


def flow_batch_size(run: Run) -> int:
    """The number of examples that follow the flow at a time where none is given."""
    return max(1, ENTRIES_AT_ONCE // math.prod(run.spec.shape))


@torch.no_grad()
def score_density(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"] | Windows,
    flow: Flow | None = None,
    *,
    cond: Num[Tensor, "num_examples ..."] | None = None,
    numbers: Num[np.ndarray, " num_examples"] | None = None,
    num_refined: int = 0,
    batch_size: int | None = None,
    seed: int = 0,
    processes: Processes = ALONE,
    progress: Callable[[int], object] = lambda examples: None,
) -> DensityScores:
    """The density of each example under the probability flow; of discrete data, a bound on its probability.

    Arguments:
        run: the model.
        raw, cond, numbers, seed, processes, progress: as for `score`; the seed is that of the probes and of the noise within
            levels.
        flow: how the flow is followed; the defaults of `Flow` if None.
        num_refined: how many examples, the first, are followed again beside the others, at a tenth of the tolerance.
        batch_size: it changes nothing but speed and memory; as many as `ENTRIES_AT_ONCE` allows if None.

    Raises:
        InputError: as for `score`, if `flow` does not fit the run, the flow of no example could be followed to its end, or a
            flow in few calls cannot be calibrated, as the run's data are not there.
    """
    flow = flow or Flow()
    dequantizer = flow.dequantizer_of(run)
    if batch_size is None:
        batch_size = flow_batch_size(run)
    if num_refined and flow.num_calls is not None:
        raise InputError(
            f"a flow in {flow.num_calls} calls (--calls) has no tolerance to refine (--refine): give one of the two"
        )
    few_calls = None
    if flow.num_calls is not None:
        few_calls = calibrated(run, flow, dequantizer, conditional=cond is not None, batch_size=batch_size, seed=seed)
    names = FIGURES if few_calls is None else FIGURES + CORRECTIONS

    def scored(part: tuple[int, Batch]) -> tuple[dict[str, np.ndarray], str, str]:
        """The figures of the batch that begins at a row, what they are, and how they were computed."""
        first, (x, batch_cond, noise, _) = part
        again = (torch.arange(first, first + len(x), device=x.device) >= num_examples).long()
        tolerance = x.new_tensor([flow.tolerance, flow.finer.tolerance], dtype=torch.float64)[again]
        max_calls = again.new_tensor([flow.max_calls, flow.finer.max_calls])[again]
        solving: dict[str, Any] = {"tolerance": tolerance, "max_calls": max_calls}
        denoiser = run.denoiser.given(batch_cond, run.spec.observed(x))
        drawing: dict[str, Any] = {"noise": noise, "num_probes": flow.probes}
        if dequantizer is not None:
            solving |= {"num_importance": flow.num_importance, "few_calls": few_calls}
            density = discrete_log_prob(denoiser, x.double(), dequantizer, **drawing, **solving)
        else:
            followed = ProbedFlow.of(denoiser, x.double(), **drawing)
            density = follow(followed, **solving) if few_calls is None else few_calls.density(followed)
        progress(len(x) - int(again.sum()))
        figures = {name: getattr(density, name) for name in names} | {"log_det": run.spec.encoding.log_det(x)}
        return {name: values.cpu().numpy() for name, values in figures.items()}, density.kind, density.settings

    num_examples = len(raw)
    if num_refined:
        rows = np.r_[:num_examples, : min(num_refined, num_examples)]
        numbers = rows if numbers is None else numbers[rows]
        raw, cond = raw[rows], None if cond is None else cond[torch.from_numpy(rows)]
    batch_size = min(batch_size, -(-len(raw) // processes.count)) or batch_size  # a share for each
    parts = batches(run, raw, cond, numbers, batch_size, seed)
    batches_scored = processes.by_turns(zip(count(step=batch_size), parts, strict=False), scored)
    first, kind, settings = batches_scored[0]
    figures = {name: np.concatenate([each[name] for each, _, _ in batches_scored]) for name in first}
    nats, finer = np.split(figures["nats"] + figures["log_det"], [num_examples])
    kept = {name: values[:num_examples] for name, values in figures.items()}
    to_bits = 1 / (kept["num_dims"] * math.log(2))
    if np.isnan(nats).all():
        raise InputError(
            f"none of {num_examples} examples was followed to the flow's end within {flow.max_calls} network calls: allow "
            "more (--max-calls) or a larger tolerance (--tolerance)"
        )
    return DensityScores(
        nats=nats,
        bits_per_dim=-nats * to_bits,
        standard_error=kept["standard_error"] * to_bits,
        interval_95=half_interval(kept["standard_error"], flow.probes) * to_bits,
        solver_error=kept["solver_error"] * to_bits,
        base_mismatch=-kept["mismatch"] * to_bits,
        refinement=(nats[: len(finer)] - finer) * to_bits[: len(finer)],
        num_calls=kept["num_calls"],
        correction=None if few_calls is None else -kept["correction"] * to_bits,
        correction_error=None if few_calls is None else kept["correction_error"] * to_bits,
        kind=kind,
        settings=settings + condition_text(run, cond is not None),
    )
