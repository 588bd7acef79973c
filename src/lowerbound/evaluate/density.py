"""The probability flow on held-out data, beside the bound on the same examples.

Chain and flow are two models of one network. With the best possible denoiser the flow's density is the data's own and the
bound lies below it; of a trained network either may need fewer bits, and the difference is known better than the two
figures, since hard examples are hard for both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.evaluate.finding import Finding, Severity
from lowerbound.evaluate.part import BITS, BITS_HEADER, Figures
from lowerbound.evaluate.report import Table
from lowerbound.likelihood import mean_and_error
from lowerbound.models import Effort
from lowerbound.records import Figure
from lowerbound.rounding import figure_text
from lowerbound.run import Run
from lowerbound.score import AS_ADVISED, Flow, score, score_density

ENTRIES = 20_000
"""About how many entries of examples follow the flow where the number of examples is not given: 25 images of 28 x 28."""
MOST_EXAMPLES = 1000
REFINED = 4
"""How many examples are followed again at a tenth of the tolerance."""
SIGNIFICANT = 3.0


@dataclass(frozen=True)
class HeldOutDensity(Figures):
    """The flow's figure on the first test examples, and the bound on the same, in bits per dimension of the stored data.

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

    total: Figure
    bound: Figure
    difference: Figure
    refinement: Figure
    num_refined: int
    kind: str
    settings: str
    bound_kind: str
    num_examples: int
    num_calls: float
    num_times: int
    mismatch: Figure = (math.nan, math.nan)
    solver_error: float = math.nan
    num_unfinished: int = 0

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, bits/dim with standard error, and what the number is."""
        name = f"first {self.num_examples:,} of test"
        count = f"{self.num_examples:,} example{'s' * (self.num_examples > 1)}"
        left_out = f"; {self.num_unfinished:,} more not followed to the end and left out" if self.num_unfinished else ""
        return [
            (
                f"{name}, flow",
                figure_text(*self.total),
                f"{self.kind}, {self.settings}, {count}, {self.num_calls:.0f} calls each{left_out}",
            ),
            (f"{name}, chain", figure_text(*self.bound), f"{self.bound_kind}, {count}, {self.num_times} calls each"),
            ("  flow minus chain", figure_text(*self.difference), f"mean over the same {count}"),
            (
                "  finer flow minus flow",
                figure_text(*self.refinement),
                f"at a tenth of the tolerance, mean over the first {self.num_refined}; the solver's own estimate of its "
                f"error is {self.solver_error:.2g}",
            ),
            (
                "  base density's part",
                figure_text(*self.mismatch),
                "of the flow's figure: N(0, I) at the noise's end instead of what the denoiser has there",
            ),
        ]

    def tables(self) -> list[Table]:
        return [Table(BITS, BITS_HEADER, tuple(self.rows()))]

    def findings(self) -> list[Finding]:
        return [Finding(Severity.OPEN, self.finding())]

    def finding(self) -> str:
        """Which of the two needs fewer bits, in a sentence."""
        difference, error = self.difference
        figures = (
            f"{self.kind} {figure_text(*self.total)} against {self.bound_kind} {figure_text(*self.bound)} bits/dim on the "
            f"same {self.num_examples:,} test examples, a difference of {figure_text(difference, error)}"
        )
        if not abs(difference) > SIGNIFICANT * error:
            return f"Flow and chain do not differ by more than the error: {figures}."
        if difference < 0:
            return f"The flow needs fewer bits than the chain: {figures}. They are two models of one network."
        return (
            f"The flow needs more bits than the chain: {figures}. With the best denoiser of continuous data it could not; "
            "a network's errors add up along the flow, while the chain's bound is what training lowers. The two are "
            "different models, and the chain is the better one here."
        )


def held_out_density(
    run: Run,
    dataset: Dataset,
    flow: Flow | None = None,
    *,
    num_examples: int | None = None,
    effort: Effort = AS_ADVISED,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> HeldOutDensity:
    """The flow's figure and the bound on the first test examples.

    Arguments:
        run: the model.
        dataset: its data.
        flow: how the flow is followed.
        num_examples: how many; by `num_flow_examples` if None.
        effort: spent on the bound, as for `score.score`.
        seed: of times, probes and noise.
        progress: called with the number of examples after each batch of the flow.
    """
    indices = dataset.test[: num_flow_examples(dataset) if num_examples is None else num_examples]
    given = {
        "cond": dataset.cond(indices) if run.config.data.conditional else None,
        "numbers": indices,
        "seed": seed,
    }
    density = score_density(run, dataset.examples[indices], flow, progress=progress, **given)
    bound = score(run, dataset.examples[indices], effort, **given)
    arrived = np.isfinite(density.nats)
    first, cond = np.flatnonzero(arrived)[:REFINED], given["cond"]
    again = {"cond": None if cond is None else cond[first], "numbers": indices[first], "seed": seed}
    finer = score_density(run, dataset.examples[indices[first]], replace(flow or Flow(), refine=True), **again)
    assert finer.refinement is not None
    total, chain, difference, mismatch, refinement = (
        mean_and_error(torch.from_numpy(bits))
        for bits in (
            density.bits_per_dim[arrived],
            bound.bits_per_dim[arrived],
            (density.bits_per_dim - bound.bits_per_dim)[arrived],
            density.base_mismatch[arrived],
            finer.refinement,
        )
    )
    return HeldOutDensity(
        total=total,
        bound=chain,
        difference=difference,
        refinement=refinement,
        num_refined=len(first),
        kind=density.kind,
        settings=density.settings,
        bound_kind=bound.kind,
        num_examples=int(arrived.sum()),
        num_calls=float(np.mean(density.num_calls)),
        num_times=bound.num_calls,
        mismatch=mismatch,
        solver_error=float(density.solver_error[arrived].mean()),
        num_unfinished=int((~arrived).sum()),
    )


def num_flow_examples(dataset: Dataset) -> int:
    """How many test examples follow the flow by default: about a minute's work on two cores for images of 28 x 28."""
    return min(len(dataset.test), MOST_EXAMPLES, max(8, ENTRIES // math.prod(dataset.shape)))
