"""Gaussians fitted to training rows, for forests and networks to stand upon."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.baselines import MIXTURE_FULL_DIMS, MIXTURE_SIZES, SHRINKAGES, best_mixture
from lowerbound.data import Dataset
from lowerbound.denoiser import Gaussian, GaussianMixture
from lowerbound.schedule import CLEAN, LinearGamma

MOST_ROWS = 10_000
"""To which a mixture is fitted, and half as many on which it is judged."""
TAILS = (2.0, 4.0, 8.0)
"""How much wider than the data as a whole the Gaussians are that a mixture has for outliers."""
OUTLIERS = 10
"""Rows, beside those of the data, that the weight of the tails is worth."""


def fit_gaussian(dataset: Dataset) -> tuple[Float[Tensor, "dim"], Float[Tensor, "dim dim"]]:
    """The mean and the covariance of the training examples' entries that are there, the covariance shrunk towards its
    diagonal by what suits validation examples best.

    Arguments:
        dataset: of vectors.
    """
    x = dataset.encoded(dataset.train).double().numpy()
    mean = np.nanmean(x, 0)
    # of each pair what is there of both
    centred, there = np.nan_to_num(x - mean), (~np.isnan(x)).astype(np.float64)
    covariance = centred.T @ centred / np.maximum(there.T @ there, 1)
    diagonal = np.diag(np.diag(covariance))
    held_out = dataset.encoded(dataset.validation).double()
    observed = dataset.spec.observed(held_out)
    candidates = []
    for shrinkage in SHRINKAGES:
        shrunk = (1 - shrinkage) * covariance + shrinkage * diagonal
        if np.linalg.eigvalsh(shrunk)[0] > 1e-9:
            gaussian = Gaussian(torch.from_numpy(mean), torch.from_numpy(shrunk), LinearGamma())
            candidates.append((gaussian.log_marginal(held_out, CLEAN, observed).mean().item(), shrunk))
    if not candidates:  # pairs of which little is there
        candidates = [(0.0, diagonal)]
    _, chosen = max(candidates, key=lambda candidate: candidate[0])
    return torch.from_numpy(mean), torch.from_numpy(chosen)


def fit_mixture(dataset: Dataset, num_components: int, seed: int) -> GaussianMixture:
    """The mixture of so many Gaussians or fewer, one among them, under which validation examples are likeliest, with
    tails.

    A row far out is improbable beyond measure under Gaussians of which none is as wide: so the data's own Gaussian joins
    the mixture once more for each of `TAILS`, its covariance scaled by their squares, all together with the weight of
    `OUTLIERS` rows. Where entries are missing, or there are more than `MIXTURE_FULL_DIMS`, one Gaussian is all that it has
    beside them.

    Arguments:
        dataset: of vectors.
        num_components: at most, beside the tails.
        seed: of where the fit begins.
    """
    mean, covariance = fit_gaussian(dataset)
    fitted = Gaussian(mean, covariance, LinearGamma())
    x, held_out = dataset.encoded(dataset.train[:MOST_ROWS]), dataset.encoded(dataset.validation[: MOST_ROWS // 2])
    is_complete = not bool(x.isnan().any() or held_out.isnan().any())
    if num_components > 1 and is_complete and len(x) > MIXTURE_SIZES[0] and len(mean) <= MIXTURE_FULL_DIMS:
        found = best_mixture(x.double().numpy(), held_out.double().numpy(), seed % 2**32, num_components)
        weights, means, covariances = map(torch.from_numpy, (found.weights_, found.means_, found.covariances_))
        candidates = (fitted, GaussianMixture(weights, means, covariances, LinearGamma()))
        fitted = max(candidates, key=lambda each: each.log_prob(held_out.double()).mean().item())
    share = OUTLIERS / (len(dataset.train) + OUTLIERS)
    scales = torch.tensor(TAILS).double()
    return GaussianMixture(
        torch.cat([(1 - share) * fitted.weights, torch.full_like(scales, share / len(TAILS))]),
        torch.cat([fitted.means, mean.expand(len(TAILS), -1)]),
        torch.cat([fitted.covariances, scales.square()[:, None, None] * covariance]),
        LinearGamma(),
    )
