"""Methods against posteriors that are known, and what none of them may do."""

from statistics import NormalDist

import pytest
import torch
from oracles import double, draw, gaussian, mixture

from lowerbound import grid
from lowerbound.denoiser import Denoiser, Gaussian, Prediction
from lowerbound.errors import InputError
from lowerbound.inverse import MMPS, LinearOperator, Mask, PiGDM, Replacement, TwistedParticles, posterior_sample
from lowerbound.inverse.particles import systematic
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import VARIANCE_EXPLODING, LinearGamma

SCHEDULE = LinearGamma(-9.0, 8.0)
METHODS = [Replacement(2, jump=2), PiGDM(), MMPS(), TwistedParticles(3)]
FIRST = Mask(torch.tensor([True, False]))
TIMES = grid.uniform(40)
SUM = LinearOperator(lambda x: x.sum(1, keepdim=True), lambda y: y.expand(-1, 2))


def error(method, denoiser, operator, matrix, y, noise_std, num_rows, num_times=40):
    """How far the mean and covariance of draws are from the posterior's, in the largest entry."""
    rows = torch.cat([y, y.new_full((int(isinstance(operator, Mask)),), torch.nan)]).expand(num_rows, -1)
    x = posterior_sample(method, denoiser, operator, rows, noise_std, grid.uniform(num_times), Stream(0))
    mean, covariance = denoiser.posterior(matrix, y, noise_std).moments()
    return (x.mean(0) - mean).abs().max().item(), (torch.cov(x.T) - covariance).abs().max().item()


def test_the_posterior_of_a_mixture_is_bayes_rule():
    denoiser, matrix, y, x = mixture(SCHEDULE), draw(1, 2), double([0.3]), draw(9, 2, seed=1)
    log_likelihood = -0.5 * ((y - x @ matrix.T) / 0.4).square().sum(1)
    log_ratio = denoiser.posterior(matrix, y, 0.4).log_prob(x) - denoiser.log_prob(x) - log_likelihood
    torch.testing.assert_close(log_ratio, log_ratio[:1].expand(9), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise_std", [0.0, 0.4])
@pytest.mark.parametrize("method", [MMPS(), TwistedParticles(16, "analytic"), Replacement(10, jump=2)])
def test_a_gaussian_posterior_is_found(method, noise_std):
    matrix, y = double([[1.0, 0.0]]), double([0.1])
    mean, covariance = error(method, gaussian(SCHEDULE), FIRST, matrix, y, noise_std, 1000)
    assert mean < 0.05  # of a deviation of 0.47, with a standard error of 0.015
    assert covariance < 0.06


@pytest.mark.parametrize(("method", "correlation"), [(PiGDM(), 0.0), (MMPS(), 0.8)])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_central_intervals_hold_as_much_as_they_say(method, correlation, level):
    # of data on which the denoiser of the posterior is exact: what is left is the sampler's error
    num_rows = 20_000
    data = Gaussian(double([0.0, 0.0]), double([[1.0, correlation], [correlation, 1.0]]), SCHEDULE)
    x = data.sample(num_rows, Stream(1))
    draws = posterior_sample(method, data, FIRST, x, 0.0, grid.uniform(50), Stream(2))[:, 1]
    spread = (draws - correlation * x[:, 0]).std().item()
    half = spread * NormalDist().inv_cdf((1 + level) / 2)
    share = ((x[:, 1] - correlation * x[:, 0]).abs() < half).double().mean().item()
    assert abs(share - level) < 4 * (level * (1 - level) / num_rows) ** 0.5 + 0.003


def test_particles_come_to_the_posterior_of_a_mixture_as_they_grow():
    """y is where the twist misleads: what it leads to at first is not the component that y belongs to."""
    denoiser, matrix, y = mixture(SCHEDULE), double([[1.0, 0.0]]), double([0.2])
    errors = [
        error(TwistedParticles(num_particles, "analytic"), denoiser, FIRST, matrix, y, 0.3, 400)
        for num_particles in (1, 4, 32)
    ]
    means = [mean for mean, _ in errors]
    assert means[0] > 2 * means[1] > 4 * means[2], errors  # 0.6, 0.2, and a standard error of 0.03
    assert max(errors[2]) < 0.1, errors


@pytest.mark.parametrize("method", METHODS)
def test_entries_known_without_noise_come_back_to_the_bit(method):
    denoiser = mixture(LinearGamma(-9.0, 8.0, scaling=VARIANCE_EXPLODING))
    observed = draw(6, 2) > 0
    y = torch.where(observed, draw(6, 2, seed=1), torch.nan)
    x = posterior_sample(method, denoiser, Mask(observed), y, 0.0, grid.uniform(3), Stream(0))
    assert torch.equal(x[observed], y[observed])
    assert x.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_a_row_does_not_depend_on_its_batch(method, noise_std):
    denoiser, y, observed = mixture(SCHEDULE), draw(4, 2), draw(4, 2) > 0
    times = grid.uniform(5)
    together = posterior_sample(method, denoiser, Mask(observed), y, noise_std, times, PerSample(range(4)))
    for row in range(4):
        part = slice(row, row + 1)
        alone = posterior_sample(method, denoiser, Mask(observed[part]), y[part], noise_std, times, PerSample([row]))
        torch.testing.assert_close(alone, together[part], rtol=1e-9, atol=1e-9)


class Shifted(Denoiser):
    """Data of variance zero, standing where the condition says."""

    def predict(self, x_t, level, cond, observed):
        return Prediction(x_t, level, cond[:, None] + 0 * x_t, self.schedule)


@pytest.mark.parametrize("method", METHODS)
def test_every_row_has_its_own_condition(method):
    cond = double([1.0, 2.0, 3.0])
    x = posterior_sample(method, Shifted(SCHEDULE, (2,)).given(cond), FIRST, draw(3, 2), 0.0, TIMES, Stream(0))
    torch.testing.assert_close(x[:, 1], cond)


@pytest.mark.parametrize("method", METHODS)
def test_every_step_is_counted(method):
    steps = []
    posterior_sample(
        method, mixture(SCHEDULE), FIRST, draw(3, 2), 0.0, grid.uniform(5), Stream(0), progress=steps.append
    )
    assert sum(steps) == method.num_steps(5)


def test_one_level_is_enough():
    for method in METHODS:
        x = posterior_sample(method, mixture(SCHEDULE), FIRST, draw(3, 2), 0.0, grid.uniform(1), Stream(0))
        assert x.isfinite().all()


def test_systematic_resampling_keeps_expectations():
    weights = double([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]])
    for u in (0.01, 0.5, 1.0):
        indices = systematic(weights, double([[u]] * 3), 8)
        counts = torch.stack([(indices == k).sum(1) for k in range(3)], 1)
        assert ((counts - 8 * weights).abs() < 1 + 1e-9).all()


@pytest.mark.parametrize(
    ("method", "operator", "y", "times", "message"),
    [
        (Replacement(), SUM, draw(3, 1), TIMES, "use a Mask, or another method"),
        (MMPS(), SUM, draw(3, 2), TIMES, r"give \(3, 1\)"),
        (MMPS(), LinearOperator(lambda x: x, lambda y: -y), draw(3, 2), TIMES, "dot-product test"),
        (MMPS(), Mask(torch.ones(3, dtype=torch.bool)), draw(3, 2), TIMES, "the shape of one example"),
        (MMPS(), SUM, draw(3, 1), TIMES.flip(0), "decreasing"),
        (MMPS(), SUM, draw(3, 1), TIMES[:0], "at least one"),
    ],
)
def test_what_cannot_be_is_refused(method, operator, y, times, message):
    with pytest.raises(InputError, match=message):
        posterior_sample(method, mixture(SCHEDULE), operator, y, 0.1, times, Stream(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Replacement(0),
        lambda: Replacement(jump=0),
        lambda: TwistedParticles(0),
        lambda: TwistedParticles(variance="some"),
        lambda: TwistedParticles(threshold=2.0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(InputError):
        make()
