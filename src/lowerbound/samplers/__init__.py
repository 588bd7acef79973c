"""Samplers: stepping rules, each in its own file, and the loop that drives them."""

from lowerbound.samplers.ancestral import Ancestral
from lowerbound.samplers.annealed import AnnealedLangevin
from lowerbound.samplers.base import Sampler, Setting, State, descend, sample, start, trajectory
from lowerbound.samplers.corrector import PredictorCorrector
from lowerbound.samplers.ddim import DDIM
from lowerbound.samplers.exponential import ExponentialAdamsBashforth
from lowerbound.samplers.flow import ProbabilityFlow
from lowerbound.samplers.langevin import langevin_step
from lowerbound.samplers.metropolis import metropolis_langevin
from lowerbound.samplers.multistep import DPMSolver, DPMSolverSDE
from lowerbound.samplers.registry import SAMPLERS
from lowerbound.samplers.runge_kutta import Euler, Heun
from lowerbound.samplers.unipc import UniPC

__all__ = [
    "DDIM",
    "SAMPLERS",
    "Ancestral",
    "AnnealedLangevin",
    "DPMSolver",
    "DPMSolverSDE",
    "Euler",
    "ExponentialAdamsBashforth",
    "ProbabilityFlow",
    "Heun",
    "PredictorCorrector",
    "Sampler",
    "Setting",
    "State",
    "UniPC",
    "descend",
    "langevin_step",
    "metropolis_langevin",
    "sample",
    "start",
    "trajectory",
]
