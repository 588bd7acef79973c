"""Diffusion models with their likelihood: one noise schedule and one denoiser, and all that follows from the two."""

from lowerbound import grid, objective, times
from lowerbound.denoiser import (
    Denoiser,
    Empirical,
    Gaussian,
    GaussianMixture,
    LevelDenoiser,
    NetworkDenoiser,
    Prediction,
    WithVariance,
    measure_variance,
)
from lowerbound.errors import InputError
from lowerbound.likelihood import (
    Density,
    DiscretizedGaussian,
    Elbo,
    GaussianDecoder,
    LevelPosterior,
    TruncatedNormalDequantizer,
    UniformDequantizer,
    derivations,
    discrete_log_prob,
    elbo,
    estimators,
    hybrid,
    log_prob,
    mean_and_error,
)
from lowerbound.objective import loss
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import DDIM, Ancestral, sample, start, trajectory
from lowerbound.schedule import (
    EDM,
    RECTIFIED_FLOW,
    VARIANCE_EXPLODING,
    VARIANCE_PRESERVING,
    Cosine,
    LearnedGamma,
    LinearBeta,
    LinearGamma,
    MonotoneWarp,
    RectifiedFlow,
    Schedule,
    Sigmoid,
    Tabulated,
    betas,
    from_betas,
    geometric,
)
from lowerbound.times import ImportanceTimes

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
    "times",
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
