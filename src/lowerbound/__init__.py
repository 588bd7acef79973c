"""Diffusion models with their likelihood: one noise schedule and one denoiser, and all that follows from the two."""

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

# Threads that wait for one another actively keep those that they wait for from running, where other processes are busy:
# steps then take many times as long. OpenMP reads this once, as it is loaded with torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from lowerbound import grid, inverse, objective, score_matching, times
from lowerbound.brownian import BrownianPath
from lowerbound.contrastive import ContrastiveDivergence, PersistentChains
from lowerbound.denoiser import (
    Conditioned,
    Denoiser,
    Empirical,
    EnergyDenoiser,
    Gaussian,
    GaussianMixture,
    LevelDenoiser,
    NetworkDenoiser,
    Prediction,
    WithVariance,
    measure_variance,
)
from lowerbound.edit import decode, encode, interpolate, vary
from lowerbound.errors import InputError
from lowerbound.guidance import AutoGuidance, ClassifierFree, ClassifierGuidance
from lowerbound.inverse import posterior_sample
from lowerbound.likelihood import (
    Density,
    DiscretizedGaussian,
    Elbo,
    GaussianDecoder,
    LevelPosterior,
    TruncatedNormalDequantizer,
    UniformDequantizer,
    discrete_log_prob,
    elbo,
    log_prob,
    mean_and_error,
)
from lowerbound.objective import loss
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import (
    DDIM,
    Ancestral,
    AnnealedLangevin,
    DPMSolver,
    DPMSolverSDE,
    Euler,
    ExponentialAdamsBashforth,
    Heun,
    PredictorCorrector,
    ProbabilityFlow,
    UniPC,
    metropolis_langevin,
    sample,
    start,
    trajectory,
)
from lowerbound.samplers.langevin import langevin
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
from lowerbound.theory import derivations, energy_log_prob, hybrid, log_normaliser, split_ancestral, textbook
from lowerbound.times import ImportanceTimes

if TYPE_CHECKING:
    from lowerbound import models

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
    "EnergyDenoiser",
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
    "textbook",
    "LevelPosterior",
    "DiscretizedGaussian",
    "GaussianDecoder",
    "mean_and_error",
    # the density
    "log_prob",
    "Density",
    "discrete_log_prob",
    "energy_log_prob",
    "log_normaliser",
    "UniformDequantizer",
    "TruncatedNormalDequantizer",
    # sampling
    "sample",
    "trajectory",
    "start",
    "Ancestral",
    "DDIM",
    "Euler",
    "Heun",
    "DPMSolver",
    "DPMSolverSDE",
    "UniPC",
    "ExponentialAdamsBashforth",
    "ProbabilityFlow",
    "PredictorCorrector",
    "AnnealedLangevin",
    "langevin",
    "metropolis_langevin",
    "split_ancestral",
    "grid",
    "Stream",
    "PerSample",
    "BrownianPath",
    # guidance, editing, inverse problems
    "Conditioned",
    "ClassifierFree",
    "ClassifierGuidance",
    "AutoGuidance",
    "encode",
    "decode",
    "interpolate",
    "vary",
    "inverse",
    "posterior_sample",
    # the family
    "models",
    "score_matching",
    "ContrastiveDivergence",
    "PersistentChains",
    "InputError",
]


def __getattr__(name: str) -> ModuleType:
    """The relatives, imported when they are first asked for, since few programs need them."""
    if name != "models":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
