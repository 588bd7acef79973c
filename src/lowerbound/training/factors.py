"""Factor analysis of wide rows, with gaps or without, for networks to stand upon."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import pad

from lowerbound.fitted.factors import Explained, explain

MOST_FACTORS = 32
LEAST_LEFT = 1e-4
"""Of a number's variance, that factors leave unexplained at least."""
MOST_PRODUCTS = 2**32
"""Of rows, numbers and pairs of factors, in a round of expectation maximisation; of so many rows that are more, some do."""
ROUNDS = 20
TOLERANCE = 1e-4
"""Nats for each entry below which a round is the last."""
JUDGED_ROWS = 512


class Found(NamedTuple):
    r"""Of standardised numbers.

    Arguments:
        shift: their means, (D,).
        left: the variances that factors leave, (D,).
        loadings: (D, k).
    """

    shift: Tensor
    left: Tensor
    loadings: Tensor


def fit_factors(
    train: Float[Tensor, "num_rows dim"], held_out: Float[Tensor, "num_held_out dim"], most: int
) -> tuple[Float64[Tensor, "dim"], Float64[Tensor, "dim"], Float64[Tensor, "dim {most}"]]:
    r"""The mean, the variances that factors leave, and the loadings, of as many factors as suit held-out rows.

    Twice as many are tried as long as held-out rows are likelier so. Loadings beyond are 0.

    Arguments:
        train: NaN where an entry is missing.
        held_out: likewise.
        most: the largest number of factors.
    """
    mean = train.double().nanmean(0).nan_to_num()
    scale = (train - mean).square().nanmean(0).nan_to_num(1.0).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)

    def standardised(rows: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets, 0 where an entry is missing, and 1 where it is there, else 0."""
        return ((rows - mean) / scale).nan_to_num(), (~rows.isnan()).double()

    judged = standardised(held_out[:JUDGED_ROWS].double())
    best = Found(torch.zeros_like(mean), torch.ones_like(mean), torch.zeros(len(mean), 0).double())
    likeliest, num_factors = _mean_log_prob(*judged, best), 1
    while num_factors <= min(most, len(train) // 2, len(mean) // 2):
        num_rows = max(4 * num_factors, MOST_PRODUCTS // (len(mean) * num_factors**2))
        found = _maximised(*standardised(train[:num_rows].double()), num_factors)
        if not (log_prob := _mean_log_prob(*judged, found)) > likeliest:  # nor where nothing is held out
            break
        best, likeliest, num_factors = found, log_prob, 2 * num_factors
    loadings = scale[:, None] * best.loadings
    return mean + scale * best.shift, scale.square() * best.left, pad(loadings, (0, most - loadings.shape[1]))


def _maximised(
    offset: Float64[Tensor, "num_rows dim"], is_there: Float64[Tensor, "num_rows dim"], num_factors: int
) -> Found:
    """What makes rows likeliest, from their principal components on, by expectation maximisation (Rubin & Thayer 1982) in
    which the factors' covariance is free (Liu, Rubin & Wu 1998)."""
    from sklearn.utils.extmath import randomized_svd

    counts, squares = is_there.sum(0).clamp(min=1), offset.square().sum(0)
    _, singular, axes = map(torch.from_numpy, randomized_svd(offset.numpy(), num_factors, random_state=0))
    loadings = axes.T * singular / len(offset) ** 0.5
    left = (squares / counts - loadings.square().sum(1)).clamp(min=LEAST_LEFT)
    found, log_prob = Found(torch.zeros_like(left), left, loadings), -math.inf
    ones, ridge = torch.ones(len(offset), 1).double(), 1e-6 * torch.eye(num_factors + 1).double()
    for _ in range(ROUNDS):
        explained = _explained(offset, is_there, found)
        last, log_prob = log_prob, _log_probs(explained, is_there, found).mean().item()
        if log_prob - last < TOLERANCE * offset.shape[1]:
            break
        # numbers are regressed on the factors, which are known up to their covariance, and a constant
        known = torch.cat([explained.factors[:, 0], ones], 1)
        second = (
            pad(torch.cholesky_inverse(explained.triangle[:, 0]), (0, 1, 0, 1)) + known[:, :, None] * known[:, None]
        )
        among = (is_there.T @ second.flatten(1)).unflatten(1, second.shape[1:])
        pull = offset.T @ known
        slopes = torch.linalg.solve(among + ridge, pull)
        left = ((squares - (slopes * pull).sum(1)) / counts).clamp(min=LEAST_LEFT)
        free = torch.linalg.cholesky(second[:, :-1, :-1].mean(0))
        found = Found(slopes[:, -1], left, slopes[:, :-1] @ free)
    return found


def _explained(offset: Tensor, is_there: Tensor, found: Found) -> Explained:
    return explain((is_there * (offset - found.shift))[:, None], (is_there / found.left)[:, None], found.loadings[None])


def _mean_log_prob(offset: Tensor, is_there: Tensor, found: Found) -> float:
    """Nats of what is there of rows, on average over them, up to what does not depend on the model."""
    return _log_probs(_explained(offset, is_there, found), is_there, found).mean().item()


def _log_probs(explained: Explained, is_there: Tensor, found: Found) -> Tensor:
    return -0.5 * (explained.square + explained.log_det)[:, 0] - 0.5 * is_there @ found.left.log()
