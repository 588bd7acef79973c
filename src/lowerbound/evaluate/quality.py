r"""How far samples are from data, in a space of features: six figures, each with its standard error.

The Frechet distance of two sets of features is that of the Gaussians with their means and covariances,

$$F = \|m_a - m_b\|^2 + \mathrm{tr}(S_a + S_b) - 2\,\|S_a^{1/2} S_b^{1/2}\|_* ,$$

the last term a sum of singular values, so that no root of a product that is not symmetric is taken and covariances may be
singular (Heusel et al. 2017). The kernel distance is the unbiased squared mean discrepancy with the kernel $(x \cdot y / F
+ 1)^3$ (Binkowski et al. 2018). Four figures are of balls that reach from each example to its k-th neighbour in its own set:
precision is the share of samples within a ball of the references, recall the share of references within a ball of the
samples (Kynkaanniemi et al. 2019); density is the number of reference balls around a sample over k, coverage the share of
the references' balls that hold a sample (Naeem et al. 2020).

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

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from lowerbound.errors import InputError
from lowerbound.records import Measured

NUM_SPLITS = 50
NUM_NEIGHBOURS = 5
BLOCK_VALUES = 2**22


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


def quality(
    samples: Float[np.ndarray, "sample feature"],
    references: Float[np.ndarray, "reference feature"],
    *,
    num_neighbours: int = NUM_NEIGHBOURS,
    seed: int = 0,
) -> Quality:
    """All figures of samples against references.

    Where the numbers differ, the figures of neighbours take the first of the larger set, as many as the smaller one has.

    Arguments:
        samples, references: features, (N, F) and (M, F), in random order.
        num_neighbours: k.
        seed: of the splits.

    Raises:
        InputError: as `frechet_distance` and `neighbour_figures`.
    """
    num = min(len(samples), len(references))
    return Quality(
        frechet_distance(samples, references, seed).figure,
        kernel_distance(samples, references, seed).figure,
        *(each.figure for each in neighbour_figures(samples[:num], references[:num], num_neighbours, seed)),
        num_samples=len(samples),
        num_references=len(references),
        num_neighbours=num_neighbours,
    )


def frechet_distance(
    samples: Float[np.ndarray, "sample feature"], references: Float[np.ndarray, "reference feature"], seed: int = 0
) -> Estimate:
    r"""$\|m_a - m_b\|^2 + \mathrm{tr}(S_a + S_b - 2 (S_a^{1/2} S_b S_a^{1/2})^{1/2})$, squared units of the features.

    Too large by a term in 1 / N + 1 / M: compare it at equal numbers.

    Arguments:
        samples, references: features, (N, F) and (M, F).
        seed: of the splits that its error comes from.

    Raises:
        InputError: if there are fewer than four of either, or a feature is not finite.
    """
    _check(samples, references, 4)
    choices = zip(*_choices(len(samples), len(references), seed), strict=True)
    values = [_frechet(samples[rows], references[columns]) for rows, columns in choices]
    return _estimate(np.array(values), distance=True)


def _frechet(samples: np.ndarray, references: np.ndarray) -> float:
    (mean_a, root_a), (mean_b, root_b) = map(_moments, (samples, references))
    overlap = np.linalg.svd(root_a @ root_b, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * overlap
    return float(((mean_a - mean_b) ** 2).sum() + max(spread, 0.0))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the symmetric root of the covariance."""
    mean = values.mean(0, dtype=np.float64)
    centred = values - mean
    eigenvalues, axes = np.linalg.eigh(centred.T @ centred / (len(values) - 1))
    return mean, axes * np.sqrt(eigenvalues.clip(min=0)) @ axes.T


def kernel_distance(
    samples: Float[np.ndarray, "sample feature"], references: Float[np.ndarray, "reference feature"], seed: int = 0
) -> Estimate:
    r"""$\frac{\sum_{i \ne j} k(x_i, x_j)}{N (N - 1)} + \frac{\sum_{i \ne j} k(y_i, y_j)}{M (M - 1)} - \frac{2}{N M}
    \sum_{ij} k(x_i, y_j)$, $k(x, y) = (x \cdot y / F + 1)^3$: of mean zero where the distributions are equal.

    Arguments:
        samples, references: features, (N, F) and (M, F).
        seed: of the splits that its error comes from.

    Raises:
        InputError: if there are fewer than four of either, or a feature is not finite.
    """
    _check(samples, references, 4)
    x, y = samples.astype(np.float64), references.astype(np.float64)
    chosen_x, chosen_y = _choices(len(x), len(y), seed)
    size_x, size_y = chosen_x.sum(1), chosen_y.sum(1)
    values = _kernel_sums(x, x, chosen_x, chosen_x) / (size_x * (size_x - 1))
    values += _kernel_sums(y, y, chosen_y, chosen_y) / (size_y * (size_y - 1))
    values -= 2 * _kernel_sums(x, y, chosen_x, chosen_y) / (size_x * size_y)
    return _estimate(values, distance=True)


def _kernel_sums(x: np.ndarray, y: np.ndarray, chosen_x: np.ndarray, chosen_y: np.ndarray) -> np.ndarray:
    """The kernel summed over the pairs of each choice, of one set with itself without i = j."""
    sums = np.zeros(len(chosen_x))
    for part in blocks(len(x), len(y)):
        kernel = (x[part] @ y.T / x.shape[1] + 1) ** 3
        if x is y:
            kernel[np.arange(len(kernel)), np.arange(part.start, part.stop)] = 0
        sums += ((chosen_x[:, part].astype(np.float64) @ kernel) * chosen_y).sum(1)
    return sums


def neighbour_figures(
    samples: Float[np.ndarray, "sample feature"],
    references: Float[np.ndarray, "reference feature"],
    num_neighbours: int = NUM_NEIGHBOURS,
    seed: int = 0,
) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """Precision, recall, density and coverage of equally many samples and references.

    Arguments:
        samples, references: features, (N, F) each.
        num_neighbours: k, the neighbour in an example's own set to which its ball reaches.
        seed: of the splits that the errors come from.

    Raises:
        InputError: if k is below 1, a half has not enough examples for k neighbours, or a feature is not finite.
    """
    if num_neighbours < 1:
        raise InputError(f"num_neighbours is {num_neighbours}: a ball reaches to the first neighbour at least")
    _check(samples, references, 2 * (num_neighbours + 1))
    if len(samples) != len(references):
        raise InputError(
            f"{len(samples)} samples and {len(references)} references: these figures depend on both numbers, give equal ones"
        )
    num = len(samples)
    x, y = samples.astype(np.float64), references.astype(np.float64)
    chosen_x, chosen_y = _choices(num, num, seed)
    radii_x, radii_y = _radii(x, chosen_x, num_neighbours), _radii(y, chosen_y, num_neighbours)
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
    precision, recall, density, coverage = (_estimate(values, distance=False) for values in figures)
    return precision, recall, density, coverage


def _radii(values: np.ndarray, chosen: np.ndarray, num_neighbours: int) -> np.ndarray:
    """Squared distance of each example to its k-th neighbour among those of each choice that it belongs to, (R, N)."""
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


def _choices(
    num_samples: int, num_references: int, seed: int
) -> tuple[Bool[np.ndarray, "choice sample"], Bool[np.ndarray, "choice reference"]]:
    """Random splits of both sets, all first halves and then all second ones, and the whole sets: the same for the same
    numbers and seed, so that differences are of pairs."""

    def choices(rng: np.random.Generator, num: int) -> np.ndarray:
        half = rng.random((NUM_SPLITS, num)).argsort(1) < num // 2
        return np.concatenate([half, ~half, np.ones((1, num), bool)])

    first, second = np.random.default_rng(seed).spawn(2)
    return choices(first, num_samples), choices(second, num_references)


def _estimate(values: Float64[np.ndarray, " choice"], distance: bool) -> Estimate:
    """From the figures of the choices in their order."""
    return Estimate(float(values[-1]), values[:-1].reshape(2, -1).T, distance)


def _check(samples: np.ndarray, references: np.ndarray, least: int) -> None:
    for name, values in (("samples", samples), ("references", references)):
        if len(values) < least:
            raise InputError(f"{len(values)} {name}: at least {least} are needed for a figure with a standard error")
        if not np.isfinite(values).all():
            raise InputError(f"the features of the {name} are not all finite")
