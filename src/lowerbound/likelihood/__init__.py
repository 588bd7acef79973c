"""Likelihoods: the bound in its three terms, decoders, and the probability flow's density."""

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

__all__ = [
    "Decoder",
    "Density",
    "DiscretizedGaussian",
    "Elbo",
    "GaussianDecoder",
    "LevelPosterior",
    "check_chain",
    "check_likelihood",
    "elbo",
    "end_terms",
    "log_prob",
    "mean_and_error",
    "prior_kl",
    "step_kl",
]
