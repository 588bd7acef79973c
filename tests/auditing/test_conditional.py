"""Estimators of two libraries of simulation-based inference, by their interfaces: small stand-ins that are called as theirs
are, and their own classes where they are installed (`benchmarks/audits.py --posteriors` audits trained ones)."""

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
        with torch.set_grad_enabled(track_gradients):
            return normal(x, self.factor)(theta)

    def sample(self, sample_shape, x=None, show_progress_bars=True):
        return x + torch.randn(*sample_shape, 2)


class Truncated(Posterior):
    """A posterior inside a prior's box, whose share of draws inside is estimated by draws, anew at each call."""

    def log_prob(self, theta, x=None, norm_posterior=True, track_gradients=False):
        inside = (x + torch.randn(1_000, 2)).abs().amax(1) < 2
        return super().log_prob(theta, x).where(theta.abs().amax(1) < 2, -math.inf) - inside.float().mean().log()

    def sample(self, sample_shape, x=None, show_progress_bars=True):
        drawn = super().sample((3 * sample_shape[0],), x)
        return drawn[drawn.abs().amax(1) < 2][: sample_shape[0]]


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

    def sample(self, *, num_samples, conditions, split=False, seed=None, **kwargs):
        drawn = conditions["x"][:, None] + np.random.default_rng(seed).standard_normal((1, num_samples, 2))
        return {"a": drawn[..., :1], "b": drawn[..., 1:]}


MODELS = [(Posterior, X), (Estimator, X), (Approximator, {"x": X.numpy()[None]})]


@pytest.mark.parametrize(("kind", "condition"), MODELS)
def test_right_posteriors_pass_and_halved_ones_are_found(kind, condition):
    found = audit(kind(), given=condition, **NUM)
    assert found.verdict == "pass", str(found)
    wrong = audit(kind(0.5), given=condition, **NUM)
    assert wrong["normalisation by importance sampling"].verdict == "fail"
    assert "mean over dimensions" in wrong["normalisation by importance sampling"].remedy


@pytest.mark.parametrize(("kind", "condition"), MODELS)
def test_an_audit_of_one_seed_is_one(kind, condition):
    first, second = (audit(kind(), given=condition, seed=3, **NUM) for _ in range(2))
    assert str(first) == str(second)


@pytest.mark.parametrize(("kind", "condition"), MODELS[:2])
def test_slopes_of_tensors_are_held_against_differences(kind, condition):
    assert audit(kind(), given=condition, **NUM)["gradient"].verdict == "pass"


def test_a_correction_that_is_drawn_anew_is_found():
    found = audit(Truncated(), given=X, **NUM)
    assert found["repeats"].verdict == "fail", str(found)
    assert "states no error" in found["repeats"].remedy
    assert found["normalisation by importance sampling"].verdict == "pass"


@pytest.mark.filterwarnings("default")  # theirs
def test_posteriors_of_sbi_pass_and_a_correction_of_another_observation_is_found():
    """sbi keeps the share of draws that lie inside of the prior, which is another one for another observation."""
    inference, utils = pytest.importorskip("sbi.inference"), pytest.importorskip("sbi.utils")
    torch.manual_seed(0)
    prior = utils.BoxUniform(-2 * torch.ones(2), 2 * torch.ones(2))
    theta = prior.sample((500,))
    trainer = inference.NPE(prior, density_estimator="mdn").append_simulations(
        theta, theta + torch.randn_like(theta) / 2
    )
    estimator = trainer.train(max_num_epochs=20)
    posterior = trainer.build_posterior(estimator)
    assert audit(estimator, given=X, **NUM).verdict == "pass"
    posterior.set_default_x(X)
    assert audit(posterior, **NUM)["normalisation by importance sampling"].verdict == "pass"
    posterior._leakage_density_correction_factor *= 0.7
    assert audit(posterior, **NUM)["normalisation by importance sampling"].verdict == "fail"


@pytest.mark.filterwarnings("default")  # theirs
def test_approximators_of_bayesflow_pass(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    bayesflow = pytest.importorskip("bayesflow")
    theta = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    adapter = bayesflow.Adapter().rename("theta", "inference_variables").rename("x", "inference_conditions")
    workflow = bayesflow.BasicWorkflow(inference_network=bayesflow.networks.CouplingFlow(depth=1), adapter=adapter)
    with torch.enable_grad():
        workflow.fit_offline({"theta": theta, "x": theta + 1}, epochs=1, batch_size=50, verbose=0)
    assert audit(workflow.approximator, given={"x": X.numpy()[None]}, **NUM).verdict == "pass"


def test_what_takes_no_condition_is_refused():
    with pytest.raises(InputError, match="by an interface that is known"):
        audit(torch.distributions.Normal(0.0, 1.0), given=X)
    with pytest.raises(InputError, match="dictionary of arrays"):
        audit(Approximator(), given=X)
    with pytest.raises(InputError, match="its first axis holds one data set"):
        audit(Approximator(), given={"x": X.numpy()})
