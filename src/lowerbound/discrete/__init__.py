"""Data in levels: a denoiser that knows where they stand, and a density's bound on their probability."""

from lowerbound.discrete.denoiser import LevelDenoiser
from lowerbound.discrete.dequantization import (
    BinDequantizer,
    Dequantizer,
    TruncatedNormalDequantizer,
    UniformDequantizer,
    discrete_log_prob,
)

__all__ = [
    "BinDequantizer",
    "Dequantizer",
    "LevelDenoiser",
    "TruncatedNormalDequantizer",
    "UniformDequantizer",
    "discrete_log_prob",
]
