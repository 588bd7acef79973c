"""Diffusion models with their likelihood: one noise schedule and one denoiser, and all that follows from the two."""

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

# Threads that wait for one another actively keep those that they wait for from running, where other processes are busy:
# steps then take many times as long. OpenMP reads this once, as it is loaded with torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from lowerbound.errors import InputError

if TYPE_CHECKING:
    from lowerbound import grid as grid
    from lowerbound import inverse as inverse
    from lowerbound import models as models
    from lowerbound import objective as objective
    from lowerbound import pictures as pictures
    from lowerbound import theory as theory
    from lowerbound.auditing import audit
    from lowerbound.data import Dataset, DataSpec, open_dataset
    from lowerbound.denoiser import Denoiser, Gaussian, GaussianMixture, NetworkDenoiser, Prediction
    from lowerbound.estimator import DiffusionDensity
    from lowerbound.guidance import ClassifierFree
    from lowerbound.likelihood import (
        Decoder,
        Density,
        Elbo,
        GaussianDecoder,
        LevelPosterior,
        elbo,
        log_prob,
        mean_and_error,
    )
    from lowerbound.models import Diffusion, Effort, Model
    from lowerbound.nn import MLP, UNet
    from lowerbound.objective import loss
    from lowerbound.rng import Noise, PerSample, Stream
    from lowerbound.run import Run, open_run
    from lowerbound.run.generate import generate
    from lowerbound.run.impute import impute
    from lowerbound.samplers import DDIM, Ancestral, DPMSolver, DPMSolverSDE, Heun, Sampler, sample, start, trajectory
    from lowerbound.schedule import Cosine, LearnedGamma, LinearGamma, Schedule
    from lowerbound.scoring import score, score_density
    from lowerbound.training import recipe, train

__all__ = [
    # data, training, and runs in use
    "open_dataset",
    "Dataset",
    "DataSpec",
    "recipe",
    "train",
    "open_run",
    "Run",
    "generate",
    "score",
    "score_density",
    "impute",
    "audit",
    "DiffusionDensity",
    # schedules, networks, denoisers, models
    "Schedule",
    "LinearGamma",
    "Cosine",
    "LearnedGamma",
    "UNet",
    "MLP",
    "Denoiser",
    "NetworkDenoiser",
    "Prediction",
    "Gaussian",
    "GaussianMixture",
    "Model",
    "Diffusion",
    # objective and likelihood
    "loss",
    "elbo",
    "Elbo",
    "Effort",
    "log_prob",
    "Density",
    "Decoder",
    "GaussianDecoder",
    "LevelPosterior",
    "mean_and_error",
    # sampling
    "Sampler",
    "sample",
    "trajectory",
    "start",
    "Ancestral",
    "DDIM",
    "Heun",
    "DPMSolver",
    "DPMSolverSDE",
    "ClassifierFree",
    "Noise",
    "Stream",
    "PerSample",
    "InputError",
]

_PLACES = {
    "data": ("open_dataset", "Dataset", "DataSpec"),
    "training": ("recipe", "train"),
    "run": ("open_run", "Run"),
    "run.generate": ("generate",),
    "scoring": ("score", "score_density"),
    "run.impute": ("impute",),
    "auditing": ("audit",),
    "estimator": ("DiffusionDensity",),
    "schedule": ("Schedule", "LinearGamma", "Cosine", "LearnedGamma"),
    "nn": ("UNet", "MLP"),
    "denoiser": ("Denoiser", "NetworkDenoiser", "Prediction", "Gaussian", "GaussianMixture"),
    "models": ("Model", "Diffusion", "Effort"),
    "objective": ("loss",),
    "likelihood": (
        "elbo",
        "Elbo",
        "log_prob",
        "Density",
        "Decoder",
        "GaussianDecoder",
        "LevelPosterior",
        "mean_and_error",
    ),
    "samplers": ("Sampler", "sample", "trajectory", "start", "Ancestral", "DDIM", "Heun", "DPMSolver", "DPMSolverSDE"),
    "guidance": ("ClassifierFree",),
    "rng": ("Noise", "Stream", "PerSample"),
}
"""Where the names are. They are imported when they are first asked for: what needs no torch does not wait for it."""
_MODULES = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Names and sub-packages that are imported when they are first asked for."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    if importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
