"""One reverse step: DDPM's letters, the root that study notes drop, and what each variance is right for."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import COVARIANCE, MEAN, Known, WithMix, double, draw, gaussian, make_schedule

from lowerbound.errors import InputError
from lowerbound.likelihood import step_kl
from lowerbound.reverse import KINDS, posterior, reverse_variance
from lowerbound.samplers import Ancestral
from lowerbound.samplers.base import State
from lowerbound.schedule import CLEAN, LinearGamma, betas
from lowerbound.schedule.betas import from_betas
from lowerbound.schedule.scaling import SCALINGS

CHAIN = paper.Chain(paper.ddpm_betas())


def ddpm_levels():
    schedule = from_betas(betas.linear())
    return [CLEAN, *schedule.levels(schedule.times)]


def test_posterior_is_ddpms_on_every_step():
    levels = ddpm_levels()
    x, x_t = draw(2, 5).numpy()
    for t in range(1, 1001):
        step = posterior(levels[t], levels[t - 1])
        mean = step.from_x_t * x_t + step.from_x * x
        np.testing.assert_allclose(mean, CHAIN.posterior_mean(x, x_t, t), rtol=1e-8, atol=1e-12)
        assert step.variance == pytest.approx(CHAIN.beta_tilde(t), rel=1e-8, abs=1e-20)


def test_upper_variance_is_ddpms_beta():
    levels = ddpm_levels()
    for t in range(1, 1001):
        assert reverse_variance("upper", levels[t], levels[t - 1]) == pytest.approx(CHAIN.beta[t], rel=1e-10)


def test_the_mean_in_x_is_the_mean_in_eps():
    """Formula 5's check: it fails where the root on alpha_bar_{t-1} is dropped."""
    levels = ddpm_levels()
    x_t, eps = draw(2, 7)
    for t in (1, 2, 10, 500, 999, 1000):
        level, beta = levels[t], betas.linear()[t - 1].item()
        x = (x_t - level.sigma * eps) / level.alpha
        step = posterior(level, levels[t - 1])
        ours = step.from_x_t * x_t + step.from_x * x
        expected = (x_t - beta / level.sigma * eps) / math.sqrt(1 - beta)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_posterior_by_conditioning(scaling):
    """q(x_s | x_t, x) from the joint Gaussian of x_s and x_t given x."""
    schedule = make_schedule("linear gamma", scaling)
    t, s = schedule.level(0.7), schedule.level(0.6)
    kept = t.alpha / s.alpha
    covariance, marginal = kept * s.sigma**2, t.sigma**2
    step = posterior(t, s)
    assert step.from_x_t == pytest.approx(covariance / marginal, rel=1e-12)
    assert step.from_x == pytest.approx(s.alpha - covariance / marginal * t.alpha, rel=1e-12)
    assert step.variance == pytest.approx(s.sigma**2 - covariance**2 / marginal, rel=1e-11)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_each_variance_is_right_for_its_data(scaling):
    """Var[x_s | x_t] of Gaussian data of variance u: zero is 'lower', one is 'upper', any is 'analytic'."""
    schedule = make_schedule("cosine", scaling)
    t, s = schedule.level(0.8), schedule.level(0.55)
    for u, kind in ((0.0, "lower"), (1.0, "upper"), (0.37, "analytic"), (0.0, "analytic"), (1.0, "analytic")):
        total_s, total_t = s.alpha**2 * u + s.sigma**2, t.alpha**2 * u + t.sigma**2
        exact = total_s - (t.alpha / s.alpha * total_s) ** 2 / total_t
        x_var = double([[u * t.sigma**2 / total_t]])
        assert float(reverse_variance(kind, t, s, x_var)) == pytest.approx(exact, rel=1e-10), (kind, u)


def test_analytic_variance_minimises_the_step_kl_of_correlated_data():
    """The best diagonal Gaussian has the marginal variances of q(x_s | x_t), here of a correlated Gaussian."""
    denoiser = gaussian(LinearGamma())
    t, s = denoiser.schedule.level(0.6), denoiser.schedule.level(0.5)
    _, spread = paper.gaussian_posterior(MEAN.numpy(), COVARIANCE.numpy(), t.alpha, t.sigma, np.zeros((1, 2)))
    step = posterior(t, s)
    exact = step.variance * np.eye(2) + step.from_x**2 * spread
    ours = reverse_variance("analytic", t, s, denoiser(torch.zeros(1, 2, dtype=torch.float64), t).x_var)
    np.testing.assert_allclose(ours[0].numpy(), exact.diagonal(), rtol=1e-10)


def test_learned_variance_is_nichol_and_dhariwals():
    """exp(v log beta_t + (1 - v) log beta~_t), equation 15, for any number v."""
    levels = ddpm_levels()
    mix = double([[-0.3, 0.0, 0.25, 0.5, 1.0, 1.7]])
    for t in (2, 10, 500, 1000):
        ours = reverse_variance("learned", levels[t], levels[t - 1], variance_mix=mix)
        theirs = np.exp(mix.numpy() * np.log(CHAIN.beta[t]) + (1 - mix.numpy()) * np.log(CHAIN.beta_tilde(t)))
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-8)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_learned_variance_goes_from_lower_to_upper_along_a_geometric_mean(scaling):
    schedule = make_schedule("cosine", scaling)
    times = double([0.02, 0.5, 0.98])
    t, s = schedule.level(times), schedule.level(times - 0.02)
    lower, upper = reverse_variance("lower", t, s), reverse_variance("upper", t, s)
    for mix, expected in ((0.0, lower), (1.0, upper), (0.5, (lower * upper).sqrt())):
        ours = reverse_variance("learned", t, s, variance_mix=torch.full((3, 2), mix, dtype=torch.float64))
        torch.testing.assert_close(ours, expected[:, None].expand(3, 2), rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_and_ancestral_sampling_have_one_variance(kind):
    """Of one sampled step, and of the KL that its bound counts: that of a Gaussian of the same mean and variance."""
    denoiser = WithMix(gaussian(LinearGamma(-6.0, 5.0)), 0.3)
    t, s = denoiser.schedule.level(0.6), denoiser.schedule.level(0.4)
    x_t, x, z = draw(3, 2), draw(3, 2, seed=1), draw(3, 2, seed=2)
    prediction, step = denoiser(x_t, t), posterior(t, s)
    drawn, mean = (
        Ancestral(kind).step(denoiser, State(x_t), t, s, Known([noise])).x for noise in (z, torch.zeros(3, 2))
    )
    variance = ((drawn - mean) / z) ** 2
    expected = torch.as_tensor(prediction.reverse_variance(kind, s), dtype=torch.float64).expand(3, 2)
    torch.testing.assert_close(variance, expected, rtol=1e-9, atol=0)
    q_mean = step.from_x_t * x_t + step.from_x * x
    kl = paper.gaussian_kl(q_mean.numpy(), step.variance, mean.numpy(), variance.numpy())
    np.testing.assert_allclose(step_kl(prediction, x, s, kind).numpy(), kl, rtol=1e-7)


def test_batches_of_levels_agree_with_single_ones():
    schedule = LinearGamma()
    times = double([0.3, 0.9])
    batch = posterior(schedule.level(times), schedule.level(times - 0.1))
    for index, t in enumerate(times.tolist()):
        one = posterior(schedule.level(t), schedule.level(t - 0.1))
        for field in ("from_x_t", "from_x", "variance"):
            assert getattr(batch, field)[index].item() == pytest.approx(getattr(one, field), rel=1e-11)


def test_the_data_is_a_level_like_any_other():
    for t in (0.0, 0.5, 1.0):
        for level in (LinearGamma().level(t), LinearGamma().level(double([t]))):
            step = posterior(level, CLEAN)
            assert (float(step.from_x_t), float(step.from_x), float(step.variance)) == (0, 1, 0)


def test_what_is_missing_or_unknown_is_refused():
    t, s = LinearGamma().levels(double([0.5, 0.4]))
    with pytest.raises(InputError, match="does not give"):
        reverse_variance("analytic", t, s)
    with pytest.raises(InputError, match="trained to give it"):
        reverse_variance("learned", t, s)
    with pytest.raises(InputError, match="lower, upper, analytic, learned"):
        reverse_variance("beta", t, s)
