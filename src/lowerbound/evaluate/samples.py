"""What samples look like beside real data, by distances alone: copies of training examples, too little variety.

Samples that lie nearer to single training examples than held-out data do are copies (`copies`); samples that lie nearer to
each other than held-out examples do have collapsed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from lowerbound.evaluate.copies import CopyAudit, Distances, audit, nearest
from lowerbound.evaluate.part import Figures


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


@dataclass(frozen=True)
class Neighbours(Figures):
    """How near samples lie to the training data and to each other, beside held-out data.

    copies: distances to the training data.
    among_samples, among_held_out: distance to the nearest other example of the same set, of as many of both.
    """

    copies: CopyAudit
    among_samples: Distances
    among_held_out: Distances


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
