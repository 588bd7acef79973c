"""Denoisers: what one is, those made of a network, those in closed form, and those around another one."""

from lowerbound.denoiser.base import Conditioned, Denoiser, Prediction, Wrapper
from lowerbound.denoiser.by_level import ByLevel
from lowerbound.denoiser.exact import Empirical, Gaussian, GaussianMixture
from lowerbound.denoiser.network import TARGETS, NetworkDenoiser
from lowerbound.denoiser.subspace import SubspaceDenoiser
from lowerbound.fitted import FittedHistograms, FittedMixture, FittedSubspace, FittedWindows

__all__ = [
    "TARGETS",
    "ByLevel",
    "Conditioned",
    "Denoiser",
    "Empirical",
    "FittedHistograms",
    "FittedMixture",
    "FittedSubspace",
    "FittedWindows",
    "Gaussian",
    "GaussianMixture",
    "NetworkDenoiser",
    "Prediction",
    "SubspaceDenoiser",
    "Wrapper",
]
