"""What samples look like beside real data: copies of training examples, too little variety, lost classes.

Two views. Distances need no labels: samples that lie nearer to the training data than held-out data does are copies,
or vary less than the data; samples that lie nearer to each other than held-out examples do have collapsed. A classifier
trained on the real training data needs labels: it says how sure it is of the samples, and how often each class occurs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Num

from lowerbound.errors import InputError

BLOCK_VALUES = 2**24
NEAR_QUANTILE = 0.05
NUM_BOOTSTRAP = 200
SIGNIFICANT = 3.0


def nearest(
    queries: Num[np.ndarray, "query dim"], references: Num[np.ndarray, "reference dim"], exclude_self: bool = False
) -> tuple[Float64[np.ndarray, " query"], Int[np.ndarray, " query"]]:
    """Root mean square difference per dimension to the nearest reference, and which reference that is.

    $\\min_j (\\|x_i - y_j\\|^2 / D)^{1/2}$, in the unit of the values. Products of blocks find the neighbour in single
    precision; its distance is then taken from the values themselves, so that an exact copy has distance 0.

    queries, references: (N, D) and (M, D).
    exclude_self: the two are the same array, and no example is its own neighbour.
    """
    if exclude_self and len(references) < 2:
        raise InputError("an example has a neighbour in its own set only if the set has at least 2")
    centre = references.mean(axis=0, dtype=np.float64)
    centred = (references - centre).astype(np.float32)
    squares = np.einsum("nd,nd->n", centred, centred)
    indices = np.empty(len(queries), dtype=np.int64)
    block = max(1, BLOCK_VALUES // len(references))
    for start in range(0, len(queries), block):
        stop = min(start + block, len(queries))
        scores = squares - 2 * ((queries[start:stop] - centre).astype(np.float32) @ centred.T)
        if exclude_self:
            scores[np.arange(stop - start), np.arange(start, stop)] = np.inf
        indices[start:stop] = scores.argmin(axis=1)
    differences = queries.astype(np.float64) - references[indices].astype(np.float64)
    return np.sqrt((differences**2).mean(axis=1)), indices


@dataclass(frozen=True)
class Distances:
    """Mean and median of nearest-neighbour distances, with standard errors (of the median: from a bootstrap)."""

    mean: float
    mean_error: float
    median: float
    median_error: float

    @classmethod
    def of(cls, values: Float64[np.ndarray, " n"], seed: int = 0) -> "Distances":
        rng = np.random.default_rng(seed)
        resampled = values[rng.integers(len(values), size=(NUM_BOOTSTRAP, len(values)))]
        medians = np.median(resampled, axis=1)
        error = values.std(ddof=1) / len(values) ** 0.5
        return cls(float(values.mean()), float(error), float(np.median(values)), float(medians.std(ddof=1)))

    def __str__(self) -> str:
        return f"median {self.median:.4g} ± {self.median_error:.2g}, mean {self.mean:.4g} ± {self.mean_error:.2g}"


@dataclass(frozen=True)
class Neighbours:
    """How near samples lie to the training data and to each other, beside held-out data of the same number.

    samples_to_train, held_out_to_train: distance to the nearest training example.
    among_samples, among_held_out: distance to the nearest other example of the same set.
    near_share: share of the samples nearer to the training data than the 5 % quantile of held-out examples is.
    near_error: standard error of that share if samples and held-out examples come from one distribution.
    num_identical, num_identical_held_out: how many equal a training example.
    num_samples, num_held_out: how many of each were measured.
    """

    samples_to_train: Distances
    held_out_to_train: Distances
    among_samples: Distances
    among_held_out: Distances
    near_share: float
    near_error: float
    num_identical: int
    num_identical_held_out: int
    num_samples: int
    num_held_out: int

    def findings(self) -> list[str]:
        """One sentence on distance, one on copies, one on variety."""
        return [self._distance(), self._copies(), self._variety()]

    def _distance(self) -> str:
        error = np.hypot(self.samples_to_train.median_error, self.held_out_to_train.median_error)
        gap = self.samples_to_train.median - self.held_out_to_train.median
        figures = (
            f"the median distance of a sample to the nearest training example is {self.samples_to_train.median:.4g} ± "
            f"{self.samples_to_train.median_error:.2g}, that of a held-out example {self.held_out_to_train.median:.4g} "
            f"± {self.held_out_to_train.median_error:.2g}"
        )
        if abs(gap) <= SIGNIFICANT * error:
            return f"As far from the training data as held-out data: {figures}."
        return f"{'Farther from' if gap > 0 else 'Nearer to'} the training data than held-out data: {figures}."

    def _copies(self) -> str:
        figures = (
            f"{self.near_share:.1%} of the samples lie nearer to a training example than the nearest "
            f"{NEAR_QUANTILE:.0%} of held-out examples do (expected {NEAR_QUANTILE:.0%} ± {self.near_error:.1%}); "
            f"{self.num_identical} of {self.num_samples} samples equal a training example, "
            f"{self.num_identical_held_out} of {self.num_held_out} held-out examples do"
        )
        expected = self.num_identical_held_out / self.num_held_out * self.num_samples
        if self.num_identical > expected + SIGNIFICANT * max(expected, 1.0) ** 0.5:
            return f"Copies: {figures}."
        if self.near_share > NEAR_QUANTILE + SIGNIFICANT * self.near_error:
            return f"Too near to the training data, by copying or by varying less than the data: {figures}."
        return f"No sign of copies: {figures}."

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

    Raises InputError if there are fewer than 20 samples or held-out examples.
    """
    for name, values in (("samples", samples), ("held_out", held_out)):
        if len(values) < 20:
            raise InputError(f"{len(values)} {name}: a 5 % quantile needs at least 20")
    rng = np.random.default_rng(seed)
    to_train = [nearest(values, train)[0] for values in (samples, held_out)]
    num_equal = min(len(samples), len(held_out))
    subsets = [_subset(values, num_equal, rng) for values in (samples, held_out)]
    among = [nearest(values, values, exclude_self=True)[0] for values in subsets]
    near = to_train[0] < np.quantile(to_train[1], NEAR_QUANTILE)
    return Neighbours(
        samples_to_train=Distances.of(to_train[0], seed),
        held_out_to_train=Distances.of(to_train[1], seed),
        among_samples=Distances.of(among[0], seed),
        among_held_out=Distances.of(among[1], seed),
        near_share=float(near.mean()),
        near_error=(NEAR_QUANTILE * (1 - NEAR_QUANTILE) * (1 / len(samples) + 1 / len(held_out))) ** 0.5,
        num_identical=int((to_train[0] == 0).sum()),
        num_identical_held_out=int((to_train[1] == 0).sum()),
        num_samples=len(samples),
        num_held_out=len(held_out),
    )


def _subset(values: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    return values[np.sort(rng.permutation(len(values))[:num])]
