"""Likelihoods: the bound in its three terms and all its derivations, decoders, and the probability flow's density."""

from lowerbound.likelihood import derivations, estimators
from lowerbound.likelihood.bound import (
    Elbo,
    check_chain,
    check_likelihood,
    elbo,
    end_terms,
    mean_and_error,
    prior_kl,
    step_kl,
)
from lowerbound.likelihood.decoder import Decoder, DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.likelihood.density import Density, log_prob
from lowerbound.likelihood.dequantization import (
    Dequantizer,
    TruncatedNormalDequantizer,
    UniformDequantizer,
    discrete_log_prob,
)
from lowerbound.likelihood.hybrid import hybrid
from lowerbound.likelihood.normaliser import (
    Annealed,
    Geometric,
    NoiseLevels,
    energy_log_prob,
    log_normaliser,
    log_normaliser_above,
)

__all__ = [
    "Annealed",
    "Decoder",
    "Density",
    "Dequantizer",
    "DiscretizedGaussian",
    "Elbo",
    "GaussianDecoder",
    "Geometric",
    "LevelPosterior",
    "NoiseLevels",
    "TruncatedNormalDequantizer",
    "UniformDequantizer",
    "check_chain",
    "check_likelihood",
    "derivations",
    "discrete_log_prob",
    "elbo",
    "end_terms",
    "energy_log_prob",
    "estimators",
    "hybrid",
    "log_normaliser",
    "log_normaliser_above",
    "log_prob",
    "mean_and_error",
    "prior_kl",
    "step_kl",
]
