"""What samples look like beside real data, by distances alone: copies of training examples, too little variety.

Samples that lie nearer to single training examples than held-out data do are copies (`copies`); samples that lie nearer to
each other than held-out examples do have collapsed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from lowerbound.evaluate.copies import SIGNIFICANT, CopyAudit, Distances, audit, nearest

__all__ = ["SIGNIFICANT", "Distances", "Neighbours", "nearest", "neighbours"]


@dataclass(frozen=True)
class Neighbours:
    """How near samples lie to the training data and to each other, beside held-out data.

    copies: distances to the training data.
    among_samples, among_held_out: distance to the nearest other example of the same set, of as many of both.
    """

    copies: CopyAudit
    among_samples: Distances
    among_held_out: Distances

    def findings(self) -> list[str]:
        """One sentence on distance, one on copies, one on variety."""
        return [*self.copies.findings(), self._variety()]

    def _variety(self) -> str:
        figures = (
            f"the median distance of a sample to the nearest other sample is {self.among_samples.median:.4g} ± "
            f"{self.among_samples.median_error:.2g}, that of as many held-out examples "
            f"{self.among_held_out.median:.4g} ± {self.among_held_out.median_error:.2g}"
        )
        gap = self.among_held_out.median - self.among_samples.median
        error = np.hypot(self.among_held_out.median_error, self.among_samples.median_error)
        if self.among_samples.median < 0.8 * self.among_held_out.median and gap > SIGNIFICANT * error:
            return f"Collapse: {figures}."
        return f"No sign of collapse: {figures}."


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
