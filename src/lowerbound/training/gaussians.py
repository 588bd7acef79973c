"""Gaussians fitted to training rows, and to the windows of series, for forests and networks to stand upon."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.baselines.shrinkage import SHRINKAGES, are_few, cross_validated
from lowerbound.blocks import at_places, layout
from lowerbound.data import Dataset
from lowerbound.training.factors import MOST_FACTORS, fit_factors

MOST_WINDOWS = 10_000
"""To which a Gaussian of windows is fitted."""
LEAST_VARIANCE = 1e-9
"""Of a covariance, along its narrowest axis."""
LEAST_NOISE = 1e-5
"""About the variance of the noise at the data's end: of what varies less nothing is seen, and no more can be said."""
JUDGED_WINDOWS, JUDGED_WITH_GAPS = 512, 32
"""Of the validation split, on which it is judged, at most; of those with gaps each has a Gaussian of its own."""
WANDERING = (0.0, 0.3, 1.0, 3.0)
"""Variances that may be added to the levels of the channels, in those of their values."""


def fit_gaussian(
    train: Float[Tensor, "num_rows dim"], held_out: Float[Tensor, "num_held_out dim"]
) -> tuple[Float[Tensor, "dim"], Float[Tensor, "dim dim"]]:
    """The mean and the covariance of what is there of the training rows, as suits held-out rows best.

    The covariance is shrunk towards its diagonal; or, of few rows, that of factor analysis, or with variances along its axes
    that are measured on rows apart (`baselines.shrinkage`).

    Arguments:
        train: NaN where an entry is missing.
        held_out: likewise.
    """
    x = train.double()
    mean, covariance = _moments(x)
    diagonal, offsets = torch.diag(covariance.diagonal()), held_out.double() - mean

    def candidates() -> Iterator[Tensor]:
        """One at a time: of many numbers they are large."""
        yield from ((1 - s) * covariance + s * diagonal for s in SHRINKAGES)
        if are_few(*x.shape):
            _, left, loadings = fit_factors(x, held_out, MOST_FACTORS)
            yield loadings @ loadings.T + torch.diag(left)
            if not x.isnan().any():
                yield _cross_validated(x - mean, covariance)

    chosen, likeliest = diagonal, -math.inf  # where there is little of pairs
    for candidate in candidates():
        narrower = candidate.clone()
        narrower.diagonal().sub_(LEAST_VARIANCE)
        if (
            torch.linalg.cholesky_ex(narrower).info == 0
            and (found := _mean_log_marginal(offsets, candidate)) > likeliest
        ):
            chosen, likeliest = candidate, found
    return mean, chosen


def _cross_validated(centred: Tensor, covariance: Tensor) -> Tensor:
    """The covariance with other variances along the axes that it has in units of its numbers' deviations."""
    scale = covariance.diagonal().sqrt().clamp(min=LEAST_VARIANCE)
    variances = torch.from_numpy(cross_validated((centred / scale).numpy()))
    axes = scale[:, None] * torch.linalg.eigh(covariance / (scale[:, None] * scale)).eigenvectors
    return (axes * variances) @ axes.T


def fit_windows(dataset: Dataset) -> tuple[Float[Tensor, "num_entries"], Float[Tensor, "num_entries num_entries"]]:
    r"""The mean and the covariance of the windows of series, their channels, or the entries of these that are numbers, one
    after another.

    The covariance is $(1 - s) S + s \,\mathrm{diag}\, S + \kappa E E^T$ with S that of training windows, with a
    little noise, and E one column of ones for each channel.

    What is fitted to a few months has not seen how far the levels of its channels wander: later ones are nowhere near
    likely without $\kappa$. It and s are those under which validation windows, which come later, are likeliest.

    Arguments:
        dataset: of windows.
    """
    x, held_out = (
        dataset.encoded(indices[np.linspace(0, len(indices) - 1, min(most, len(indices))).round().astype(int)])
        for indices, most in ((dataset.train, MOST_WINDOWS), (dataset.validation, JUDGED_WINDOWS))
    )
    if (blocks := dataset.spec.blocks) is not None:
        numbers = layout(blocks, x.device).numbers
        x, held_out = (at_places(each, blocks)[:, numbers] for each in (x, held_out))
    channels, length = x.shape[1:]
    x, held_out = x.flatten(1).double(), held_out.flatten(1).double()
    mean, covariance = _moments(x)
    covariance = covariance + LEAST_NOISE * torch.eye(len(covariance)).double()
    diagonal = torch.diag(covariance.diagonal())
    levels = torch.kron(torch.eye(channels).double(), torch.ones(length, length).double())
    if held_out.isnan().any():
        held_out = held_out[:JUDGED_WITH_GAPS]

    def log_prob(candidate: Tensor) -> float:
        """Of validation windows; minus infinity if it is no covariance."""
        if torch.linalg.eigvalsh(candidate)[0] < LEAST_VARIANCE:
            return -math.inf
        return _mean_log_marginal(held_out - mean, candidate)

    # one after the other: how far levels wander hardly depends on how noisy the rest is
    best, likeliest = diagonal, -math.inf
    shrunk = [(1 - s) * covariance + s * diagonal for s in SHRINKAGES]
    for candidate in shrunk:
        if (log_p := log_prob(candidate + WANDERING[1] * levels)) > likeliest:
            best, likeliest = candidate, log_p
    return mean, max((best + kappa * levels for kappa in WANDERING), key=log_prob)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what is there, of each pair of entries by where both are."""
    is_present = (~x.isnan()).double()
    mean = x.nan_to_num().sum(0) / is_present.sum(0).clamp(min=1)
    centred = torch.where(x.isnan(), 0, x - mean)
    return mean, centred.T @ centred / (is_present.T @ is_present).clamp(min=1)


def _mean_log_marginal(offsets: Tensor, covariance: Tensor) -> float:
    """Nats of what is there of rows of N(0, S), on average over them."""
    gaps = offsets.isnan()
    groups = (
        [(offsets, slice(None))] if not gaps.any() else [(row[None], (~row.isnan()).nonzero()[:, 0]) for row in offsets]
    )
    total = 0.0
    for rows, seen in groups:
        factor = torch.linalg.cholesky(covariance[seen][:, seen])
        along = torch.linalg.solve_triangular(factor, rows[:, seen].T, upper=False)
        log_det = factor.diagonal().log().sum().item() + len(factor) * math.log(2 * math.pi) / 2
        total -= 0.5 * along.square().sum().item() + len(rows) * log_det
    return total / len(offsets)
