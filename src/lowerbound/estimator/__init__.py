"""Diffusion models with scikit-learn's contract."""

from lowerbound.estimator.density import DiffusionDensity

__all__ = ["DiffusionDensity"]
