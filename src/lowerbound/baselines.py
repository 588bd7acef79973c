"""Likelihood yardsticks: what simple models reach, in bits per dimension, on the same held-out data.

Every yardstick is fitted on the training split, its one free setting is chosen on the validation split, and its figure
is read off the test split. Discrete data of levels k = 0 .. K-1 is scored in two ways. The histogram is a probability
mass, hence exact. A density p over the dequantised values y = k + u, u uniform on the unit cube, bounds the mass by
Jensen's inequality, $-\\log P(k) \\le E_u[-\\log p(k + u)]$ with $P(k) = \\int p(k + u) du$ (Theis, van den Oord &
Bethge 2016, section 3.1), because a level has width 1 and no further constant enters. Continuous data is scored by its
density in the units it was given in.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Num
from scipy.special import logsumexp

from lowerbound.blocks import Block, Choice, Grid
from lowerbound.brief import Brief
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.likelihood.decoder import log_interval
from lowerbound.records import Measured

EXACT = "exact"
DEQUANTISED = "bound (uniform dequantisation)"

SMOOTHINGS = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)
SHRINKAGES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
MIXTURE_FLOORS = (1e-6, 1e-2, 0.1)
MIXTURE_SIZES = (2, 4, 8, 16, 32, 64)
MIXTURE_FULL_DIMS = 128
MIXTURE_VALUES = 2**24
GAUSSIAN_DIMS = 6144
COPULA_DIMS = 128
COPULA_WIDTHS = (0.1, 0.3, 0.6, 1.0)
COPULA_CENTRES = 500
BLOCK = 4096
YARDSTICK_EXAMPLES = 10_000


@dataclass(frozen=True)
class Baseline:
    """The figure of one yardstick on the test split.

    name: the model and the setting that the validation split chose.
    bits_per_dim: mean over the test examples of -log2 p / D.
    standard_error: of that mean, over examples.
    kind: "exact", or "bound (uniform dequantisation)" where a density stands for a mass.
    num_examples: number of test examples.
    """

    name: str
    bits_per_dim: float
    standard_error: float
    kind: str
    num_examples: int


@dataclass(frozen=True, repr=False)
class Splits(Brief):
    """The three splits as (N, D) arrays, checked together.

    train, validation, test: level indices 0 .. K-1 as integers, or floats in original units, NaN where an entry is missing.
    num_levels: K, or None for continuous data.

    Raises InputError for an empty split, splits of different width, values that are infinite, an example of which nothing
    is there, or levels outside 0 .. K-1.
    """

    train: Num[np.ndarray, "train dim"]
    validation: Num[np.ndarray, "validation dim"]
    test: Num[np.ndarray, "test dim"]
    num_levels: int | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            values = getattr(self, name)
            if values.ndim != 2 or values.shape[1:] != self.train.shape[1:]:
                raise InputError(
                    f"splits are (N, D) arrays of one width; train has shape {self.train.shape}, {name} {values.shape}"
                )
            if len(values) < 2:
                raise InputError(f"the {name} split has {len(values)} examples; a standard error needs at least 2")
            if self.num_levels is None:
                if np.isinf(values).any():
                    raise InputError(f"the {name} split holds values that are not finite; baselines need numbers")
                if np.isnan(values).all(axis=1).any():
                    raise InputError(f"the {name} split holds an example of which no entry is there: leave it out")
            elif not np.issubdtype(values.dtype, np.integer):
                raise InputError(f"num_levels={self.num_levels} needs integer level indices; {name} is {values.dtype}")
            elif values.min() < 0 or values.max() >= self.num_levels:
                raise InputError(
                    f"the {name} split has levels {values.min()} to {values.max()}; "
                    f"num_levels={self.num_levels} allows 0 to {self.num_levels - 1}"
                )

    @property
    def dim(self) -> int:
        return self.train.shape[1]

    @property
    def has_missing(self) -> bool:
        """Whether an entry is missing."""
        return any(np.isnan(values).any() for values in (self.train, self.validation, self.test))

    @property
    def kind(self) -> str:
        """What a density's figure is for this data."""
        return EXACT if self.num_levels is None else DEQUANTISED

    def baseline(self, name: str, nats: Float64[np.ndarray, " test"], kind: str) -> Baseline:
        """The figure for negative log-likelihoods `nats` of the test examples' entries that are there."""
        bits = nats / ((~np.isnan(self.test)).sum(axis=1) * np.log(2))
        return Baseline(name, *Measured.of(bits), kind, len(bits))


def baselines(
    train: Num[np.ndarray, "train dim"],
    validation: Num[np.ndarray, "validation dim"],
    test: Num[np.ndarray, "test dim"],
    num_levels: int | None = None,
    seed: int = 0,
) -> list[Baseline]:
    """Every yardstick that the data allows, in order of capacity.

    train, validation, test: (N, D) level indices 0 .. K-1 as integers, or floats in original units.
    num_levels: K for discrete data, which adds the histogram; None for continuous data.
    seed: of the dequantisation noise and of the mixture's start.

    The copula is for continuous data of at most 128 dimensions. Above 6,144 a covariance is no longer quick, so that only
    the histogram and the mixture remain. Where entries are missing (NaN), independent Gaussians are the one yardstick,
    fitted to and scored on those that are there.

    Raises InputError for data that does not fit `num_levels`, or a dimension that is constant in continuous data.
    """
    splits = Splits(train, validation, test, num_levels)
    if splits.has_missing:
        return [independent_gaussian(splits)]
    of_levels = [] if num_levels is None else [histogram(splits)]
    of_pairs = [gaussian(splits)] if splits.dim <= GAUSSIAN_DIMS else []
    of_ranks = [gaussian_copula(splits)] if num_levels is None and splits.dim <= COPULA_DIMS else []
    return [*of_levels, *of_pairs, *of_ranks, gaussian_mixture(splits, seed)]


def flat(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Examples as `Splits` takes them, (N, D): level indices 0 .. K-1, or floats in original units."""
    return dataset.examples[indices].reshape(len(indices), -1) - dataset.spec.encoding.offset


def of_dataset(dataset: Dataset, num_examples: int | None = None) -> list[Baseline]:
    """Every yardstick that a data set allows (see `baselines`), of the first test examples; of a table, whose columns are
    of several kinds, `independent_columns`.

    Raises InputError as `baselines` and `independent_columns`.
    """
    test = dataset.test[:num_examples]
    if dataset.spec.columns:
        return [independent_columns(dataset, dataset.train, test)]
    return baselines(
        *(flat(dataset, indices) for indices in (dataset.train, dataset.validation, test)),
        num_levels=dataset.spec.num_levels,
    )


def yardstick(dataset: Dataset, num_examples: int) -> Baseline | None:
    """What the simplest model reaches on the first validation examples: independent dimensions, histograms or Gaussians.

    It takes a moment only, on any data; a model that stays behind it has not learned anything yet.

    Arguments:
        dataset: the data, of which at most `YARDSTICK_EXAMPLES` training examples are read.
        num_examples: how many validation examples.

    Returns:
        The baseline on the validation examples in place of test ones; None where there is none, as of a dimension that is
        constant.
    """
    if dataset.spec.columns:
        return independent_columns(dataset, dataset.train[:YARDSTICK_EXAMPLES], dataset.validation[:num_examples])
    train = flat(dataset, dataset.train[:YARDSTICK_EXAMPLES])
    validation = flat(dataset, dataset.validation[:num_examples])
    try:
        splits = Splits(train, validation, validation, dataset.spec.encoding.num_levels)
        return independent_gaussian(splits) if splits.num_levels is None else histogram(splits)
    except InputError:
        return None


def weakness(metadata: Mapping[str, str]) -> str | None:
    """A sentence on a model that is worse than its simplest baseline, from what its file of weights says; else None."""
    try:
        bits, simplest = float(metadata["held_out_bits_per_dim"]), float(metadata["baseline_bits_per_dim"])
    except (KeyError, ValueError):
        return None
    if bits <= simplest:
        return None
    return (
        f"this model has not learned much: {bits:.3f} bits/dim on held-out data, where the simplest baseline "
        f"({metadata.get('baseline', 'independent dimensions')}) needs {simplest:.3f}"
    )


def histogram(splits: Splits) -> Baseline:
    """Independent dimensions, each with its own smoothed histogram, $P_d(k) = (n_{dk} + a) / (N + a K)$.

    The additive smoothing a is chosen on the validation split.

    Raises InputError for continuous data.
    """
    num_levels = splits.num_levels
    if num_levels is None:
        raise InputError("a histogram has a probability mass for discrete data only; give num_levels")

    def counts(values: np.ndarray) -> np.ndarray:
        """How often the training split has the value of each entry of `values` in the same dimension."""
        columns = zip(splits.train.T, values.T, strict=True)
        return np.stack([np.bincount(train, minlength=num_levels)[column] for train, column in columns], axis=1)

    def nats(count: np.ndarray, smoothing: float) -> np.ndarray:
        return -np.log((count + smoothing) / (len(splits.train) + smoothing * num_levels)).sum(axis=1)

    on_validation = counts(splits.validation)
    smoothing = min(SMOOTHINGS, key=lambda a: nats(on_validation, a).mean())
    name = f"per-dimension histogram (smoothing {smoothing:g})"
    return splits.baseline(name, nats(counts(splits.test), smoothing), EXACT)


def independent_gaussian(splits: Splits) -> Baseline:
    """Independent dimensions, each with a Gaussian of the training split's mean and variance; missing entries do not count.

    Raises InputError for discrete data, or a dimension that is constant or of which nothing is there.
    """
    if splits.num_levels is not None:
        raise InputError(f"a Gaussian is for continuous data, these have {splits.num_levels} levels: take a histogram")
    train = splits.train.astype(np.float64)
    unseen = np.flatnonzero(np.isnan(train).all(axis=0))
    if len(unseen):
        raise InputError(f"of dimension {unseen[0]} no entry is there in the training split: leave it out")
    mean, scale = np.nanmean(train, axis=0), _scale(np.nanstd(train, axis=0))
    squares = ((splits.test - mean) / scale) ** 2
    nats = np.nansum(0.5 * (squares + np.log(2 * np.pi)) + np.log(scale), axis=1)
    return splits.baseline("independent Gaussians", nats, EXACT)


def independent_columns(dataset: Dataset, train: np.ndarray, test: np.ndarray) -> Baseline:
    """Independent columns of a table, each by its block: a real number by a Gaussian of its x, a grid without ends by that
    Gaussian's mass on each place, levels and categories by their frequencies, $(n_k + 1) / (N + K)$. What is missing does
    not count.

    dataset: of a table.
    train, test: the numbers of the rows that it is fitted to and scored on.

    Raises InputError for fewer than two rows of either.
    """
    if min(len(train), len(test)) < 2:
        raise InputError(f"{len(train)} rows to fit columns to and {len(test)} to score: both need at least 2")
    blocks, encoding = dataset.spec.blocks, dataset.spec.encoding
    assert blocks is not None
    seen, x = dataset.encoded(train).double().numpy(), dataset.encoded(test).double().numpy()
    nats, entry = -encoding.log_det(dataset.encoded(test)).numpy(), 0
    for block in blocks:
        place = slice(entry, entry + block.width)
        entry += block.width
        there = ~np.isnan(x[:, place.start])
        fitted, scored = seen[~np.isnan(seen[:, place.start]), place], x[there, place]
        nats[there] -= _log_prob_of_block(block, fitted, scored)
    bits = nats / (dataset.num_observed[test] * np.log(2))
    return Baseline("independent columns", *Measured.of(bits), EXACT, len(bits))


def _log_prob_of_block(block: Block, fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Log probabilities, or densities of x, of one block."""
    num = block.width if isinstance(block, Choice) else block.num_levels if isinstance(block, Grid) else None
    if num is not None:
        assert isinstance(block, Choice | Grid)
        kinds = [_number(block, values) for values in (fitted, scored)]
        counts = np.bincount(kinds[0], minlength=num)
        return np.log((counts + 1) / (len(fitted) + num))[kinds[1]]
    mean, std = fitted.mean(), fitted.std()
    if isinstance(block, Grid):
        # a spread that no grid has is one of its bins
        std = max(std, block.spacing / 12**0.5)
        ends = [torch.from_numpy((scored[:, 0] + side * block.spacing / 2 - mean) / std) for side in (-1, 1)]
        return log_interval(*ends).numpy()
    return -0.5 * (((scored[:, 0] - mean) / std) ** 2 + np.log(2 * np.pi)) - np.log(std)


def _number(block: Choice | Grid, x: np.ndarray) -> np.ndarray:
    """Which category or level it is."""
    if isinstance(block, Choice):
        return x.argmax(1)
    return np.rint((x[:, 0] - block.origin) / block.spacing).astype(np.int64)


def gaussian(splits: Splits) -> Baseline:
    """One Gaussian whose full covariance is shrunk towards its diagonal, $(1 - s) S + s \\, diag(S)$.

    The shrinkage s is chosen on the validation split. On discrete data the noise u is integrated in closed form: it
    adds I/12 to the covariance, and with the precision matrix A the expected quadratic form at k + u is the one at the
    centre k + 1/2 plus tr(A)/12.

    Raises InputError where entries are missing.
    """
    _check_complete(splits)
    discrete = splits.num_levels is not None
    mean, covariance = _moments(splits.train)
    if discrete:
        covariance[np.diag_indices_from(covariance)] += 1 / 12
    scale = _scale(np.sqrt(np.diag(covariance)))
    eigenvalues, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    rotation = axes / scale[:, None]
    # the closed form needs the centre k + 1/2 less the mean
    noise = (rotation**2).sum(axis=0) / 12 if discrete else 0.0

    def squares(values: np.ndarray) -> np.ndarray:
        return ((values - mean) @ rotation) ** 2 + noise

    def nats(squared: np.ndarray, shrinkage: float) -> np.ndarray:
        variances = (1 - shrinkage) * eigenvalues + shrinkage
        if variances.min() <= 1e-10:
            return np.full(len(squared), np.inf)
        log_det = np.log(variances).sum() + 2 * np.log(scale).sum()
        return 0.5 * (splits.dim * np.log(2 * np.pi) + log_det + squared @ (1 / variances))

    on_validation = squares(splits.validation)
    shrinkage = min(SHRINKAGES, key=lambda s: nats(on_validation, s).mean())
    name = f"full-covariance Gaussian (shrinkage {shrinkage:g})"
    return splits.baseline(name, nats(squares(splits.test), shrinkage), splits.kind)


def gaussian_copula(splits: Splits) -> Baseline:
    r"""A Gaussian copula: smoothed marginals of any form, and the correlations of their normal scores.

    $$\log p(x) = \log N(z; 0, R) + \sum_d \log f_d(x_d) - \log N(z_d; 0, 1), \qquad z_d = \Phi^{-1}(F_d(x_d)),$$

    with $f_d$ the average of Gaussians around the training values (500 of their quantiles, if there are more), $F_d$ its
    distribution function and R the correlation of the training examples' z, shrunk towards I. The Gaussians' width, as a
    multiple of Silverman's $0.9 \min(s, IQR / 1.34) N^{-1/5}$, and the shrinkage are chosen on the validation split.

    Raises InputError for discrete data, where entries are missing, or a dimension that is constant.
    """
    from scipy.special import log_ndtr, ndtri_exp

    if splits.num_levels is not None:
        raise InputError(f"a copula's marginals are densities, and these data have {splits.num_levels} levels")
    _check_complete(splits)
    train = splits.train.astype(np.float64)
    scale, num = _scale(train.std(axis=0)), min(len(train), COPULA_CENTRES)
    centres = np.quantile(train, (np.arange(num) + 0.5) / num, axis=0, method="linear")
    spread = np.subtract(*np.quantile(train, [0.75, 0.25], axis=0)) / 1.34
    silverman = 0.9 * np.where(spread > 0, np.minimum(scale, spread), scale) * len(train) ** -0.2

    def scores(values: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """The normal score of each entry and its marginal's log density."""
        z, log_f = np.empty(values.shape), np.empty(values.shape)
        for d in range(splits.dim):
            for start in range(0, len(values), BLOCK):
                rows = slice(start, start + BLOCK)
                u = (values[rows, d, None] - centres[:, d]) / (width * silverman[d])
                log_f[rows, d] = logsumexp(-0.5 * u**2, 1) - np.log(num * width * silverman[d] * np.sqrt(2 * np.pi))
                # from the nearer end, where nothing rounds to one
                below, above = (logsumexp(log_ndtr(side), 1) - np.log(num) for side in (u, -u))
                z[rows, d] = np.where(below < above, ndtri_exp(below), -ndtri_exp(above))
        return z, log_f

    def nats(values: tuple[np.ndarray, np.ndarray], correlation: np.ndarray) -> np.ndarray:
        z, log_f = values
        variances, axes = np.linalg.eigh(correlation)
        if variances[0] <= 1e-10:
            return np.full(len(z), np.inf)
        squares = (z @ axes) ** 2 @ (1 / variances) - (z**2).sum(axis=1)
        return 0.5 * (squares + np.log(variances).sum()) - log_f.sum(axis=1)

    best = (np.inf, 0.0, 0.0, np.eye(splits.dim))
    for width in COPULA_WIDTHS:
        z = scores(train[: 4 * COPULA_CENTRES], width)[0]
        correlation = np.corrcoef(z, rowvar=False).reshape(splits.dim, splits.dim)
        validation = scores(splits.validation.astype(np.float64), width)
        for shrinkage in SHRINKAGES:
            shrunk = (1 - shrinkage) * correlation + shrinkage * np.eye(splits.dim)
            best = min(best, (nats(validation, shrunk).mean(), width, shrinkage, shrunk), key=lambda found: found[0])
    _, width, shrinkage, correlation = best
    name = f"Gaussian copula (kernels {width:g} times Silverman's, shrinkage {shrinkage:g})"
    return splits.baseline(name, nats(scores(splits.test.astype(np.float64), width), correlation), EXACT)


def _check_complete(splits: Splits) -> None:
    if splits.has_missing:
        raise InputError(
            "entries are missing (NaN): of the baselines, independent Gaussians alone are fitted to such data"
        )


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) in float64, block by block so that no second copy of the data is made."""
    mean = values.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(values), BLOCK):
        centred = values[start : start + BLOCK] - mean
        covariance += centred.T @ centred
    return mean, covariance / len(values)


def _scale(deviations: np.ndarray) -> np.ndarray:
    constant = np.flatnonzero(deviations == 0)
    if len(constant):
        raise InputError(
            f"{len(constant)} dimensions are constant in the training split (the first is {constant[0]}): their "
            "density is infinite. Drop them, or give num_levels if the data is discrete"
        )
    return deviations


def gaussian_mixture(splits: Splits, seed: int = 0) -> Baseline:
    """A mixture of Gaussians fitted by expectation maximisation on standardised dimensions.

    Components have full covariances up to 128 dimensions and diagonal ones above, where full ones cost too much. The
    number of components and the floor under their variances are chosen on the validation split. At most 2^24 training
    values are used; the name says so where that leaves some out.

    Raises InputError where entries are missing.
    """
    _check_complete(splits)
    rng = np.random.default_rng(seed)
    num_fitted = min(len(splits.train), max(MIXTURE_VALUES // splits.dim, MIXTURE_SIZES[-1]))
    fitted = splits.train[np.sort(rng.permutation(len(splits.train))[:num_fitted])]
    train, validation, test = (_dequantise(values, splits, rng) for values in (fitted, splits.validation, splits.test))
    mean, scale = train.mean(axis=0), _scale(train.std(axis=0))
    train, validation, test = ((values - mean) / scale for values in (train, validation, test))

    mixture = best_mixture(train, validation, seed)
    nats = np.log(scale, dtype=np.float64).sum() - mixture.score_samples(test)
    covariance = "diagonal" if mixture.covariance_type == "diag" else "full"
    subset = "" if num_fitted == len(splits.train) else f", fitted on {num_fitted:,} examples"
    name = f"Gaussian mixture ({mixture.n_components} components, {covariance} covariances{subset})"
    return splits.baseline(name, nats.astype(np.float64), splits.kind)


def _dequantise(values: np.ndarray, splits: Splits, rng: np.random.Generator) -> np.ndarray:
    """Floats to fit densities to: single precision where the mixture is diagonal, to hold large data in memory."""
    dtype = np.float64 if splits.dim <= MIXTURE_FULL_DIMS else np.float32
    floats = values.astype(dtype)
    return floats if splits.num_levels is None else floats + rng.random(values.shape, dtype=dtype)


def best_mixture(train: np.ndarray, validation: np.ndarray, seed: int, most: int = MIXTURE_SIZES[-1]):
    """The mixture of at most so many components with the highest validation density: for each floor, sizes double until
    that falls."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    small = train.shape[1] <= MIXTURE_FULL_DIMS
    most = max(MIXTURE_SIZES[0], min(most, len(train) // 2))
    best, best_score = None, -np.inf
    for floor in MIXTURE_FLOORS:
        previous = -np.inf
        for num_components in (size for size in MIXTURE_SIZES if size <= most):
            mixture = GaussianMixture(
                num_components,
                covariance_type="full" if small else "diag",
                reg_covar=floor,
                tol=1e-3 * train.shape[1],
                max_iter=30,
                init_params="kmeans" if small else "random_from_data",
                random_state=seed,
            )
            with warnings.catch_warnings(), threadpool_limits(1):
                # EM that stops early is still a density, and the validation split judges it. On products as small as
                # these, a second thread costs more than it gives, and tens of times more where the cores are busy.
                warnings.simplefilter("ignore", ConvergenceWarning)
                score = mixture.fit(train).score(validation)
            if score > best_score:
                best, best_score = mixture, score
            if score < previous:
                break
            previous = score
    assert best is not None
    return best
