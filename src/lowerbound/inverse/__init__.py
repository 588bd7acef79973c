"""Inverse problems: what x may be, given linear measurements of it."""

from lowerbound.inverse.conditional import Conditional
from lowerbound.inverse.fitted import Fitted
from lowerbound.inverse.guided import MMPS, PiGDM
from lowerbound.inverse.method import Method, Problem, posterior_sample
from lowerbound.inverse.operators import Blur, Downsample, LinearOperator, Mask, Operator
from lowerbound.inverse.particles import TwistedParticles
from lowerbound.inverse.posterior import PosteriorDenoiser
from lowerbound.inverse.replacement import Replacement

__all__ = [
    "MMPS",
    "Blur",
    "Conditional",
    "Downsample",
    "Fitted",
    "LinearOperator",
    "Mask",
    "Method",
    "Operator",
    "PiGDM",
    "PosteriorDenoiser",
    "Problem",
    "Replacement",
    "TwistedParticles",
    "posterior_sample",
]
