"""Normalisers by annealed importance sampling, where they are known."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from oracles import double, draw, mixture

from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.langevin import EnergyDenoiser
from lowerbound.nn import MLP
from lowerbound.rng import Stream
from lowerbound.schedule import Cosine, LinearGamma
from lowerbound.theory.normaliser import (
    Annealed,
    Geometric,
    NoiseLevels,
    energy_log_prob,
    log_normaliser,
    log_normaliser_above,
)

LOG_Z = 1.7
annealed = partial(log_normaliser, num_chains=400, num_bridges=60, dtype=torch.float64)


def gaussian(dim):
    """A correlated Gaussian, away from zero."""
    factor = 0.3 * draw(dim, dim, seed=dim)
    covariance = factor @ factor.T + 0.3 * torch.eye(dim, dtype=torch.float64)
    return Gaussian(0.5 * draw(dim), covariance, LinearGamma(-8.0, 5.0))


def scaled(log_prob):
    return lambda *arguments: log_prob(*arguments) + LOG_Z


def check(estimate: Annealed, truth: float, within: float = 0.05):
    assert estimate.standard_error < within
    assert abs(estimate.log_z - truth) < min(within, 4 * estimate.standard_error)
    assert estimate.acceptance.mean() == pytest.approx(0.6, abs=0.08)


@pytest.mark.parametrize("dim", [1, 3, 10])
def test_of_a_gaussian(dim):
    data, many = gaussian(dim), 200 + 160 * dim
    check(
        annealed(Geometric(scaled(data.log_prob), (dim,), 1.0), Stream(0), num_chains=many, num_bridges=40 + 4 * dim),
        LOG_Z,
    )
    levels = NoiseLevels(scaled(data.log_marginal), data.schedule, (dim,), 0.8)
    check(annealed(levels, Stream(1), num_chains=many, num_bridges=40 + 4 * dim), LOG_Z)


def test_of_a_mixture_from_below_and_above():
    data = mixture(Cosine(gamma_min=-8.0, gamma_max=5.0))
    path = Geometric(scaled(data.log_prob), (2,), 1.2)
    below = annealed(path, Stream(0), num_steps=2)
    check(below, LOG_Z)
    above = log_normaliser_above(path, data.sample(2000, Stream(1)), Stream(2), num_bridges=60, num_steps=2)
    check(above, LOG_Z, within=0.08)
    check(annealed(NoiseLevels(scaled(data.log_marginal), data.schedule, (2,)), Stream(3), num_steps=2), LOG_Z)


def test_few_bridges_are_too_low_on_average_and_too_high_backwards():
    """Twenty estimates, each of twenty chains, out of one run of independent chains."""
    std = torch.linspace(0.3, 0.6, 10, dtype=torch.float64)
    target = torch.distributions.Normal(0.3 * draw(10), std)
    path = Geometric(scaled(lambda x: target.log_prob(x).sum(1)), (10,), 1.0)
    x = target.mean + std * draw(400, 10, seed=1)
    below = log_normaliser(path, Stream(0), num_chains=400, num_bridges=3, dtype=torch.float64)
    above = log_normaliser_above(path, x, Stream(1), num_bridges=3)
    for run, sign in ((below, 1), (above, -1)):
        parts = [replace(run, log_weights=run.log_weights[i::20], x=run.x[i::20]).log_z for i in range(20)]
        errors = sign * (double(parts) - LOG_Z)
        assert errors.mean() < -3 * errors.std() / math.sqrt(20)


def test_the_weights_say_it():
    one = Annealed(double([0.0, math.log(3.0)]), double([0.5]), draw(2, 2))
    assert one.log_z == pytest.approx(math.log(2.0))
    assert one.effective_sample_size == pytest.approx(16 / 10)
    assert one.standard_error == pytest.approx(math.sqrt(2) / 2 / math.sqrt(2))
    back = Annealed(one.log_weights, one.acceptance, one.x, upper=True)
    assert back.log_z == -one.log_z


@pytest.mark.parametrize(("rate", "has_error"), [(4.0, True), (0.9, False)])
def test_weights_with_a_heavy_tail_leave_no_error(rate, has_error):
    """Pareto weights, whose shape is one over the rate of their log."""
    log_weights = torch.distributions.Exponential(double(rate)).icdf((torch.arange(1000) + 0.5).double() / 1000)
    found = Annealed(log_weights, double([0.5]), draw(1000, 2))
    assert (found.standard_error > 0) == has_error
    assert ("±" in str(found.figure)) == has_error


def test_the_end_of_the_chains_is_the_density():
    data = mixture(LinearGamma(-8.0, 5.0))
    run = annealed(NoiseLevels(data.log_marginal, data.schedule, (2,)), Stream(0), num_chains=1000)
    weights = run.log_weights.softmax(0)
    mean, covariance = data.moments()
    torch.testing.assert_close(weights @ run.x, mean, rtol=0, atol=0.06)
    torch.testing.assert_close((weights[:, None] * (run.x - mean)).T @ (run.x - mean), covariance, rtol=0, atol=0.1)


@pytest.mark.parametrize("sigma_data", [0.5, 2.0])
def test_an_untrained_energy_is_normalised(sigma_data):
    denoiser = EnergyDenoiser(MLP(2, width=8, depth=1).double(), LinearGamma(-8.0, 5.0), (2,), sigma_data)
    path = NoiseLevels(denoiser.log_density, denoiser.schedule, (2,), sigma_data)
    run = log_normaliser(path, Stream(0), num_chains=4, num_bridges=3, dtype=torch.float64)
    assert abs(run.log_z) < 1e-9
    x = draw(3, 2)
    variance = sigma_data**2 + math.exp(-8.0)
    exact = torch.distributions.Normal(double(0.0), double(math.sqrt(variance))).log_prob(x).sum(1)
    torch.testing.assert_close(energy_log_prob(denoiser, x, run), exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("counts", [{"num_chains": 1}, {"num_bridges": 0}, {"num_steps": 0}])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(InputError, match="or more"):
        log_normaliser(Geometric(lambda x: -x.square().sum(1), (2,)), Stream(0), **counts)


def test_an_impossible_start_is_refused():
    with pytest.raises(InputError, match="positive"):
        Geometric(lambda x: -x.square().sum(1), (2,), 0.0)
