"""Factor analysis of wide rows, with gaps or without, for networks to stand upon."""

import math

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lowerbound.fitted.factors import explain

MOST_FACTORS = 32
LEAST_LEFT = 1e-4
"""Of a number's variance, that factors leave unexplained at least."""
MOST_PRODUCTS = 2**32
"""Of rows, numbers and pairs of factors, in a round of expectation maximisation; of so many rows that are more, some do."""
ROUNDS = 20
TOLERANCE = 1e-4
"""Nats for each entry below which a round is the last."""
JUDGED_ROWS = 512


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
        """Offsets, 0 where an entry is missing, and which are there."""
        return ((rows - mean) / scale).nan_to_num(), ~rows.isnan()

    judged = standardised(held_out[:JUDGED_ROWS].double())
    best = torch.ones_like(mean), torch.zeros(len(mean), 0).double()
    likeliest = _mean_log_prob(*judged, *best)
    num_factors = 1
    while num_factors <= min(most, len(train) // 2, len(mean) // 2):
        num_rows = max(4 * num_factors, MOST_PRODUCTS // (len(mean) * num_factors**2))
        found = _maximised(*standardised(train[:num_rows].double()), num_factors)
        if (log_prob := _mean_log_prob(*judged, *found)) <= likeliest:
            break
        best, likeliest, num_factors = found, log_prob, 2 * num_factors
    left, loadings = best
    return (
        mean,
        left * scale.square(),
        torch.nn.functional.pad(scale[:, None] * loadings, (0, most - loadings.shape[1])),
    )


def _maximised(
    offset: Float64[Tensor, "num_rows dim"], seen: Bool[Tensor, "num_rows dim"], num_factors: int
) -> tuple[Float64[Tensor, "dim"], Float64[Tensor, "dim {num_factors}"]]:
    """The variances left and the loadings under which rows are likeliest, from their principal components on, by expectation
    maximisation (Rubin & Thayer 1982) in which the factors' covariance is free (Liu, Rubin & Wu 1998)."""
    is_there = seen.double()
    counts = is_there.sum(0).clamp(min=1)
    _, singular, axes = torch.svd_lowrank(offset, min(2 * num_factors + 6, *offset.shape), niter=4)
    loadings = axes[:, :num_factors] * singular[:num_factors] / len(offset) ** 0.5
    left = (offset.square().sum(0) / counts - loadings.square().sum(1)).clamp(min=LEAST_LEFT)
    log_prob = -math.inf
    for _ in range(ROUNDS):
        explained = explain(offset[:, None], (is_there / left)[:, None], loadings[None])
        last, log_prob = log_prob, _log_probs(is_there, left, explained.square, explained.log_det).mean().item()
        if log_prob - last < TOLERANCE * offset.shape[1]:
            break
        factors = explained.factors[:, 0]
        second = torch.cholesky_inverse(explained.triangle[:, 0]) + factors[:, :, None] * factors[:, None]
        squares = (is_there.T @ second.flatten(1)).unflatten(1, second.shape[1:])
        pull = offset.T @ factors
        loadings = torch.linalg.solve(squares + 1e-6 * torch.eye(num_factors).double(), pull)
        left = ((offset.square().sum(0) - (loadings * pull).sum(1)) / counts).clamp(min=LEAST_LEFT)
        loadings = loadings @ torch.linalg.cholesky(second.mean(0))
    return left, loadings


def _mean_log_prob(offset: Tensor, seen: Tensor, left: Tensor, loadings: Tensor) -> float:
    """Nats of what is there of rows, on average over them, up to what does not depend on the model."""
    explained = explain(offset[:, None], (seen / left)[:, None], loadings[None])
    return _log_probs(seen.double(), left, explained.square, explained.log_det).mean().item()


def _log_probs(is_there: Tensor, left: Tensor, square: Tensor, log_det: Tensor) -> Tensor:
    return -0.5 * (square + log_det)[:, 0] - 0.5 * is_there @ left.log()
