"""A mixture of Gaussians, fitted by expectation maximisation."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from lowerbound.baselines.splits import Baseline, Splits, check_complete, check_varying

MIXTURE_FLOORS = (1e-6, 1e-2, 0.1)
MIXTURE_SIZES = (2, 4, 8, 16, 32, 64)
MIXTURE_FULL_DIMS = 128
MIXTURE_VALUES = 2**24
Mixture = TypeVar("Mixture")


def gaussian_mixture(splits: Splits, seed: int = 0) -> Baseline:
    """A mixture of Gaussians fitted by expectation maximisation on standardised dimensions.

    Components have full covariances up to 128 dimensions and diagonal ones above, where full ones cost too much. The
    number of components and the floor under their variances are chosen on the validation split. At most 2^24 training
    values are used; the name says so where that leaves some out.

    Raises InputError where entries are missing.
    """
    check_complete(splits)
    rng = np.random.default_rng(seed)
    num_fitted = min(len(splits.train), max(MIXTURE_VALUES // splits.dim, MIXTURE_SIZES[-1]))
    fitted = splits.train[np.sort(rng.permutation(len(splits.train))[:num_fitted])]
    train, validation, test = (_dequantise(values, splits, rng) for values in (fitted, splits.validation, splits.test))
    mean, scale = train.mean(axis=0), check_varying(train.std(axis=0))
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


def best_mixture(train: np.ndarray, validation: np.ndarray, seed: int):
    """The mixture with the highest validation density (`grown`)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    small = train.shape[1] <= MIXTURE_FULL_DIMS
    settings: dict[str, Any] = {
        "covariance_type": "full" if small else "diag",
        "init_params": "kmeans" if small else "random_from_data",
        "tol": 1e-3 * train.shape[1],
        "max_iter": 30,
        "random_state": seed,
    }

    def fitted(num_components: int, floor: float) -> GaussianMixture:
        return GaussianMixture(num_components, reg_covar=floor, **settings).fit(train)

    with warnings.catch_warnings(), threadpool_limits(1):
        # EM that stops early is still a density, and the validation split judges it. On products as small as
        # these, a second thread costs more than it gives, and tens of times more where the cores are busy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return grown(fitted, lambda mixture: mixture.score(validation), len(train) // 2)[0]


def grown(
    fitted: Callable[[int, float], Mixture], score: Callable[[Mixture], float], most: int
) -> tuple[Mixture, float]:
    """The mixture of the highest score, and the score: for each floor under the variances, sizes double until that falls.

    Arguments:
        fitted: of so many components, and a floor.
        score: of held-out data.
        most: components, but for the fewest that are tried.
    """
    candidates: list[tuple[Mixture, float]] = []
    for floor in MIXTURE_FLOORS:
        last = -np.inf
        for size in (size for size in MIXTURE_SIZES if size <= max(most, MIXTURE_SIZES[0])):
            mixture = fitted(size, floor)
            candidates.append((mixture, score(mixture)))
            if candidates[-1][1] < last:
                break
            last = candidates[-1][1]
    return max(candidates, key=lambda candidate: candidate[1])
