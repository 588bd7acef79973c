"""Estimators of two libraries of simulation-based inference, by their interfaces: small stand-ins that are called as theirs
are, since neither library is installed here."""

import math

import numpy as np
import pytest
import torch

from lowerbound.auditing import audit
from lowerbound.errors import InputError

X = torch.tensor([1.0, -1.0])
NUM = {"num_draws": 2000, "num_samples": 1000}


def normal(mean, factor=1.0):
    """Of two parameters around an observation; the factor is a fault of its log density."""
    return lambda theta: factor * (-((theta - mean) ** 2).sum(-1) / 2 - math.log(2 * math.pi))


class Posterior:
    """As `sbi.inference.posteriors.DirectPosterior` is called."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def log_prob(self, theta, x=None, norm_posterior=True, track_gradients=False):
        return normal(x, self.factor)(theta)

    def sample(self, sample_shape, x=None, show_progress_bars=True):
        return x + torch.randn(*sample_shape, 2)


class Estimator(Posterior):
    """As `sbi.neural_nets.estimators.ConditionalDensityEstimator` is called."""

    def log_prob(self, input, condition):
        assert input.shape[1:] == (len(condition), 2)
        return normal(condition, self.factor)(input)

    def sample(self, sample_shape, condition):
        return condition + torch.randn(*sample_shape, len(condition), 2)


class Approximator(Posterior):
    """As `bayesflow.approximators.ContinuousApproximator` is called."""

    def log_prob(self, data, **kwargs):
        theta = np.concatenate([data["a"], data["b"]], 1)
        assert len(data["x"]) == len(theta)
        return normal(data["x"], self.factor)(theta)

    def sample(self, *, num_samples, conditions, split=False, **kwargs):
        drawn = conditions["x"][:, None] + np.random.standard_normal((1, num_samples, 2))  # noqa: NPY002 - as theirs does
        return {"a": drawn[..., :1], "b": drawn[..., 1:]}


MODELS = [(Posterior, X), (Estimator, X), (Approximator, {"x": X.numpy()[None]})]


@pytest.mark.parametrize(("kind", "condition"), MODELS)
def test_right_posteriors_pass_and_halved_ones_are_found(kind, condition):
    found = audit(kind(), given=condition, **NUM)
    assert found.verdict == "pass", str(found)
    wrong = audit(kind(0.5), given=condition, **NUM)
    assert wrong["normalisation by importance sampling"].verdict == "fail"
    assert "mean over dimensions" in wrong["normalisation by importance sampling"].remedy


def test_what_takes_no_condition_is_refused():
    with pytest.raises(InputError, match="by an interface that is known"):
        audit(torch.distributions.Normal(0.0, 1.0), given=X)
    with pytest.raises(InputError, match="dictionary of arrays"):
        audit(Approximator(), given=X)
