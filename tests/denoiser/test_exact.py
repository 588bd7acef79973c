"""Closed-form denoisers against brute force: conditioning, quadrature, explicit sums, torch's distributions."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import COVARIANCE, EVERY_SCHEDULE, MEAN, double, draw, gaussian, make_schedule, mixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from lowerbound.denoiser.exact import Empirical, Gaussian, GaussianMixture
from lowerbound.errors import InputError
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import LinearGamma

OBSERVED = torch.tensor([True, False, True])


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_gaussian_is_the_conditional_distribution(name, scaling):
    denoiser = gaussian(make_schedule(name, scaling))
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    x_t = draw(5, 2) * 3
    prediction = denoiser(x_t, t)
    for index, (alpha, sigma) in enumerate(zip(*(c.tolist() for c in denoiser.schedule(t)), strict=True)):
        mean, covariance = paper.gaussian_posterior(
            MEAN.numpy(), COVARIANCE.numpy(), alpha, sigma, x_t[index : index + 1].numpy()
        )
        scale = max(1.0, sigma / alpha)
        np.testing.assert_allclose(prediction.x[index], mean[0], rtol=1e-8, atol=1e-8 * scale)
        np.testing.assert_allclose(prediction.x_var[index], covariance.diagonal(), rtol=1e-4, atol=1e-12)


def three_dimensions():
    roots = draw(2, 3, 3)
    return GaussianMixture(
        double([2.0, 3.0]), draw(2, 3, seed=1), roots @ roots.mT + 0.1 * torch.eye(3), LinearGamma(-6.0, 6.0)
    )


def marginal(denoiser, t, keep):
    """torch's own q(x_t) of some of the entries."""
    level = denoiser.schedule.level(t)
    covariances = level.alpha**2 * denoiser.covariances + level.sigma**2 * torch.eye(3, dtype=torch.float64)
    return MixtureSameFamily(
        Categorical(denoiser.weights),
        MultivariateNormal(level.alpha * denoiser.means[:, keep], covariances[:, keep][:, :, keep]),
    )


def test_log_densities_are_those_of_torch():
    denoiser, x_t = three_dimensions(), draw(6, 3)
    everything = torch.ones(3, dtype=torch.bool)
    for t in (0.0, 0.3, 1.0):
        expected = marginal(denoiser, t, everything).log_prob(x_t)
        torch.testing.assert_close(denoiser.log_marginal(x_t, t), expected, rtol=1e-10, atol=1e-10)
    data = MixtureSameFamily(Categorical(denoiser.weights), MultivariateNormal(denoiser.means, denoiser.covariances))
    torch.testing.assert_close(denoiser.log_prob(x_t), data.log_prob(x_t), rtol=1e-10, atol=1e-10)


def test_points_have_no_density_without_noise():
    """And one with noise, whether the data or x_t are in single precision."""
    points = Gaussian(torch.zeros(2), torch.zeros(2, 2), LinearGamma(-4.0, 4.0))
    with pytest.raises(InputError, match="no density without noise"):
        points.log_prob(torch.zeros(1, 2))
    level = points.schedule.level(0.0)
    for x_t in (torch.ones(1, 2), torch.ones(1, 2).double()):
        expected = torch.distributions.Normal(0.0, level.sigma).log_prob(x_t).sum(1)
        torch.testing.assert_close(points.log_marginal(x_t, 0.0), expected, rtol=1e-6, atol=0)


def test_what_is_loaded_is_what_predicts():
    denoiser, x_t = three_dimensions(), draw(6, 3)
    other = GaussianMixture(
        denoiser.weights, 2 * denoiser.means, 4 * denoiser.covariances.flip(1, 2), denoiser.schedule
    )
    assert not torch.allclose(other(x_t, 0.4).x, denoiser(x_t, 0.4).x)
    other.load_state_dict(denoiser.state_dict())
    assert torch.equal(other(x_t, 0.4).x, denoiser(x_t, 0.4).x)


def test_observed_entries_have_the_marginal_of_the_rest():
    denoiser, x_t = three_dimensions(), draw(6, 3)
    x_t[:, ~OBSERVED] = math.nan
    observed = OBSERVED.expand(6, 3)
    for t in (0.0, 0.5, 1.0):
        expected = marginal(denoiser, t, OBSERVED).log_prob(x_t[:, OBSERVED])
        torch.testing.assert_close(denoiser.log_marginal(x_t, t, observed), expected, rtol=1e-10, atol=1e-10)


def test_the_prediction_from_observed_entries_is_that_of_the_smaller_mixture():
    """Seen entries: as if the others did not exist. Unseen ones: the limit of infinite noise on them."""
    denoiser, x_t = three_dimensions(), draw(6, 3)
    prediction = denoiser(x_t, 0.4, observed=OBSERVED.expand(6, 3))
    smaller = GaussianMixture(
        denoiser.weights,
        denoiser.means[:, OBSERVED],
        denoiser.covariances[:, OBSERVED][:, :, OBSERVED],
        denoiser.schedule,
    )(x_t[:, OBSERVED], 0.4)
    torch.testing.assert_close(prediction.x[:, OBSERVED], smaller.x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(prediction.x_var[:, OBSERVED], smaller.x_var, rtol=1e-9, atol=1e-12)

    level, (keep, lost) = denoiser.schedule.level(0.4), ([0, 2], [1])
    components = marginal(denoiser, 0.4, OBSERVED).component_distribution
    responsibility = (denoiser.weights.log() + components.log_prob(x_t[:, None, keep])).softmax(1)
    gain = level.alpha * denoiser.covariances[:, lost][:, :, keep] @ components.covariance_matrix.inverse()
    residual = x_t[:, None, keep] - level.alpha * denoiser.means[:, keep]
    missing = denoiser.means[:, lost] + (gain @ residual[..., None])[..., 0]
    torch.testing.assert_close(
        prediction.x[:, lost], (responsibility[..., None] * missing).sum(1), rtol=1e-10, atol=1e-10
    )


def test_mixture_against_quadrature():
    schedule = LinearGamma(-4.0, 4.0)
    weights, means, variances = double([0.2, 0.5, 0.3]), double([-1.0, 0.5, 2.0]), double([0.3, 0.04, 0.5])
    denoiser = GaussianMixture(weights, means[:, None], variances[:, None, None], schedule)
    grid = torch.linspace(-12, 14, 200_001, dtype=torch.float64)
    prior = (weights * torch.exp(-((grid[:, None] - means) ** 2) / 2 / variances) / variances.sqrt()).sum(1)
    x_t = torch.linspace(-4, 4, 9, dtype=torch.float64)
    for t in (0.1, 0.5, 0.9):
        level = schedule.level(t)
        joint = prior * torch.exp(-((x_t[:, None] - level.alpha * grid) ** 2) / 2 / level.sigma**2)
        joint = joint / joint.sum(1, keepdim=True)
        x = joint @ grid
        x_var = joint @ grid**2 - x**2
        prediction = denoiser(x_t[:, None], t)
        torch.testing.assert_close(prediction.x[:, 0], x, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(prediction.x_var[:, 0], x_var, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_empirical_is_the_explicit_sum(shape, masked):
    examples, weights = draw(7, *shape), torch.rand(7, dtype=torch.float64) + 0.1
    denoiser = Empirical(examples, LinearGamma(-5.0, 5.0), weights)
    x_t = draw(4, *shape, seed=1)
    observed = draw(4, *shape, seed=2) > 0 if masked else None
    times = double([0.0, 0.3, 0.6, 1.0])
    prediction = denoiser(x_t, times, observed=observed)
    for index, t in enumerate(times.tolist()):
        level = denoiser.schedule.level(t)
        distance = (x_t[index] - level.alpha * examples) ** 2
        if observed is not None:
            distance = distance[:, observed[index]]
        log_weight = weights.log() - distance.flatten(1).sum(1) / (2 * level.sigma**2)
        probability = log_weight.softmax(0).reshape(-1, *[1] * len(shape))
        x = (probability * examples).sum(0)
        x_var = (probability * (examples - x) ** 2).sum(0)
        torch.testing.assert_close(prediction.x[index], x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(prediction.x_var[index], x_var, rtol=1e-7, atol=1e-12)


def test_points_are_a_mixture_without_spread():
    schedule = LinearGamma(-4.0, 4.0)
    examples, t, x_t = draw(5, 2), double([0.1, 0.5, 0.9]), draw(3, 2, seed=1)
    points = Empirical(examples, schedule)(x_t, t)
    flat = GaussianMixture(
        torch.ones(5, dtype=torch.float64), examples, torch.zeros(5, 2, 2, dtype=torch.float64), schedule
    )(x_t, t)
    torch.testing.assert_close(points.x, flat.x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(points.x_var, flat.x_var, rtol=1e-8, atol=1e-12)


def test_probabilities_of_examples():
    examples = double([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    denoiser = Empirical(examples, LinearGamma(), double([1.0, 2.0, 5.0]))
    log_prob = denoiser.log_prob(double([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]))
    torch.testing.assert_close(log_prob.exp(), double([6 / 8, 2 / 8, 0.0]))


def test_samples_have_the_moments_of_the_data():
    denoiser = mixture(LinearGamma())
    for noise in (Stream(0), PerSample(range(40_000))):
        x = denoiser.sample(40_000, noise)
        mean = denoiser.weights @ denoiser.means
        spread = denoiser.means - mean
        covariance = (
            denoiser.weights[:, None, None] * (denoiser.covariances + spread[:, :, None] * spread[:, None])
        ).sum(0)
        assert (x.mean(0) - mean).abs().max() < 5 * (covariance.diagonal().max() / len(x)).sqrt()
        torch.testing.assert_close(torch.cov(x.T), covariance, rtol=0.03, atol=0.01)


def test_numbers_and_batches_of_times_agree():
    x_t = draw(3, 2)
    for denoiser in (mixture(LinearGamma()), Empirical(draw(4, 2), LinearGamma())):
        one, many = denoiser(x_t, 0.4), denoiser(x_t, double([0.4] * 3))
        torch.testing.assert_close(one.x, many.x, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(one.x_var, many.x_var, rtol=1e-8, atol=1e-12)


def test_single_precision_is_close():
    schedule, t = LinearGamma(-6.0, 5.0), torch.tensor([0.0, 0.3, 0.7, 1.0])
    x_t = draw(4, 2)
    for exact in (mixture(schedule), Empirical(draw(4, 2), schedule)):
        expected = exact(x_t, t.double()).x
        torch.testing.assert_close(exact.float()(x_t.float(), t).x.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda schedule: GaussianMixture(
            double([1.0, -1.0]), draw(2, 2), torch.eye(2).double().expand(2, 2, 2), schedule
        ),
        lambda schedule: Gaussian(MEAN, double([[1.0, 0.5], [0.0, 1.0]]), schedule),
        lambda schedule: Gaussian(MEAN, double([[1.0, 2.0], [2.0, 1.0]]), schedule),
        lambda schedule: Empirical(torch.empty(0, 2), schedule),
        lambda schedule: Empirical(draw(2, 2), schedule, double([1.0, 0.0])),
    ],
)
def test_impossible_data_are_refused(make):
    with pytest.raises(InputError):
        make(LinearGamma())
