"""One Gaussian of all dimensions, and a copula: correlations beside marginals of any form."""

import numpy as np
from scipy.special import logsumexp

from lowerbound.baselines.shrinkage import SHRINKAGES, are_few, cross_validated
from lowerbound.baselines.splits import EXACT, Baseline, Splits, check_complete, check_varying
from lowerbound.errors import InputError

COPULA_WIDTHS = (0.1, 0.3, 0.6, 1.0)
COPULA_CENTRES = 500
BLOCK = 4096


def gaussian(splits: Splits) -> Baseline:
    """One Gaussian whose full covariance is shrunk towards its diagonal, $(1 - s) S + s \\, diag(S)$, or has the variances
    along its axes that rows apart have (`shrinkage.cross_validated`).

    Which, and s, is chosen on the validation split. On discrete data the noise u is integrated in closed form: it
    adds I/12 to the covariance, and with the precision matrix A the expected quadratic form at k + u is the one at the
    centre k + 1/2 plus tr(A)/12.

    Raises InputError where entries are missing.
    """
    check_complete(splits)
    discrete = splits.num_levels is not None
    mean, covariance = _moments(splits.train)
    if discrete:
        covariance[np.diag_indices_from(covariance)] += 1 / 12
    scale = check_varying(np.sqrt(np.diag(covariance)))
    eigenvalues, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    rotation = axes / scale[:, None]
    # the closed form needs the centre k + 1/2 less the mean
    noise = (rotation**2).sum(axis=0) / 12 if discrete else 0.0

    def squares(values: np.ndarray) -> np.ndarray:
        return ((values - mean) @ rotation) ** 2 + noise

    def nats(squared: np.ndarray, variances: np.ndarray) -> np.ndarray:
        if variances.min() <= 1e-10:
            return np.full(len(squared), np.inf)
        log_det = np.log(variances).sum() + 2 * np.log(scale).sum()
        return 0.5 * (splits.dim * np.log(2 * np.pi) + log_det + squared @ (1 / variances))

    candidates = {f"shrinkage {s:g}": (1 - s) * eigenvalues + s for s in SHRINKAGES}
    if are_few(*splits.train.shape):
        scaled = (splits.train - mean) / scale
        candidates["cross-validated shrinkage"] = cross_validated(scaled, 1 / (12 * scale**2) if discrete else None)
    on_validation = squares(splits.validation)
    chosen = min(candidates, key=lambda name: nats(on_validation, candidates[name]).mean())
    name = f"full-covariance Gaussian ({chosen})"
    return splits.baseline(name, nats(squares(splits.test), candidates[chosen]), splits.kind)


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
    check_complete(splits)
    train = splits.train.astype(np.float64)
    scale, num = check_varying(train.std(axis=0)), min(len(train), COPULA_CENTRES)
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
            best = min(
                best, (nats(validation, shrunk).mean(), width, shrinkage, shrunk), key=lambda candidate: candidate[0]
            )
    _, width, shrinkage, correlation = best
    name = f"Gaussian copula (kernels {width:g} times Silverman's, shrinkage {shrinkage:g})"
    return splits.baseline(name, nats(scores(splits.test.astype(np.float64), width), correlation), EXACT)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) in float64, block by block so that no second copy of the data is made."""
    mean = values.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(values), BLOCK):
        centred = values[start : start + BLOCK] - mean
        covariance += centred.T @ centred
    return mean, covariance / len(values)
