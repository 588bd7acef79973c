"""Langevin dynamics: its bias in closed form, none where steps are accepted, annealed, and inside ancestral steps."""

import math
from itertools import pairwise

import pytest
import torch
from oracles import SCHEDULES, Known, double, draw, gaussian, make_schedule, mixture
from torch import nn

from lowerbound import grid
from lowerbound.denoiser import NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.langevin import AnnealedLangevin, langevin_step, metropolis_langevin
from lowerbound.langevin.unadjusted import langevin
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import DDIM, Ancestral, State, descend, sample, start, trajectory
from lowerbound.schedule import CLEAN, LinearGamma
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.theory import split_ancestral

VARIANCE = 0.7
STEPS = [0.1, 0.5, 1.4, 2.2]
"""Of N(0, 0.7): from 2.8 on there is no stationary law."""


def gaussian_score(x):
    return -x / VARIANCE


def gaussian_density(x):
    return -0.5 * x.square().sum(1) / VARIANCE, gaussian_score(x)


def mixture_density(x):
    denoiser = mixture(LinearGamma(-3.0, 5.0))
    level = denoiser.schedule.level(0.0)
    return denoiser.log_marginal(x, level), denoiser(x, level).score


def mixture_draws(num_draws):
    denoiser = mixture(LinearGamma(-3.0, 5.0))
    level = denoiser.schedule.level(0.0)
    x = denoiser.sample(num_draws, Stream(0))
    return level.alpha * x + level.sigma * Stream(1).normal(x)


@pytest.mark.parametrize("step_size", STEPS)
def test_the_bias_on_a_gaussian_is_its_closed_form(step_size):
    """u / (1 - e / 4u), by summing the recursion up: the variance after n steps from 0 and from far above."""
    expected = VARIANCE / (1 - step_size / (4 * VARIANCE))
    one, zero = double([[1.0]]), double([[0.0]])
    kept = langevin_step(one, gaussian_score(one), zero, step_size).item()
    added = langevin_step(zero, gaussian_score(zero), one, step_size).item()
    for begin in (0.0, 10.0):
        variance = begin
        for _ in range(2000):
            variance = kept**2 * variance + added**2
        assert variance == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("step_size", STEPS)
def test_simulated_chains_have_the_biased_variance(step_size):
    num_chains = 40_000
    expected = VARIANCE / (1 - step_size / (4 * VARIANCE))
    x = langevin(gaussian_score, math.sqrt(VARIANCE) * draw(num_chains, 1), step_size, 150, Stream(1))
    error = expected * math.sqrt(2 / num_chains)
    assert abs(x.var().item() - expected) < 4 * error
    assert abs(x.mean().item()) < 4 * math.sqrt(expected / num_chains)


@pytest.mark.parametrize("step_size", STEPS)
def test_metropolis_has_no_bias(step_size):
    """Where the steps alone make 1.04 to 4.7 times the variance; from another law as well."""
    num_chains = 20_000
    for begin in (math.sqrt(VARIANCE), 0.1):
        x, accepted = metropolis_langevin(gaussian_density, begin * draw(num_chains, 1), step_size, 60, Stream(1))
        assert abs(x.var().item() - VARIANCE) < 4 * VARIANCE * math.sqrt(2 / num_chains)
        assert 0.2 < accepted.mean() < 1
        assert accepted.shape == (num_chains,)


def test_metropolis_keeps_a_mixture_that_plain_steps_change():
    """Exact draws stay exact draws, measured by moments and by the mean log density."""
    step_size, x = 0.15, mixture_draws(4000)

    def figures(x):
        return torch.cat([x, x.square(), x.prod(1, keepdim=True), mixture_density(x)[0][:, None]], 1)

    before = figures(mixture_draws(50_000)).mean(0)
    adjusted, _ = metropolis_langevin(mixture_density, x, step_size, 30, Stream(2))
    plain = langevin(lambda x: mixture_density(x)[1], x, step_size, 30, Stream(2))
    deviations = []
    for end in (adjusted, plain):
        values = figures(end)
        deviations.append(((values.mean(0) - before).abs() / (values.std(0) / len(x) ** 0.5)).max())
    assert deviations[0] < 4.5
    assert deviations[1] > 8


def test_small_steps_are_always_accepted():
    _, accepted = metropolis_langevin(mixture_density, mixture_draws(100), 1e-6, 20, Stream(0))
    assert accepted.mean() > 0.99


def test_what_is_refused_stays():
    """A density on the positive half: nothing ever leaves it."""

    def half(x):
        inside = (x > 0).all(1)
        return torch.where(inside, -0.5 * x.square().sum(1), -math.inf), -x / inside[:, None]

    x, accepted = metropolis_langevin(half, draw(500, 1).abs(), 0.5, 50, Stream(0))
    assert (x > 0).all()
    assert x.isfinite().all()
    assert accepted.mean() < 0.9


def test_chains_do_not_depend_on_their_batch():
    x, sizes = mixture_draws(3), double([0.01, 0.1, 0.3])
    together = [
        langevin(lambda x: mixture_density(x)[1], x, sizes, 10, PerSample([3, 4, 5])),
        *metropolis_langevin(mixture_density, x, sizes, 10, PerSample([3, 4, 5])),
    ]
    alone = [
        langevin(lambda x: mixture_density(x)[1], x[1:2], 0.1, 10, PerSample([4])),
        *metropolis_langevin(mixture_density, x[1:2], 0.1, 10, PerSample([4])),
    ]
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours[1:2], theirs, rtol=1e-10, atol=1e-10)
    assert torch.equal(langevin(gaussian_score, x, 0.1, 0, Stream(0)), x)


def test_chains_keep_no_graph():
    weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
    assert not langevin(lambda x: -weight * x, draw(3, 2), 0.1, 2, Stream(0)).requires_grad
    assert torch.is_grad_enabled()


def test_annealed_steps_are_the_papers():
    """Algorithm 1 with the published numbers: 10 levels from 1 to 0.01, e = 2e-5, T = 100."""
    schedule = LinearGamma(2 * math.log(0.01), 0.0, SCALINGS["variance-exploding"])
    denoiser, times = mixture(schedule), grid.uniform(10)
    sigmas = schedule(times)[1]
    torch.testing.assert_close(sigmas, torch.logspace(0, -2, 10, dtype=torch.float64))
    sampler, levels, z = AnnealedLangevin(), schedule.levels(times), draw(100, 4, 2)
    x = ours = draw(4, 2, seed=1)
    for i in (1, 5, 9):
        ours = sampler.step(denoiser, State(ours), levels[i - 1], levels[i], Known(list(z))).x
        step = 2e-5 * sigmas[i] ** 2 / sigmas[-1] ** 2
        for each in z:
            x = x + step / 2 * denoiser(x, levels[i]).score + step.sqrt() * each
        torch.testing.assert_close(ours, x, rtol=1e-9, atol=1e-9)
    denoised = descend(denoiser, sampler, State(x), levels[-1], CLEAN, Stream(0)).x
    torch.testing.assert_close(denoised, denoiser(x, levels[-1]).x)


def test_annealed_langevin_draws_the_data():
    """Up to the steps' bias, which Tweedie's estimate of the data does not show."""
    schedule = LinearGamma(-6.0, 4.0)
    denoiser, times = gaussian(schedule), grid.uniform(20)
    x_1 = start(denoiser, 4000, Stream(0), dtype=torch.float64)
    end = sample(denoiser, AnnealedLangevin(num_corrections=20, step_size=0.5), x_1, times, Stream(1))
    mean, covariance = denoiser.moments()
    torch.testing.assert_close(end.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(end.T.cov(), covariance, rtol=0.1, atol=0.04)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_annealed_langevin_in_every_scaling_and_batch(scaling):
    sampler, times, ends = AnnealedLangevin(num_corrections=3), grid.uniform(6), []
    for name in ("variance-preserving", scaling):
        denoiser = mixture(LinearGamma(scaling=SCALINGS[name]))
        noise = PerSample([1, 2, 3])
        x_1 = start(denoiser, 3, noise, dtype=torch.float64)
        *path, end = trajectory(denoiser, sampler, x_1, times, noise)
        assert len(path) == 6
        ends.append(end)
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-9)
    noise = PerSample([2])
    alone = sample(denoiser, sampler, start(denoiser, 1, noise, dtype=torch.float64), times, noise)
    torch.testing.assert_close(alone, end[1:2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("variance", ["lower", "upper"])
def test_an_ancestral_step_is_a_langevin_step_and_a_drift(name, scaling, variance):
    """The parts add up to it, for any prediction; the drift is DDIM's step."""
    schedule = make_schedule(name, scaling)
    x_t, eps_hat, z = draw(3, 4, 2)
    network = nn.Module()
    network.forward = lambda x, gamma, cond: eps_hat
    denoiser = NetworkDenoiser(network, schedule, (2,), "eps")
    levels = schedule.levels(double([1.0, 0.99, 0.7, 0.3, 0.299, 0.0]))
    for t, s in pairwise(levels):
        split, score = split_ancestral(t, s, variance), denoiser(x_t, t).score
        drifted = x_t + split.stretch * x_t + split.flow * score
        whole = langevin_step(drifted, score, z, split.step_size) + split.remainder * score
        scale = (s.alpha**2 + s.sigma**2) ** 0.5
        theirs = Ancestral(variance).step(denoiser, State(x_t), t, s, Known([z])).x
        torch.testing.assert_close(whole / scale, theirs / scale, rtol=1e-8, atol=1e-8)
        flow = DDIM(0.0).step(denoiser, State(x_t), t, s, Stream(0)).x
        torch.testing.assert_close(drifted / scale, flow / scale, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("variance", ["lower", "upper"])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_what_is_left_of_an_ancestral_step_vanishes_as_steps_grow(scaling, variance):
    """The Langevin part falls as 1 / T a step and the remainder as its square: relative to it, as 1 / T."""
    schedule, largest = LinearGamma(-8.0, 6.0, SCALINGS[scaling]), []
    for num_steps in (100, 200, 400, 800):
        levels = schedule.levels(grid.uniform(num_steps + 1))
        splits = [split_ancestral(t, s, variance) for t, s in pairwise(levels)]
        largest.append(max(abs(split.remainder) / (split.step_size / 2) for split in splits))
    assert largest[-1] < 0.03
    ratios = [coarse / fine for coarse, fine in pairwise(largest)]
    assert ratios[-1] == pytest.approx(2, abs=0.03), largest


def test_impossible_dynamics_are_refused():
    x = draw(3, 2)
    for step_size, num_steps in ((0.0, 1), (-0.1, 1), (math.nan, 1), (0.1, -1), (double([0.1, 0.0, 0.1]), 1)):
        with pytest.raises(InputError, match="positive"):
            langevin(gaussian_score, x, step_size, num_steps, Stream(0))
        with pytest.raises(InputError, match="positive"):
            metropolis_langevin(gaussian_density, x, step_size, num_steps, Stream(0))
    for arguments in ({"num_corrections": 0}, {"step_size": 0.0}, {"step_size": 4.0}, {"step_size": math.nan}):
        with pytest.raises(InputError, match="is "):
            AnnealedLangevin(**arguments)
    with pytest.raises(InputError, match="choose 'lower' or 'upper'"):
        split_ancestral(LinearGamma().level(1.0), LinearGamma().level(0.5), "analytic")
