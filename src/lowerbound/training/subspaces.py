"""Principal components of training images, and a mixture of them, for a coarse network to stand upon."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.blocks import Real
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.training.mixtures import fit_components
from lowerbound.words.counts import counted

MOST_EXAMPLES = 20_000
"""To which it is fitted."""
MOST_ENTRIES = 2**25
"""Of these together."""
FOR_EACH_COMPONENT = 500
"""Examples, at least, as a component has more numbers than there are axes."""
FLOOR = 1e-2
"""Under the variances of components, in units of the data, whose noise is more than that wherever it is asked."""


class Subspace(NamedTuple):
    """Of examples, as `FittedSubspace.fit` takes it."""

    center: Float[Tensor, "num_dims"]
    axes: Float[Tensor, "num_dims num_all_axes"]
    variances: Float[Tensor, "num_further"]
    rest: float
    weights: Float[Tensor, "num_components"]
    means: Float[Tensor, "num_components num_axes"]
    covariances: Float[Tensor, "num_components num_axes num_axes"]


def check_enough(dataset: Dataset, num_axes: int) -> None:
    """Refuse more principal components than there are examples to find them in, by an InputError."""
    if num_axes > (most := min(len(dataset.train), MOST_EXAMPLES)):
        raise InputError(
            f"--coarse.axes is {num_axes}, and principal components are found in {counted(most, 'training example')}: "
            "give no more than that, or --coarse.components 0"
        )


def fit_subspace(dataset: Dataset, num_axes: int, num_components: int, num_further: int, seed: int) -> Subspace:
    """The first principal components of training examples, and a mixture of Gaussians of them by expectation maximisation.

    Arguments:
        dataset: of examples of which no entry is missing.
        num_axes: principal components, at most as many as there are examples or entries.
        num_components: of the mixture, at most; fewer of few examples.
        num_further: principal components after these that have a variance each, at most.
        seed: of where the fits begin.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    most = min(MOST_EXAMPLES, max(num_axes, MOST_ENTRIES // dataset.spec.num_dims))
    x = dataset.encoded(dataset.some("train", most)).flatten(1).float().numpy()
    with threadpool_limits(1):  # as of baselines.best_mixture
        principal = PCA(min(num_axes + num_further, *x.shape), random_state=seed % 2**32).fit(x)
        along = torch.from_numpy(principal.transform(x)).double()
    components = along[:, :num_axes]
    size = min(num_components, max(1, len(x) // FOR_EACH_COMPONENT))
    mixture = fit_components(components, (Real(),) * num_axes, size, FLOOR, seed)
    # of what is along the axes: small eigenvalues of single precision are off by a thousandth
    variances = along[:, num_axes:].square().sum(0) / max(1, len(along) - 1)
    return Subspace(
        torch.from_numpy(principal.mean_.astype(np.float64)),
        torch.from_numpy(principal.components_.T.astype(np.float64)),
        variances.clamp(min=FLOOR**2),
        max(float(principal.noise_variance_), FLOOR**2),
        mixture.weights,
        mixture.means,
        mixture.covariances,
    )
