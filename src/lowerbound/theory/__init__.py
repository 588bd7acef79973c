"""The theory beside what the program runs on: each derivation, estimator and identity as a value or function of its own."""

from lowerbound.theory import derivations, linear, textbook
from lowerbound.theory.hybrid import hybrid
from lowerbound.theory.normaliser import (
    Annealed,
    Geometric,
    NoiseLevels,
    energy_log_prob,
    log_normaliser,
    log_normaliser_above,
)
from lowerbound.theory.split import Split, split_ancestral

__all__ = [
    "Annealed",
    "Geometric",
    "NoiseLevels",
    "Split",
    "derivations",
    "energy_log_prob",
    "hybrid",
    "linear",
    "log_normaliser",
    "log_normaliser_above",
    "split_ancestral",
    "textbook",
]
