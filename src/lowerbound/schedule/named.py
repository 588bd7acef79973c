"""Every schedule by its name: a configuration and the command line take them from here."""

from lowerbound.schedule import betas
from lowerbound.schedule.curves import EDM, Cosine, LinearBeta, LinearGamma, RectifiedFlow, Sigmoid, geometric
from lowerbound.schedule.learned import LearnedGamma, MonotoneWarp

CURVES = {
    "linear-gamma": LinearGamma,
    "linear-beta": LinearBeta,
    "cosine": Cosine,
    "sigmoid": Sigmoid,
    "rectified-flow": RectifiedFlow,
    "learned-linear": LearnedGamma,
    "learned": lambda gamma_min, gamma_max: LearnedGamma(gamma_min, gamma_max, MonotoneWarp()),
}
"""From gamma_min to gamma_max."""
EXPLODING = {"geometric": geometric, "edm": EDM}
"""From sigma_min to sigma_max."""
TABLES = {"ddpm": betas.linear, "scaled-linear": betas.scaled_linear, "cosine-betas": betas.cosine}
"""Betas of so many steps, which have ends of their own."""
