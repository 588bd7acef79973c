"""Pictures written as PNG files: samples, the way from noise to data, and the curves of a run."""

from lowerbound.pictures.curves import bound_by_time, training_curve
from lowerbound.pictures.path import denoising_strip
from lowerbound.pictures.samples import sample_grid

__all__ = ["bound_by_time", "denoising_strip", "sample_grid", "training_curve"]
