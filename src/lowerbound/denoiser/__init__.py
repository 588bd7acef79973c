"""Denoisers: what one is, those made of a network, those in closed form, and one that adds a measured variance."""

from lowerbound.denoiser.analytic import WithVariance, measure_variance
from lowerbound.denoiser.base import Denoiser, Predict, Prediction
from lowerbound.denoiser.exact import Empirical, Gaussian, GaussianMixture
from lowerbound.denoiser.levels import LevelDenoiser
from lowerbound.denoiser.network import TARGETS, NetworkDenoiser

__all__ = [
    "TARGETS",
    "Denoiser",
    "Empirical",
    "Gaussian",
    "GaussianMixture",
    "LevelDenoiser",
    "NetworkDenoiser",
    "Predict",
    "Prediction",
    "WithVariance",
    "measure_variance",
]
