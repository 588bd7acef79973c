"""Mixtures fitted to training rows, for the networks of tables to stand upon."""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lowerbound.baselines.mixture import MIXTURE_FULL_DIMS, MIXTURE_SIZES, grown
from lowerbound.blocks import ONE_HOT, Blocks, Real, layout
from lowerbound.data import Dataset, DataSpec
from lowerbound.fitted import FittedMixture
from lowerbound.rng import Stream
from lowerbound.training.factors import fit_factors
from lowerbound.training.gaussians import fit_gaussian

MOST_ROWS = 10_000
"""To which a mixture is fitted, and half as many on which it is judged."""
WIDEST_JOINT = 2048
"""Numbers of a row, at most, of which a covariance is fitted."""
WIDE_ENTRIES = 2**25
"""Of the rows to which the Gaussian of wide ones is fitted, at most."""
TAILS = (2.0, 4.0, 8.0)
"""How much wider than the data as a whole the Gaussians are that a mixture has for outliers."""
WIDEST_DRAWN_IN = 2.0
"""The most of it along entries whose code draws their tails in: there x = 8 is a value e^5 times as far out as x = 3."""
OUTLIERS = 10
"""Rows, beside those of the data, that the weight of the tails is worth."""
NARROWEST = 0.5
"""Standard deviation of a component on a grid, at least, in steps of the grid: narrower ones have masses, and no density."""
WORK_WITH_GAPS = 2**14
"""Components, times the cube of the numbers of a row, at most, where some may be missing: of each row the Gaussians of what
is there are factorised anew."""
ROUNDS = 30
"""Of expectation maximisation, at most."""
TOLERANCE = 1e-3
"""Nats for each entry below which a round is the last."""
NO_SHARE = 1e-12
"""Of a row, which adds nothing to a component's covariance."""
PART = 1024
"""Rows whose densities are computed at a time."""


class Components(NamedTuple):
    """Of a mixture, as `FittedMixture.fit` takes them."""

    weights: Float[Tensor, "num_components"]
    means: Float[Tensor, "num_components num_numbers"]
    covariances: Float[Tensor, "num_components num_numbers *num_numbers"]
    chances: Float[Tensor, "num_components num_choices most_categories"]
    loadings: Float[Tensor, "num_components num_numbers num_factors"] | None = None


def unfitted_mixture(spec: DataSpec, num_components: int, num_factors: int = 0) -> FittedMixture:
    """With room for what `fit_mixture` finds."""
    blocks = _blocks(spec)
    num = _numbers(blocks).numel()
    num_tails = len(TAILS) if num <= MIXTURE_FULL_DIMS and not num_factors else 0
    has_covariance = not (num_factors or is_too_wide(spec))
    return FittedMixture(num_components + num_tails, blocks, num_factors=None if has_covariance else num_factors)


def _blocks(spec: DataSpec) -> Blocks:
    return spec.blocks or (Real(),) * spec.shape[0]


def _numbers(blocks: Blocks) -> Tensor:
    """Where the numbers of a row are."""
    return layout(blocks, torch.device("cpu")).numbers


def is_too_wide(spec: DataSpec) -> bool:
    """Whether rows have too many numbers for a covariance; of each with gaps one of its own would be factorised."""
    return len(_numbers(_blocks(spec))) > (MIXTURE_FULL_DIMS if spec.has_missing else WIDEST_JOINT)


def fit_mixture(dataset: Dataset, num_components: int, seed: int, num_factors: int = 0) -> Components:
    """The mixture of so many components or fewer, one among them, under which validation examples are likeliest, with tails.

    A row far out is improbable beyond measure under Gaussians of which none is as wide: so the data's own Gaussian joins
    the mixture once more for each of `TAILS`, as many times as wide along each entry (at most `WIDEST_DRAWN_IN` times where
    a code has drawn the tails in), all together with the weight of `OUTLIERS` rows. Numbers that are missing are drawn given
    the rest of their row, from the data's own Gaussian, before several components are fitted; what is judged is the density
    of what is there.

    Where a row has more than `MIXTURE_FULL_DIMS` numbers, or factors are asked for, one Gaussian is all. With factors, and
    beyond `WIDEST_JOINT`, or where some of so many are missing, the variances that factors leave stand in the place of its
    covariance.

    Arguments:
        dataset: of vectors.
        num_components: at most, beside the tails.
        seed: of where the fit begins.
        num_factors: at most.
    """
    blocks = _blocks(dataset.spec)
    num = _numbers(blocks).numel()
    most = None if dataset.shape[0] <= MIXTURE_FULL_DIMS else max(MOST_ROWS // 10, WIDE_ENTRIES // dataset.shape[0])
    # in an order that is not the table's, for components are fitted to the first of them
    x, held_out = (dataset.encoded(dataset.some(split, most)).double() for split in ("train", "validation"))
    if num_factors or is_too_wide(dataset.spec):
        return _moved(x, held_out, blocks, num_factors)
    gaussian = _gaussian(x, held_out, blocks)
    if num > MIXTURE_FULL_DIMS:
        return gaussian
    if dataset.spec.has_missing:
        num_components = min(num_components, WORK_WITH_GAPS // max(1, num) ** 3)
    fitted = gaussian
    if num_components > 1 and len(x) > MIXTURE_SIZES[0]:
        fitted = _likeliest(gaussian, x[:MOST_ROWS], held_out[: MOST_ROWS // 2], blocks, num_components, seed)
    return _with_tails(fitted, gaussian, dataset)


def _gaussian(x: Tensor, held_out: Tensor, blocks: Blocks) -> Components:
    """One component, with the shares of categories beside its numbers."""
    numbers = _numbers(blocks)
    mean, covariance = torch.zeros(0).double(), torch.zeros(0, 0).double()
    if len(numbers):
        mean, covariance = fit_gaussian(x[:, numbers], held_out[:, numbers])
    return _alone(x, blocks, mean, covariance)


def _moved(x: Tensor, held_out: Tensor, blocks: Blocks, num_factors: int) -> Components:
    """One component whose numbers factors move, or none."""
    numbers = _numbers(blocks)
    mean, left, loadings = fit_factors(x[:, numbers], held_out[:, numbers], num_factors)
    return _alone(x, blocks, mean, left)._replace(loadings=loadings[None])


def _alone(x: Tensor, blocks: Blocks, mean: Tensor, covariance: Tensor) -> Components:
    beyond = layout(blocks, x.device).beyond
    chances = _chances(_chosen(x, blocks).sum(0, keepdim=True), torch.ones_like(beyond).double(), blocks)
    return Components(torch.ones(1).double(), mean[None], _widened(covariance[None], blocks), chances)


def _likeliest(
    gaussian: Components, x: Tensor, held_out: Tensor, blocks: Blocks, num_components: int, seed: int
) -> Components:
    """The mixture, or the one Gaussian, under which held-out rows are likelier."""
    numbers = _numbers(blocks)
    # a choice of nothing has a probability of one
    filled = _filled(x[:, numbers], gaussian.means[0], gaussian.covariances[0], seed)
    complete = x.index_copy(1, numbers, filled).nan_to_num()
    best, likeliest = _best(complete, held_out, blocks, min(num_components, len(x) // 2), seed)
    return best if likeliest > _mean_log_prob(gaussian, held_out, blocks) else gaussian


def _with_tails(fitted: Components, gaussian: Components, dataset: Dataset) -> Components:
    """With the data's own Gaussian once more for each of `TAILS`."""
    numbers, num_tails = _numbers(_blocks(dataset.spec)), len(TAILS)
    share = OUTLIERS / (len(dataset.train) + OUTLIERS)
    scales = torch.tensor(TAILS).double()[:, None].repeat(1, len(numbers))
    drawn_in = torch.from_numpy(np.broadcast_to(dataset.spec.encoding.draws_tails_in, dataset.shape).copy())[numbers]
    scales[:, drawn_in] = scales[:, drawn_in].clamp(max=WIDEST_DRAWN_IN)
    return Components(
        torch.cat([(1 - share) * fitted.weights, torch.full((num_tails,), share / num_tails).double()]),
        torch.cat([fitted.means, gaussian.means.expand(num_tails, -1)]),
        torch.cat([fitted.covariances, scales[:, :, None] * scales[:, None] * gaussian.covariances]),
        torch.cat([fitted.chances, gaussian.chances.expand(num_tails, -1, -1)]),
    )


def _best(x: Tensor, held_out: Tensor, blocks: Blocks, most: int, seed: int) -> tuple[Components, float]:
    """The mixture under which held-out rows are likeliest, and their mean log density."""
    return grown(
        lambda size, floor: fit_components(x, blocks, size, floor, seed),
        lambda mixture: _mean_log_prob(mixture, held_out, blocks),
        most,
    )


def fit_components(x: Tensor, blocks: Blocks, num_components: int, floor: float, seed: int) -> Components:
    """By expectation maximisation on rows of which choices alone may be missing, from the clusters that k-means finds."""
    share = functional.one_hot(_clusters(x, num_components, seed), num_components).double()
    mixture, log_prob = _maximised(x, blocks, share, floor), -math.inf
    for _ in range(ROUNDS):
        log_joint, last = _log_joint(mixture, x, blocks), log_prob
        log_prob = log_joint.logsumexp(1).mean().item()
        if log_prob - last < TOLERANCE * x.shape[1]:
            break
        mixture = _maximised(x, blocks, log_joint.softmax(1), floor)
    return mixture


def _maximised(x: Tensor, blocks: Blocks, share: Tensor, floor: float) -> Components:
    """The likeliest components, given the share of each row that each of them has."""
    at = layout(blocks, x.device)
    numbers, chosen = x[:, at.numbers], _chosen(x, blocks)
    counts = share.sum(0) + 1e-9
    means = share.T @ numbers / counts[:, None]
    scatter = [_scatter(numbers, mean, of_rows) for mean, of_rows in zip(means, share.T, strict=True)]
    covariances = torch.stack(scatter) / counts[:, None, None] + floor * torch.eye(numbers.shape[1]).double()
    prior = _chances(chosen.sum(0, keepdim=True), torch.ones_like(at.beyond).double(), blocks)[0]
    chances = _chances(torch.einsum("nk,ncm->kcm", share, chosen), prior, blocks)
    return Components(counts / counts.sum(), means, _widened(covariances, blocks), chances)


def _scatter(numbers: Tensor, mean: Tensor, share: Tensor) -> Tensor:
    """The sum of squares and products about the mean, each row by its share; most rows have none to speak of."""
    has_share = share > NO_SHARE
    apart = numbers[has_share] - mean
    return (apart * share[has_share, None]).T @ apart


def _clusters(x: Tensor, num_clusters: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):  # as of baselines.best_mixture
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = KMeans(num_clusters, random_state=seed % 2**32).fit(x.numpy())
    return torch.from_numpy(clusters.labels_).long()


def _filled(numbers: Tensor, mean: Tensor, covariance: Tensor, seed: int) -> Tensor:
    r"""What is missing drawn from a Gaussian given the rest of its row: $z + S_{\cdot o} S_{oo}^{-1} (x_o - z_o)$ with z
    from it."""
    rows = numbers.isnan().any(1).nonzero()[:, 0]
    if not len(rows):
        return numbers
    variances, axes = torch.linalg.eigh(covariance)
    normal = Stream(seed).normal(numbers[rows])
    drawn = mean + (normal * variances.clamp(min=0).sqrt()) @ axes.T
    filled = numbers.clone()
    for row, z in zip(rows, drawn, strict=True):
        is_present = ~numbers[row].isnan()
        offset = torch.linalg.solve(covariance[is_present][:, is_present], numbers[row, is_present] - z[is_present])
        filled[row] = torch.where(is_present, numbers[row], z + covariance[:, is_present] @ offset)
    return filled


def _widened(covariances: Tensor, blocks: Blocks) -> Tensor:
    """As wide along each grid as its steps want (`NARROWEST`); of covariances, or of variances of numbers that are apart."""
    at = layout(blocks, covariances.device)
    least = torch.cat([torch.zeros(len(at.reals)).double(), (NARROWEST * at.spacing).square()])
    if covariances.ndim == 2:
        return torch.maximum(covariances, least)
    lacking = (least - covariances.diagonal(dim1=1, dim2=2)).clamp(min=0)
    return covariances + torch.diag_embed(lacking)


def _chosen(x: Tensor, blocks: Blocks) -> Tensor:
    """Which category is chosen, one-hot: (num_rows, num_choices, most_categories), zeros where it is missing."""
    at = layout(blocks, x.device)
    return x[:, at.choices].nan_to_num().masked_fill(at.beyond, 0) / ONE_HOT


def _chances(counts: Tensor, prior: Tensor, blocks: Blocks) -> Tensor:
    """Shares of counts, (K, num_choices, most_categories), as if there were as many more as `prior` says."""
    beyond = layout(blocks, counts.device).beyond
    total = (counts + prior).masked_fill(beyond, 0)
    return (total / total.sum(2, keepdim=True)).masked_fill(beyond, 1)


def _mean_log_prob(mixture: Components, x: Tensor, blocks: Blocks) -> float:
    observed = ~x.isnan() if x.isnan().any() else None
    return _log_joint(mixture, x, blocks, observed).logsumexp(1).mean().item()


def _log_joint(components: Components, x: Tensor, blocks: Blocks, observed: Tensor | None = None) -> Tensor:
    mixture = FittedMixture(len(components.weights), blocks).fit(*components)
    parts = [slice(first, first + PART) for first in range(0, len(x), PART)]
    return torch.cat([mixture.log_joint(x[part], None if observed is None else observed[part]) for part in parts])
