r"""Does a model repeat its training data? The distances of samples to it, against those of held-out data.

**Two scores of an example**, both lower for a copy. Its distance $d_1$ to the nearest training example; and $d_1 / d_k$,
that distance relative to the one to the k-th nearest, which is near 1 wherever an example stands among its neighbours and
near 0 where it stands upon one of them. The first is also low for samples that vary less than the data (a blurred image is
near to many); the second is not, and can be compared between dense and sparse regions. Duplicates count once; otherwise they
would be each other's neighbours, and what is there most often is what is learned by heart.

**The test.** Given the training data, held-out examples are independent draws, and so are samples; if both are of one
distribution, so are their scores. Mann and Whitney's U asks whether the samples' are lower (of distances: Meehan, Chaudhuri
& Dasgupta 2020). Over the number of pairs it is the probability that a sample's score is below a held-out example's, which
is the area under the curve of a detector that goes by this score: of planted copies in the place of samples it says how well
they are found. A copy that the data hold themselves, between their own splits, lowers the held-out scores as well.

**Single copies.** The rank of a sample's score among n held-out ones is a p-value, $(1 + \#\{i : h_i \le s\}) / (n + 1)$,
whatever the distribution. Suspects are the samples whose p-value is at most the false-positive rate, that is, whose score
is below the r-th lowest of the held-out ones, $r = \lfloor rate \cdot (n + 1) \rfloor$. Of N samples of the same
distribution at least K are, if among the K + r - 1 lowest of all N + n scores there are fewer than r held-out ones: a
hypergeometric probability. It notices a few copies among many good samples, to which the mean rank is blind.

**Collapse.** Samples that lie nearer to each other than held-out examples do have collapsed.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Num
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.evaluate.nearest import Mapped, Rows, nearest, parts_of
from lowerbound.evaluate.part import Figures
from lowerbound.files.records import Measured

NUM_BOOTSTRAP = 200
NUM_NEIGHBOURS = 3
FALSE_POSITIVE_RATE = 0.01
FEWEST = 20
"""Samples or held-out examples below which ranks say too little."""


@dataclass(frozen=True)
class Distances:
    """Mean and median of nearest-neighbour distances, with standard errors (of the median: from a bootstrap)."""

    mean: float
    mean_error: float
    median: float
    median_error: float

    @classmethod
    def of(cls, values: Float64[np.ndarray, " n"], seed: int = 0) -> "Distances":
        """Of a set of distances; the seed is the bootstrap's."""
        resampled = values[np.random.default_rng(seed).integers(len(values), size=(NUM_BOOTSTRAP, len(values)))]
        medians = np.median(resampled, axis=1)
        return cls(*Measured.of(values), float(np.median(values)), float(medians.std(ddof=1)))


@dataclass(frozen=True)
class Ranks:
    """Whether the scores of samples are lower than those of held-out examples.

    Arguments:
        auc: the probability that a sample's is the lower of two, ties counted half; 1/2 if both are of one distribution.
        error: its standard error, whatever the distributions (DeLong, DeLong & Clarke-Pearson 1988).
        z: $(auc - 1/2)$ in standard deviations that it has if both are of one distribution (Mann & Whitney 1947; with ties).
        p: the probability of so large a z then.
    """

    auc: float
    error: float
    z: float
    p: float

    @classmethod
    def of(cls, samples: Float[np.ndarray, " sample"], held_out: Float[np.ndarray, " held_out"]) -> "Ranks":
        """Of the scores of samples and of held-out examples."""
        num, num_held_out = len(samples), len(held_out)
        above, below = _share_below(-samples, -held_out), _share_below(held_out, samples)
        auc, error = float(above.mean()), math.sqrt(above.var(ddof=1) / num + below.var(ddof=1) / num_held_out)
        total = num + num_held_out
        ties = np.unique(np.concatenate([samples, held_out]), return_counts=True)[1].astype(np.float64)
        variance = (total + 1 - (ties**3 - ties).sum() / (total * (total - 1))) / (12 * num * num_held_out)
        z = (auc - 0.5) / math.sqrt(variance) if variance > 0 else 0.0
        return cls(auc, error, z, math.erfc(z / math.sqrt(2)) / 2)


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each value the share of the others below it, those equal to it counted half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(others))


@dataclass(frozen=True)
class Suspect:
    """A sample that may be a copy.

    Arguments:
        sample: its index.
        example: the index of the nearest training example.
        distance: to it, root mean square per dimension.
        relative: that over the distance to the k-th nearest.
        p: the share of held-out examples that are as near to one, itself counted in.
    """

    sample: int
    example: int
    distance: float
    relative: float
    p: float


@dataclass(frozen=True)
class CopyAudit:
    """Whether samples repeat training examples.

    Arguments:
        samples, held_out: their distances to the nearest training example.
        nearer: the ranks of these distances.
        relative: the ranks of the distances relative to those of the k-th nearest training example.
        suspects: samples with a p-value of at most `false_positive_rate`, the most suspicious first.
        false_positive_rate: the share of samples of the data's own distribution that would be suspects.
        suspects_p: the probability of so many suspects, or more, if samples are of the data's own distribution.
        num_identical, num_identical_held_out: how many equal a training example.
        num_samples, num_held_out: how many were compared.
        num_neighbours: k.
    """

    samples: Distances
    held_out: Distances
    nearer: Ranks
    relative: Ranks
    suspects: tuple[Suspect, ...]
    false_positive_rate: float
    suspects_p: float
    num_identical: int
    num_identical_held_out: int
    num_samples: int
    num_held_out: int
    num_neighbours: int

    def __post_init__(self) -> None:
        if self.num_held_out < 1:
            raise InputError("the figures contradict each other: no held-out examples")


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
    samples: Num[np.ndarray, "sample dim"], held_out: Num[np.ndarray, "held_out dim"], train: Rows, seed: int = 0
) -> Neighbours:
    """Distances of samples to the training data and to each other, against those of held-out data.

    samples, held_out: (N, D) in one unit. Where the dimensions have different units, give normalised values.
    train: as many training examples as there are, likewise; slices of them are taken, so that they need not be in memory.
    seed: of the choice of as many examples from the larger of samples and held-out data, and of the bootstrap.

    Raises InputError as `audit`.
    """
    copies = audit(samples, held_out, train, seed=seed)
    rng, num_equal = np.random.default_rng(seed), min(len(samples), len(held_out))
    among = []
    for values in (samples, held_out):
        chosen = values[np.sort(rng.permutation(len(values))[:num_equal])]
        distances, _ = nearest(chosen, chosen, exclude_self=True)
        among.append(Distances.of(distances[:, 0], seed))
    return Neighbours(copies, *among)


def audit(
    samples: Num[np.ndarray, "sample *shape"] | Num[Tensor, "sample *shape"],
    held_out: Num[np.ndarray, "held_out *shape"] | Num[Tensor, "held_out *shape"],
    train: Rows,
    *,
    features: Callable[[Any], Num[np.ndarray, "batch feature"]] | None = None,
    num_neighbours: int = NUM_NEIGHBOURS,
    false_positive_rate: float | None = None,
    seed: int = 0,
) -> CopyAudit:
    """Compare the distances of samples to the training data with those of held-out data.

    Arguments:
        samples, held_out: (N, *shape) in one unit. Where entries have different units, give normalised values.
        train: likewise, an array, a tensor or what gives these for slices and arrays of indices (`nearest.Mapped`).
        features: what distances are taken of, (N, F), computed from each of the three; the entries themselves if None.
        num_neighbours: k, at least 2, of the neighbourhood that a distance is relative to.
        false_positive_rate: of suspects; if None 0.01, or 1 / (n + 1) if there are too few held-out examples, n, for that.
        seed: of the bootstrap.

    Raises:
        InputError: if there are fewer than 20 samples or held-out examples, fewer than k different training examples, or
            too few held-out examples for the false-positive rate.
    """
    for name, values in (("samples", samples), ("held-out examples", held_out)):
        if len(values) < FEWEST:
            raise InputError(f"{len(values)} {name}: an audit compares at least {FEWEST} samples with at least as many")
    rate = max(FALSE_POSITIVE_RATE, 1 / (len(held_out) + 1)) if false_positive_rate is None else false_positive_rate
    rank = math.floor(rate * (len(held_out) + 1) * (1 + 1e-12))  # r; a rate of 1 / (n + 1) may round to below it
    if not 1 <= rank <= len(held_out):
        raise InputError(
            f"a false-positive rate of {rate:g} with {len(held_out)} held-out examples: these can set rates from "
            f"{1 / (len(held_out) + 1):.2g} to below 1"
        )
    distinct = _distinct(train)
    if not 2 <= num_neighbours <= distinct.sum():
        raise InputError(
            f"num_neighbours is {num_neighbours} with {distinct.sum()} different training examples: it is at least 2 and at "
            "most as many as there are"
        )
    features = features or _flat
    queries = [np.asarray(features(values)) for values in (samples, held_out)]
    found, nearby = nearest(np.concatenate(queries), Mapped(train, features), num_neighbours, among=distinct)
    is_equal = (np.concatenate([_flat(samples), _flat(held_out)]) == _flat(train[nearby[:, 0]])).all(axis=1)
    distances, scores, examples, identical = (
        np.split(each, [len(samples)]) for each in (found[:, 0], _relative(found), nearby[:, 0], is_equal)
    )
    p = (1 + np.searchsorted(np.sort(scores[1]), scores[0], "right")) / (len(held_out) + 1)
    suspects = tuple(
        Suspect(int(i), int(examples[0][i]), float(distances[0][i]), float(scores[0][i]), float(p[i]))
        for i in np.lexsort((distances[0], scores[0]))
        if p[i] * (len(held_out) + 1) <= rank
    )
    return CopyAudit(
        samples=Distances.of(distances[0], seed),
        held_out=Distances.of(distances[1], seed),
        nearer=Ranks.of(*distances),
        relative=Ranks.of(*scores),
        suspects=suspects,
        false_positive_rate=rank / (len(held_out) + 1),
        suspects_p=_tail(len(suspects), len(samples), len(held_out), rank),
        num_identical=int(identical[0].sum()),
        num_identical_held_out=int(identical[1].sum()),
        num_samples=len(samples),
        num_held_out=len(held_out),
        num_neighbours=num_neighbours,
    )


def _distinct(train: Rows) -> Bool[np.ndarray, " train"]:
    """Which are the first of those that are equal."""
    seen, distinct = set(), np.zeros(len(train), dtype=bool)
    for part in parts_of(train, _flat(train[:1]).size):
        for place, row in enumerate(_flat(train[part]), part.start):
            digest = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            distinct[place] = digest not in seen
            seen.add(digest)
    return distinct


def _flat(values: np.ndarray | Tensor) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(len(values), -1)


def _relative(distances: np.ndarray) -> np.ndarray:
    """$d_1 / d_k$; 0 where both are."""
    return np.divide(distances[:, 0], distances[:, -1], out=np.zeros(len(distances)), where=distances[:, -1] > 0)


def _tail(num_suspects: int, num: int, num_held_out: int, rank: int) -> float:
    """The probability that at least so many of `num` samples are below the r-th of `num_held_out` others of their kind."""
    lowest = num_suspects + rank - 1

    def log_choose(total: int, chosen: int) -> float:
        return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)

    whole = log_choose(num + num_held_out, lowest)
    terms = (
        math.exp(log_choose(num_held_out, few) + log_choose(num, lowest - few) - whole)
        for few in range(max(0, lowest - num), min(rank, lowest + 1))
    )
    return min(1.0, math.fsum(terms))
