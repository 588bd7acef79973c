"""What samples look like beside real data, by distances alone: copies of training examples, too little variety.

Samples that lie nearer to single training examples than held-out data do are copies (`copies`); samples that lie nearer to
each other than held-out examples do have collapsed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from lowerbound.evaluate.copies import CopyAudit, Distances, audit, nearest
from lowerbound.evaluate.finding import SURE, Finding, Severity
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.report import Table

__all__ = ["Distances", "Neighbours", "nearest", "neighbours"]

COLLAPSED = 0.8
"""The distance of samples to each other, over that of held-out examples, below which they have collapsed."""


@dataclass(frozen=True)
class Drawn(Figures):
    """Samples that were drawn.

    Arguments:
        num_samples: how many.
        sampler: by which.
        num_calls: network calls per sample; None of a model that has no calls to choose.
        seconds: per sample.
    """

    num_samples: int
    sampler: str
    num_calls: float | None
    seconds: float

    def remark(self) -> str:
        calls = "" if self.num_calls is None else f", {self.num_calls:g} calls each"
        return f"{self.num_samples:,} samples by {self.sampler}{calls}"


@dataclass(frozen=True)
class Neighbours(Figures):
    """How near samples lie to the training data and to each other, beside held-out data.

    copies: distances to the training data.
    among_samples, among_held_out: distance to the nearest other example of the same set, of as many of both.
    """

    copies: CopyAudit
    among_samples: Distances
    among_held_out: Distances

    def tables(self) -> list[Table]:
        sides = (f"{side.median:.4g} ± {side.median_error:.2g}" for side in (self.among_samples, self.among_held_out))
        row = ("median distance to the nearest other one of their kind", *sides)
        return [Table("Distances", self.copies.header, (*self.copies.rows(), row))]

    def findings(self) -> list[Finding]:
        """One sentence on distance, one on copies, one on variety."""
        return [*self.copies.findings(), self._variety()]

    def _variety(self) -> Finding:
        figures = (
            f"the median distance of a sample to the nearest other sample is {self.among_samples.median:.4g} ± "
            f"{self.among_samples.median_error:.2g}, that of as many held-out examples "
            f"{self.among_held_out.median:.4g} ± {self.among_held_out.median_error:.2g}"
        )
        gap = self.among_held_out.median - self.among_samples.median
        error = np.hypot(self.among_held_out.median_error, self.among_samples.median_error)
        if gap > SURE * error and self.among_samples.median < COLLAPSED * self.among_held_out.median:
            return Finding(Severity.SERIOUS, f"Collapse: {figures}.")
        if gap > SURE * error:
            return Finding(Severity.CHANGE, f"Less variety than held-out data: {figures}.")
        return Finding(Severity.FINE, f"No sign of collapse: {figures}.")


def neighbours(
    samples: Num[np.ndarray, "sample dim"],
    held_out: Num[np.ndarray, "held_out dim"],
    train: Num[np.ndarray, "train dim"],
    seed: int = 0,
) -> Neighbours:
    """Distances of samples to the training data and to each other, against those of held-out data.

    samples, held_out, train: (N, D) in one unit. Where the dimensions have different units, give normalised values.
    seed: of the choice of as many examples from the larger of samples and held-out data, and of the bootstrap.

    Raises InputError as `copies.audit`.
    """
    rng = np.random.default_rng(seed)
    num_equal = min(len(samples), len(held_out))
    copies = audit(samples, held_out, train, seed=seed)
    subsets = [_subset(values, num_equal, rng) for values in (samples, held_out)]
    among = [nearest(values, values, exclude_self=True)[0][:, 0] for values in subsets]
    return Neighbours(copies, Distances.of(among[0], seed), Distances.of(among[1], seed))


def _subset(values: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    return values[np.sort(rng.permutation(len(values))[:num])]
