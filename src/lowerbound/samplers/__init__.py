"""Samplers: stepping rules, each in its own file, and the loop that drives them."""

from lowerbound.samplers.ancestral import Ancestral
from lowerbound.samplers.base import Sampler, Setting, State, descend, sample, start, trajectory
from lowerbound.samplers.ddim import DDIM
from lowerbound.samplers.exponential import ExponentialAdamsBashforth
from lowerbound.samplers.flow import ProbabilityFlow
from lowerbound.samplers.multistep import DPMSolver, DPMSolverSDE
from lowerbound.samplers.runge_kutta import Euler, Heun
from lowerbound.samplers.unipc import UniPC, UniPCSDE

__all__ = [
    "DDIM",
    "Ancestral",
    "DPMSolver",
    "DPMSolverSDE",
    "Euler",
    "ExponentialAdamsBashforth",
    "ProbabilityFlow",
    "Heun",
    "Sampler",
    "Setting",
    "State",
    "UniPC",
    "UniPCSDE",
    "descend",
    "sample",
    "start",
    "trajectory",
]
