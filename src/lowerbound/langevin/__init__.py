"""Langevin dynamics, and what is drawn or trained by it: noise and a drift along the score; energies."""

from lowerbound.langevin.annealed import AnnealedLangevin
from lowerbound.langevin.contrastive import ContrastiveDivergence, PersistentChains
from lowerbound.langevin.corrector import PredictorCorrector
from lowerbound.langevin.energy import EnergyDenoiser
from lowerbound.langevin.metropolis import metropolis_langevin
from lowerbound.langevin.unadjusted import langevin, langevin_step

__all__ = [
    "AnnealedLangevin",
    "ContrastiveDivergence",
    "EnergyDenoiser",
    "PersistentChains",
    "PredictorCorrector",
    "langevin",
    "langevin_step",
    "metropolis_langevin",
]
