r"""Covariances of few rows: how much of what the sample says is believed.

Of N rows of D numbers the variances e of the sample along its own axes are too far apart, of independent numbers by factors
of $(1 \pm \sqrt{D / N})^2$ (Marchenko & Pastur 1967). Either all are drawn together by one amount, $(1 - s) e + s$, or each
is measured on rows that the axes do not come from.
"""

import math

import numpy as np
from jaxtyping import Float, Float64

SHRINKAGES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)
FOLDS = 5
ENOUGH = 10
"""Rows for each number with which a sample's variances are left as they are: they are wrong by few per cent."""
WIDEST = 2048
"""Numbers of a row, at most, whose axes are found once for each fold."""


def are_few(num_rows: int, dim: int) -> bool:
    """Whether variances are worth measuring on rows that the axes do not come from: of more rows it changes little, of fewer
    there is nothing to measure, and of more numbers it takes long."""
    return FOLDS < num_rows < ENOUGH * dim and dim <= WIDEST


def cross_validated(
    rows: Float[np.ndarray, "num_rows dim"], noise: Float64[np.ndarray, "dim"] | None = None
) -> Float64[np.ndarray, "dim"]:
    r"""Variances for the axes of the sample's covariance, as rows have them that the axes do not come from.

    $$d_i = \frac1N \sum_f \sum_{n \in f} (v_i^{(f)} \cdot x_n)^2$$

    with $v_i^{(f)}$ the i-th axis of all rows but those of the fold f; where these are fewer than D, one variance for all
    axes along which they have none. The $d_i$ are made to rise with the sample's own by monotone regression. (Lam 2016;
    Bartz 2016, cross-validation-based nonlinear shrinkage.)

    Arguments:
        rows: (N, D), less their mean and in units in which the numbers are alike.
        noise: variances, (D,), of independent noise on the numbers that the covariance has on its diagonal besides; None: 0.

    Returns:
        (D,), ascending, as `numpy.linalg.eigh` has the axes.
    """
    from scipy.optimize import isotonic_regression  # takes a tenth of the program's start, and few come here

    num, dim = rows.shape
    rank = dim if noise is not None else min(dim, num - math.ceil(num / FOLDS))
    along, total = np.zeros(rank), 0.0
    for fold in range(FOLDS):
        apart = np.arange(num) % FOLDS == fold
        axes, held_out = _axes(rows[~apart], noise)[:, -rank:], rows[apart].astype(np.float64)
        along += ((held_out @ axes) ** 2).sum(axis=0)
        total += (held_out**2).sum()
        if noise is not None:
            along += len(held_out) * (noise @ axes**2)
    beyond = np.full(dim - rank, (total - along.sum()) / max(1, dim - rank))
    return isotonic_regression(np.concatenate([beyond, along]) / num).x


def _axes(rows: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """Of their covariance about zero, (D, rank), the widest last."""
    if noise is None and len(rows) < rows.shape[1]:
        return np.linalg.svd(rows.astype(np.float64), full_matrices=False)[2][::-1].T
    covariance = rows.T.astype(np.float64) @ rows / len(rows)
    return np.linalg.eigh(covariance if noise is None else covariance + np.diag(noise))[1]
