"""Samplers: stepping rules, each in its own file, and the loop that drives them."""

from lowerbound.samplers.ancestral import Ancestral
from lowerbound.samplers.base import Sampler, State, sample, start, trajectory
from lowerbound.samplers.ddim import DDIM

__all__ = ["DDIM", "Ancestral", "Sampler", "State", "sample", "start", "trajectory"]
