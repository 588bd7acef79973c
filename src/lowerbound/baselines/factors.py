"""Factor analysis: a Gaussian of many numbers that few factors move, the rest of each its own."""

import math
import warnings

import numpy as np

from lowerbound.baselines.splits import EXACT, Baseline, Splits, check_complete, check_varying
from lowerbound.errors import InputError

MOST_FACTORS = 64
MOST_ENTRIES = 2**25
"""Of the training examples that are looked at."""


def factor_analysis(splits: Splits) -> Baseline:
    r"""By scikit-learn, $N(m, \Lambda \Lambda^T + \psi)$, $\psi$ diagonal and k columns in $\Lambda$ (Rubin & Thayer 1982).

    k is doubled from 1, up to 64, as long as validation examples are likelier so.

    Raises InputError for discrete data, where entries are missing, or a dimension that is constant.
    """
    from sklearn.decomposition import FactorAnalysis
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if splits.num_levels is not None:
        raise InputError(f"factor analysis is of real numbers, and these data have {splits.num_levels} levels")
    check_complete(splits)
    train = splits.train[:: -(-splits.train.size // MOST_ENTRIES)].astype(np.float64)
    mean, scale = train.mean(axis=0), check_varying(train.std(axis=0))
    best, likeliest, num_factors = None, -math.inf, 1
    with warnings.catch_warnings(), threadpool_limits(1):  # as of best_mixture
        warnings.simplefilter("ignore", ConvergenceWarning)
        while num_factors <= min(MOST_FACTORS, splits.dim // 2):
            found = FactorAnalysis(num_factors, max_iter=100).fit((train - mean) / scale)
            log_prob = found.score((splits.validation - mean) / scale)
            if log_prob <= likeliest:
                break
            best, likeliest, num_factors = found, log_prob, 2 * num_factors
    if best is None:
        raise InputError(f"factor analysis is of two dimensions at least, and these data have {splits.dim}")
    nats = np.log(scale).sum() - best.score_samples((splits.test - mean) / scale)
    plural = "" if best.n_components == 1 else "s"
    return splits.baseline(f"factor analysis ({best.n_components} factor{plural})", nats, EXACT)
