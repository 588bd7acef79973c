r"""How far samples are from data, in a space of features: six figures, each with its standard error.

The Frechet distance of two sets of features is that of the Gaussians with their means and covariances,

$$F = \|m_a - m_b\|^2 + \mathrm{tr}(S_a + S_b) - 2\,\|S_a^{1/2} S_b^{1/2}\|_* ,$$

the last term a sum of singular values, so that no root of a product that is not symmetric is taken and covariances may be
singular (Heusel et al. 2017). They are those of $R_a R_b^T$ for any $R$ with $S = R^T R$: the centred examples over
$\sqrt{N - 1}$ where these are fewer than the features, else what a QR decomposition leaves of them. Covariances are never
formed: their smallest eigenvalues would be rounding, and the roots of these not small. The kernel distance is the unbiased
squared mean discrepancy with the kernel $(x \cdot y / F + 1)^3$ (Binkowski et al. 2018). Four figures are of balls that
reach from each example to its k-th neighbour in its own set: precision is the share of samples within a ball of the
references, recall the share of references within a ball of the samples (Kynkaanniemi et al. 2019); density is the number of
reference balls around a sample over k, coverage the share of the references' balls that hold a sample (Naeem et al. 2020).

**Standard errors.** They are of both sets, as if samples and references were drawn anew. A bootstrap with replacement makes
duplicates, which are each other's nearest neighbours and make covariances too small. So both sets are split here at random
into two halves, many times, the figure taken of each: $\theta_1$ and $\theta_2$, which are two independent draws of the
figure at half the numbers. Their variance is $E(\theta_1 - \theta_2)^2 / 2$, and at the full numbers, where variances fall
as 1 / N, half as much:

$$D = \tfrac14 E(\theta_1 - \theta_2)^2 .$$

The two distances need a correction, since they vanish to first order as well where the distributions are equal. With $d$ the
difference of two means and $\pm e$ what the halves add to it, $\|d \pm e\|^2 = \|d\|^2 \pm 2 d \cdot e + \|e\|^2$. Let
$V_1$ and $V_2$ be the variances of the linear and of the quadratic term about the true difference; what is wanted is $V_1 +
V_2$. But $V_2$ falls as $1 / N^2$, so that $D = V_1 + 2 V_2$. The mean of the two halves holds the quadratic term alone, and
its variance P over splits is $V_2$: the variance of a distance is $D - P$, and at least half of D. (Where there are fewer
than about ten examples to a feature, the Frechet distance is not that simple: its error is then up to 40 % too large.)

**Bias.** The Frechet distance of finite sets is too large, by a term in 1 / N; the figures of neighbours depend
on the numbers as well. Figures are to be compared at equal numbers only, and beside those of samples belong
those of as many held-out examples, the floor.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64

from lowerbound.errors import InputError
from lowerbound.files.records import Measured

NUM_SPLITS = 50
NUM_NEIGHBOURS = 5
BLOCK_VALUES = 2**22
KEPT_FEATURES = 256
"""Up to which the roots of a hundred covariances are kept: 53 MB."""
Moments = tuple[np.ndarray, np.ndarray]
_KINDS = ("samples", "references")


@dataclass(frozen=True, eq=False)
class Estimate:
    r"""A figure of samples and references, and what its standard error is made of.

    Arguments:
        value: of all examples.
        halves: of the two halves of each split, $\theta_1$ and $\theta_2$, (R, 2).
        distance: whether it vanishes to first order where the distributions are equal.
    """

    value: float
    halves: Float64[np.ndarray, "split 2"]
    distance: bool

    @property
    def error(self) -> float:
        """The standard error over draws of samples and references."""
        variance = (np.diff(self.halves) ** 2).mean() / 4
        if self.distance:
            variance = max(variance - self.halves.mean(1).var(ddof=1), variance / 2)
        return float(variance**0.5)

    @property
    def figure(self) -> Measured:
        """The value and its standard error."""
        return Measured(self.value, self.error)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference of two figures with the same references, whose samples may be pairs (of one seed, say)."""
        return Estimate(self.value - other.value, self.halves - other.halves, self.distance)


@dataclass(frozen=True)
class Quality:
    """The six figures of a set of samples, each with its standard error.

    Arguments:
        frechet, kernel: distances; 0 at best, and what as many held-out examples have in practice.
        precision, recall, density, coverage: of balls to the k-th neighbour, on equally many samples and references.
        num_samples, num_references: how many of each.
        num_neighbours: k.
        is_inception: whether the features are those in which the distances are called FID and KID.
    """

    frechet: Measured
    kernel: Measured
    precision: Measured
    recall: Measured
    density: Measured
    coverage: Measured
    num_samples: int
    num_references: int
    num_neighbours: int = NUM_NEIGHBOURS
    is_inception: bool = False


def distance_names(quality: Quality) -> tuple[str, str]:
    """What the two distances are called in the features that they are of."""
    return ("FID", "KID") if quality.is_inception else ("Frechet distance", "kernel distance")


class Split:
    """A set of features with random halves of it, and what the figures take of it alone, which is made once.

    Arguments:
        values: features, (N, F), in random order.
        side: 0 of samples and 1 of references, whose halves are chosen apart.
        seed: of the halves.

    Attributes:
        chosen: (R, N), all first halves, then all second ones, and the whole set: the same for the same number and seed, so
            that differences are of pairs.

    Raises:
        InputError: if a feature is not finite.
    """

    def __init__(self, values: Float[np.ndarray, "example feature"], side: int, seed: int = 0):
        if not np.isfinite(values).all():
            raise InputError(f"the features of the {_KINDS[side]} are not all finite")
        self.values, self.side, self.seed = values.astype(np.float64), side, seed
        rng = np.random.default_rng(seed).spawn(2)[side]
        half = rng.random((NUM_SPLITS, len(values))).argsort(1) < len(values) // 2
        self.chosen = np.concatenate([half, ~half, np.ones((1, len(values)), bool)])
        self._first: Split = self
        self._radii, self._moments = dict[int, np.ndarray](), list[Moments]()

    def first(self, num: int) -> "Split":
        """The first examples alone."""
        if len(self._first.values) != num:
            self._first = self if num == len(self.values) else Split(self.values[:num], self.side, self.seed)
        return self._first

    @property
    def moments(self) -> Iterable[Moments]:
        """The mean and a root of the covariance of each choice, kept unless they are large."""
        made = (_moments(self.values[rows]) for rows in self.chosen)
        if self.values.shape[1] > KEPT_FEATURES:
            return made
        self._moments = self._moments or list(made)
        return self._moments

    @property
    def centred(self) -> Iterable[Moments]:
        """The mean and the centred examples, a root of the covariance too, of each choice."""
        return (_centred(self.values[rows]) for rows in self.chosen)

    @cached_property
    def kernel_means(self) -> Float64[np.ndarray, " choice"]:
        """The kernel's mean over the pairs of different examples of each choice."""
        size = self.chosen.sum(1)
        return _kernel_sums(self, self) / (size * (size - 1))

    def radii(self, num_neighbours: int) -> Float64[np.ndarray, "choice example"]:
        """Squared distance of each example to its k-th neighbour among those of each choice that it belongs to."""
        if num_neighbours not in self._radii:
            self._radii[num_neighbours] = _radii(self.values, self.chosen, num_neighbours)
        return self._radii[num_neighbours]


def quality(samples: Split, references: Split, num_neighbours: int = NUM_NEIGHBOURS) -> Quality:
    """All figures of samples against references.

    Where the numbers differ, the figures of neighbours take the first of the larger set, as many as the smaller one has.

    Arguments:
        samples, references: of N and M features.
        num_neighbours: k.

    Raises:
        InputError: as `frechet_distance` and `neighbour_figures`.
    """
    num_samples, num_references = len(samples.values), len(references.values)
    num = min(num_samples, num_references)
    return Quality(
        frechet_distance(samples, references).figure,
        kernel_distance(samples, references).figure,
        *(each.figure for each in neighbour_figures(samples.first(num), references.first(num), num_neighbours)),
        num_samples=num_samples,
        num_references=num_references,
        num_neighbours=num_neighbours,
    )


def frechet_distance(samples: Split, references: Split) -> Estimate:
    r"""$\|m_a - m_b\|^2 + \mathrm{tr}(S_a + S_b - 2 (S_a^{1/2} S_b S_a^{1/2})^{1/2})$, squared units of the features.

    Too large by a term in 1 / N + 1 / M: compare it at equal numbers.

    Raises:
        InputError: if there are fewer than four of either.
    """
    _check_enough(samples, references, least=4)
    sides = samples, references
    many = all(len(side.values) > side.values.shape[1] for side in sides)
    moments = [side.moments if many else side.centred for side in sides]
    return _estimate(np.array(list(map(_frechet, *moments))), distance=True)


def _frechet(first: Moments, second: Moments) -> float:
    (mean_a, root_a), (mean_b, root_b) = first, second
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * overlap
    return float(((mean_a - mean_b) ** 2).sum() + max(spread, 0.0))


def _moments(values: np.ndarray) -> Moments:
    """The mean and a root of the covariance, of no more rows than there are features."""
    mean, root = _centred(values)
    return mean, np.asarray(np.linalg.qr(root, mode="r"))


def _centred(values: np.ndarray) -> Moments:
    """The mean and the centred examples as a root of the covariance."""
    mean = values.mean(0)
    return mean, (values - mean) / (len(values) - 1) ** 0.5


def kernel_distance(samples: Split, references: Split) -> Estimate:
    r"""$\frac{\sum_{i \ne j} k(x_i, x_j)}{N (N - 1)} + \frac{\sum_{i \ne j} k(y_i, y_j)}{M (M - 1)} - \frac{2}{N M}
    \sum_{ij} k(x_i, y_j)$, $k(x, y) = (x \cdot y / F + 1)^3$: of mean zero where the distributions are equal.

    Raises:
        InputError: if there are fewer than four of either.
    """
    _check_enough(samples, references, least=4)
    values = samples.kernel_means + references.kernel_means
    values -= 2 * _kernel_sums(samples, references) / (samples.chosen.sum(1) * references.chosen.sum(1))
    return _estimate(values, distance=True)


def _kernel_sums(first: Split, second: Split) -> np.ndarray:
    """The kernel summed over the pairs of each choice, of one set with itself without i = j."""
    x, y = first.values, second.values
    sums = np.zeros(len(first.chosen))
    for part in blocks(len(x), len(y)):
        kernel = (x[part] @ y.T / x.shape[1] + 1) ** 3
        if first is second:
            kernel[np.arange(len(kernel)), np.arange(part.start, part.stop)] = 0
        sums += ((first.chosen[:, part].astype(np.float64) @ kernel) * second.chosen).sum(1)
    return sums


def neighbour_figures(samples: Split, references: Split, num_neighbours: int = NUM_NEIGHBOURS) -> tuple[Estimate, ...]:
    """Precision, recall, density and coverage of equally many samples and references.

    Arguments:
        samples, references: of N features each.
        num_neighbours: k, the neighbour in an example's own set to which its ball reaches.

    Raises:
        InputError: if k is below 1, or a half has not enough examples for k neighbours.
    """
    if num_neighbours < 1:
        raise InputError(f"num_neighbours is {num_neighbours}: a ball reaches to the first neighbour at least")
    _check_enough(samples, references, least=2 * (num_neighbours + 1))
    x, y, chosen_x, chosen_y = samples.values, references.values, samples.chosen, references.chosen
    if len(x) != len(y):
        raise InputError(
            f"{len(x)} samples and {len(y)} references: these figures depend on both numbers, give equal ones"
        )
    num = len(x)
    radii_x, radii_y = samples.radii(num_neighbours), references.radii(num_neighbours)
    precise, around = np.zeros(len(chosen_x)), np.zeros(len(chosen_x))
    recalled, covered = np.zeros_like(chosen_y), np.zeros_like(chosen_y)
    for part in blocks(num, num):
        squares = _squares(x[part], y)
        for r, (rows, columns) in enumerate(zip(chosen_x[:, part], chosen_y, strict=True)):
            within = squares[np.ix_(rows, columns)]
            in_reference = within <= radii_y[r, columns]
            precise[r] += in_reference.any(1).sum()
            around[r] += in_reference.sum()
            covered[r, columns] |= in_reference.any(0)
            recalled[r, columns] |= (within <= radii_x[r, part][rows, None]).any(0)
    size = chosen_x.sum(1)
    figures = precise / size, recalled.sum(1) / size, around / (num_neighbours * size), covered.sum(1) / size
    return tuple(_estimate(values, distance=False) for values in figures)


def _radii(values: np.ndarray, chosen: np.ndarray, num_neighbours: int) -> np.ndarray:
    radii = np.zeros(chosen.shape)
    for part in blocks(len(values), len(values)):
        squares = _squares(values[part], values)
        squares[np.arange(len(squares)), np.arange(part.start, part.stop)] = np.inf
        for r, columns in enumerate(chosen):
            rows = columns[part]
            nearest = np.partition(squares[np.ix_(rows, columns)], num_neighbours - 1, axis=1)
            radii[r, part][rows] = nearest[:, num_neighbours - 1]
    return radii


def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs."""
    return ((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T).clip(min=0)


def blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Rows in parts whose products with all columns fit into memory."""
    size = max(1, BLOCK_VALUES // num_columns)
    return (slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size))


def _estimate(values: Float64[np.ndarray, " choice"], distance: bool) -> Estimate:
    """From the figures of the choices in their order."""
    return Estimate(float(values[-1]), values[:-1].reshape(2, -1).T, distance)


def _check_enough(*splits: Split, least: int) -> None:
    for split in splits:
        if (num := len(split.values)) < least:
            kind = _KINDS[split.side]
            raise InputError(f"{num} {kind}: at least {least} are needed for a figure with a standard error")
