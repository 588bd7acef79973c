"""Runs whose denoiser is a closed form, so that their likelihoods are known: what tests of whole runs share."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from lowerbound import GaussianDecoder, GaussianMixture, LinearGamma
from lowerbound.data import Dataset, mixture_parameters, open_dataset
from lowerbound.models import Diffusion
from lowerbound.run import Run
from lowerbound.training import recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.folder import RunFolder


def mixture_run(folder: Path) -> tuple[Run, Dataset]:
    """A run of the data set `mixture` with the best possible denoiser, in the units that the encoding makes."""
    dataset = open_dataset("mixture")
    weights, means, covariances = mixture_parameters()
    shift, scale = np.array(dataset.spec.encoding.shift), np.array(dataset.spec.encoding.scale)
    denoiser = GaussianMixture(
        torch.tensor(weights).float(),
        torch.tensor((means - shift) / scale).float(),
        torch.tensor(covariances / np.outer(scale, scale)).float(),
        LinearGamma(-9.0, 9.0),
    )
    config = recipe(dataset, DataConfig("mixture"))
    return Run(RunFolder(folder), config, dataset.spec, Diffusion(denoiser, GaussianDecoder()), {}), dataset


def mixture_log_prob(raw: np.ndarray) -> Tensor:
    """The exact log density of examples of `mixture` in the units that the data came in, nats."""
    weights, means, covariances = map(torch.tensor, mixture_parameters())
    density = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))
    return density.log_prob(torch.tensor(raw).double())
