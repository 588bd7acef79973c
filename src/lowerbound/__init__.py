"""Diffusion models with their likelihood: one noise schedule and one denoiser, and all that follows from the two."""

from lowerbound import betas, derivations, estimators, grid, objective
from lowerbound.betas import from_betas
from lowerbound.decoder import DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.analytic import WithVariance, measure_variance
from lowerbound.denoiser import Denoiser, NetworkDenoiser, Prediction
from lowerbound.density import Density, log_prob
from lowerbound.dequantization import TruncatedNormalDequantizer, UniformDequantizer, discrete_log_prob
from lowerbound.errors import InputError
from lowerbound.exact import Empirical, Gaussian, GaussianMixture
from lowerbound.hybrid import hybrid
from lowerbound.importance import ImportanceTimes
from lowerbound.learned_schedule import LearnedGamma, MonotoneWarp
from lowerbound.level_denoiser import LevelDenoiser
from lowerbound.likelihood import Elbo, elbo, mean_and_error
from lowerbound.objective import loss
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import DDIM, Ancestral, sample, start, trajectory
from lowerbound.scaling import RECTIFIED_FLOW, VARIANCE_EXPLODING, VARIANCE_PRESERVING
from lowerbound.schedule import EDM, Cosine, LinearBeta, LinearGamma, RectifiedFlow, Schedule, Sigmoid, Tabulated, geometric

__all__ = [
    # schedules
    "Schedule",
    "LinearGamma",
    "LinearBeta",
    "Cosine",
    "Sigmoid",
    "RectifiedFlow",
    "EDM",
    "Tabulated",
    "LearnedGamma",
    "MonotoneWarp",
    "geometric",
    "from_betas",
    "betas",
    "VARIANCE_PRESERVING",
    "RECTIFIED_FLOW",
    "VARIANCE_EXPLODING",
    # denoisers
    "Denoiser",
    "NetworkDenoiser",
    "LevelDenoiser",
    "Prediction",
    "Gaussian",
    "GaussianMixture",
    "Empirical",
    "WithVariance",
    "measure_variance",
    # the bound
    "elbo",
    "Elbo",
    "loss",
    "objective",
    "hybrid",
    "ImportanceTimes",
    "derivations",
    "estimators",
    "LevelPosterior",
    "DiscretizedGaussian",
    "GaussianDecoder",
    "mean_and_error",
    # the density
    "log_prob",
    "Density",
    "discrete_log_prob",
    "UniformDequantizer",
    "TruncatedNormalDequantizer",
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
