"""Diffusion models with their likelihood: one noise schedule and one denoiser, and all that follows from the two."""

from lowerbound import betas, grid, objective
from lowerbound.betas import from_betas
from lowerbound.decoder import DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.denoiser import Denoiser, NetworkDenoiser, Prediction
from lowerbound.errors import InputError
from lowerbound.exact import Empirical, Gaussian, GaussianMixture
from lowerbound.likelihood import Elbo, elbo, mean_and_error
from lowerbound.objective import loss
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import DDIM, Ancestral, sample, start, trajectory
from lowerbound.scaling import RECTIFIED_FLOW, VARIANCE_EXPLODING, VARIANCE_PRESERVING
from lowerbound.schedule import EDM, Cosine, LinearGamma, RectifiedFlow, Schedule, Sigmoid, Tabulated, geometric

__all__ = [
    # schedules
    "Schedule",
    "LinearGamma",
    "Cosine",
    "Sigmoid",
    "RectifiedFlow",
    "EDM",
    "Tabulated",
    "geometric",
    "from_betas",
    "betas",
    "VARIANCE_PRESERVING",
    "RECTIFIED_FLOW",
    "VARIANCE_EXPLODING",
    # denoisers
    "Denoiser",
    "NetworkDenoiser",
    "Prediction",
    "Gaussian",
    "GaussianMixture",
    "Empirical",
    # the bound
    "elbo",
    "Elbo",
    "loss",
    "objective",
    "LevelPosterior",
    "DiscretizedGaussian",
    "GaussianDecoder",
    "mean_and_error",
    # sampling
    "sample",
    "trajectory",
    "start",
    "Ancestral",
    "DDIM",
    "grid",
    "Stream",
    "PerSample",
    "InputError",
]
