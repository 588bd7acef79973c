"""Decoders: each is the formula it names, sums to one over the levels, and stays finite far out."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import double, draw

from lowerbound.denoiser import Prediction
from lowerbound.errors import InputError
from lowerbound.levels import level_centres, nearest_level
from lowerbound.likelihood.decoder import DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.schedule import Level, LinearGamma
from lowerbound.schedule.scaling import SCALINGS

COUNTS = [2, 17, 256, 1000, 65_536]
GAMMAS = [-20.0, -13.3, -8.0, -4.0, 0.0, 5.0]


def centres_of(num_levels, index=None, dtype=torch.float64):
    """The centres as the formula has them, of all levels or of some."""
    index = torch.arange(num_levels) if index is None else index
    return ((2 * index.double() + 1) / num_levels - 1).to(dtype)


def level_at(gamma, scaling="variance-preserving"):
    return LinearGamma(gamma, gamma + 1, SCALINGS[scaling]).level(0.0)


def latents(num_levels, level, dtype=torch.float64):
    """Levels, the ends among them, and their latents, some six standard deviations of noise away."""
    generator = torch.Generator().manual_seed(num_levels)
    index = torch.cat(
        [torch.tensor([0, 0, 1, num_levels - 1]), torch.randint(0, num_levels, (28,), generator=generator)]
    )
    eps = torch.cat([double([-6.0, 3.0, 0.0, 6.0]), draw(28)])
    x = centres_of(num_levels, index, dtype)
    return index, x[None], (level.alpha * x + level.sigma * eps.to(dtype))[None]


def log_softmax(num_levels, level, x_t):
    """log p of every level: (1, N) -> (N, K)."""
    centres = centres_of(num_levels)
    return (-((x_t[0, :, None].double() - level.alpha * centres) ** 2) / (2 * level.sigma**2)).log_softmax(1)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("num_levels", COUNTS)
def test_level_posterior_is_the_full_log_softmax(num_levels, gamma):
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 5e-6)):
        level = level_at(gamma)
        index, x, x_t = latents(num_levels, level, dtype)
        ours = LevelPosterior(num_levels).log_prob(x, x_t, level)
        expected = log_softmax(num_levels, level, x_t).gather(1, index[:, None])[:, 0]
        assert ours.dtype == dtype
        torch.testing.assert_close(ours[0].double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("num_levels", COUNTS)
def test_level_posterior_sums_to_one(num_levels, gamma):
    level, decoder = level_at(gamma), LevelPosterior(num_levels)
    centres = centres_of(num_levels)[None]
    for place in (-1.5, 0.1234, 0.99):
        total = decoder.log_prob(centres, torch.full_like(centres, place * level.alpha), level).logsumexp(1)
        assert total.item() == pytest.approx(0, abs=1e-5), place


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("num_levels", COUNTS)
def test_level_posterior_far_outside(num_levels, gamma, dtype):
    """A latent of a broken model: no NaN, and where it decides, the nearest level has all the mass."""
    x_t = torch.tensor([[-1e6, -100.0, -3.0, 3.0, 100.0, 1e6]], dtype=dtype, requires_grad=True)
    nearest = centres_of(num_levels, torch.tensor([[0, 0, 0, 1, 1, 1]]) * (num_levels - 1), dtype)
    log_prob = LevelPosterior(num_levels).log_prob(nearest, x_t, level_at(gamma))
    (gradient,) = torch.autograd.grad(log_prob.sum(), x_t)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()
    assert (log_prob <= 1e-6).all()
    if gamma < -12 and num_levels <= 256:
        assert log_prob.abs().max() < 1e-6


@pytest.mark.parametrize("scaling", SCALINGS)
def test_decoders_without_network_do_not_depend_on_the_scaling(scaling):
    for decoder in (LevelPosterior(16), GaussianDecoder()):
        results = []
        for name in (scaling, "variance-exploding"):
            level = level_at(-4.0, name)
            _, x, x_t = latents(16, level)
            results.append(decoder.log_prob(x, x_t, level))
        torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def at_gamma(gamma, scaling="variance-preserving"):
    """The level of tensors (1,) that a learned schedule has at its data's end."""
    scales = SCALINGS[scaling]
    return Level(torch.zeros_like(gamma), gamma, scales.alpha(gamma), scales.sigma(gamma))


@pytest.mark.parametrize("num_levels", [17, 256, 65_536])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_gradient_of_the_level_posterior_with_respect_to_its_level(num_levels, gamma):
    """Through the latents and through the decoder itself, by differences; few levels are summed, many integrated."""
    index = torch.randint(0, num_levels, (16,), generator=torch.Generator().manual_seed(0))
    x, eps = centres_of(num_levels, index)[:, None], draw(16, 1)

    def log_prob(level):
        alpha, sigma = (torch.as_tensor(scale, dtype=torch.float64) for scale in (level.alpha, level.sigma))
        return LevelPosterior(num_levels).log_prob(x, alpha * x + sigma * eps, level)

    given = double([gamma]).requires_grad_()
    ours = log_prob(at_gamma(given))
    torch.testing.assert_close(ours, log_prob(level_at(gamma)), rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(ours.mean(), given)
    step = 1e-4
    difference = (log_prob(level_at(gamma + step)) - log_prob(level_at(gamma - step))).mean() / (2 * step)
    assert gradient.item() == pytest.approx(difference.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_gradient_of_the_gaussian_decoder_with_respect_to_its_level(scaling):
    """E log p = -(1 + gamma + log 2 pi) / 2 of each entry, whose slope is a half, for latents of any fixed noise."""
    x, eps, gamma = draw(4, 3), draw(4, 3, seed=1), double([-5.0]).requires_grad_()
    level = at_gamma(gamma, scaling)
    log_prob = GaussianDecoder().log_prob(x, level.alpha * x + level.sigma * eps, level)
    torch.testing.assert_close(log_prob, -0.5 * (eps**2 + gamma + math.log(2 * math.pi)), rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(log_prob.mean(), gamma)
    assert gradient.item() == pytest.approx(-0.5, abs=1e-9)


def predicted(x):
    return Prediction(x, level_at(-10.0), x, LinearGamma())


@pytest.mark.parametrize("std", [1e-3, 0.01, 0.3])
@pytest.mark.parametrize("num_levels", COUNTS)
def test_discretized_gaussian_sums_to_one(num_levels, std):
    centres = centres_of(num_levels)[None]
    decoder = DiscretizedGaussian(num_levels, std)
    for mean in (-1.7, -1.0, 0.1234, 1.0, 3.0):
        prediction = predicted(torch.full_like(centres, mean))
        total = decoder.log_prob(centres, centres, prediction.level, prediction).logsumexp(1)
        assert total.item() == pytest.approx(0, abs=1e-9), mean


def test_discretized_gaussian_is_ddpms():
    x = centres_of(256)[None]
    prediction = predicted(x + 0.02 * draw(1, 256))
    ours = DiscretizedGaussian(256, 0.02).log_prob(x, x, prediction.level, prediction)
    theirs = paper.discretized_mass(x.numpy(), prediction.x.numpy(), 0.02, 1 / 256, -255 / 256, 255 / 256)
    np.testing.assert_allclose(ours.exp().numpy(), theirs, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_discretized_gaussian_has_finite_tails_and_gradients(dtype):
    x = centres_of(256, torch.tensor([[0, 0, 5, 5, 255, 255, 128]]), dtype)
    mean = torch.tensor([[30.0, -30.0, 30.0, -30.0, 30.0, -30.0, 0.0]], dtype=dtype, requires_grad=True)
    prediction = predicted(mean)
    log_prob = DiscretizedGaussian(256, 0.01).log_prob(x, x, prediction.level, prediction)
    (gradient,) = torch.autograd.grad(log_prob.sum(), mean)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()
    assert log_prob[0, 1] == 0, "the end bins are open"
    assert log_prob[0, 4] == 0, "the end bins are open"
    # in the tail a normal's mass is its density at the near edge, about -z^2 / 2
    edge = (30.0 - (-1 + 12 / 256)) / 0.01
    assert log_prob[0, 2].item() == pytest.approx(-(edge**2) / 2, rel=1e-5)


def test_ddpms_fixed_variance_costs_its_published_bits():
    """1.71 bits/dim with a perfect mean, for a standard deviation of 0.01 and 8-bit data."""
    prediction = predicted(centres_of(256, torch.tensor([[100]])))
    log_prob = DiscretizedGaussian(256, 0.01).log_prob(prediction.x, prediction.x, prediction.level, prediction)
    assert -log_prob.item() / math.log(2) == pytest.approx(1.715, abs=0.005)


def test_the_bits_that_mixing_the_two_conventions_of_centres_costs():
    """Bins of 2/255 for k/127.5 - 1 hold log2(256/255) = 0.0056 bits more of any smooth density than ours of 2/256."""
    prediction = predicted(centres_of(256, torch.tensor([[100]])))
    ours = DiscretizedGaussian(256, 0.2).log_prob(prediction.x, prediction.x, prediction.level, prediction)
    theirs = paper.discretized_mass(prediction.x.numpy(), prediction.x.numpy(), 0.2, 1 / 255, -1.0, 1.0)
    assert math.log2(theirs.item()) - ours.item() / math.log(2) == pytest.approx(0.0056, abs=1e-4)


def test_gaussian_decoder_is_its_density():
    level = level_at(-3.0)
    x, x_t = draw(2, 4, 3)
    ours = GaussianDecoder().log_prob(x, x_t, level)
    expected = paper.log_normal(x.numpy(), (x_t / level.alpha).numpy(), (level.sigma / level.alpha) ** 2)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("num_levels", COUNTS)
def test_centres_and_indices_are_inverse(num_levels):
    index = torch.arange(num_levels)
    torch.testing.assert_close(level_centres(index, num_levels), centres_of(num_levels, dtype=torch.float32))
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(nearest_level(centres_of(num_levels, dtype=dtype), num_levels), index.to(dtype))


def test_impossible_decoders_are_refused():
    for make in (
        lambda: LevelPosterior(1),
        lambda: LevelPosterior(65_537),
        lambda: DiscretizedGaussian(0, 0.1),
        lambda: DiscretizedGaussian(256, 0.0),
        lambda: DiscretizedGaussian(256, math.nan),
    ):
        with pytest.raises(InputError):
            make()


def test_the_gaussian_decoders_expectation_is_the_mean_of_its_draws():
    schedule, x = LinearGamma(-3.0, 5.0), draw(2, 3)
    level = schedule.level(0.0)
    eps = draw(2000, 2, 3, seed=1)
    drawn = torch.stack([GaussianDecoder().log_prob(x, level.alpha * x + level.sigma * e, level) for e in eps])
    expected = GaussianDecoder().expected_log_prob(x, level)
    torch.testing.assert_close(expected, drawn.mean(0), rtol=0, atol=5 * 0.5**0.5 / 2000**0.5)
    assert LevelPosterior(4).expected_log_prob(x, level) is None
