"""Samplers: the papers' steps, closed-form recursions and flows, and what a sample may not depend on."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import paper
import pytest
import torch
from every_sampler import WITHOUT_MIX
from oracles import COVARIANCE, MEAN, SCHEDULES, Known, affine_map, double, draw, gaussian, make_schedule, mixture

from lowerbound import grid
from lowerbound.denoiser import NetworkDenoiser
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.inverse import Mask, Replacement, posterior_sample
from lowerbound.langevin import AnnealedLangevin, PredictorCorrector
from lowerbound.reverse import VARIANCES
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import (
    DDIM,
    Ancestral,
    Euler,
    Heun,
    ProbabilityFlow,
    Sampler,
    UniPC,
    descend,
    sample,
    start,
    trajectory,
)
from lowerbound.samplers.base import State
from lowerbound.schedule import CLEAN, Cosine, LinearGamma, betas
from lowerbound.schedule.betas import from_betas
from lowerbound.schedule.scaling import SCALINGS

AFFINE = [
    sampler
    for sampler in WITHOUT_MIX
    if sampler.order and not isinstance(sampler, ProbabilityFlow) and not getattr(sampler, "churn", 0)
]
"""On Gaussian data an affine function of the start and the noise, with an error that a finer grid takes away."""
SAMPLERS = [
    # what is asked of Langevin steps here, a few of them show
    *(replace(each, num_corrections=5) if isinstance(each, AnnealedLangevin) else each for each in WITHOUT_MIX),
    ProbabilityFlow(tolerance=1e-4),
    Euler(churn=0.3, churn_noise=1.01),
    Heun(churn=0.1, churn_from=0.1, churn_to=10.0),
    PredictorCorrector(UniPC(), num_corrections=2, snr=0.1),
]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_ddim_with_eta_one_is_ancestral_sampling(name, scaling):
    denoiser = mixture(make_schedule(name, scaling))
    x_1, times = start(denoiser, 5, Stream(0), dtype=torch.float64), grid.uniform(9)
    ddim, ancestral = (sample(denoiser, sampler, x_1, times, Stream(1)) for sampler in (DDIM(1.0), Ancestral("lower")))
    torch.testing.assert_close(ddim, ancestral, rtol=1e-8, atol=1e-8)


def test_every_ddpm_step_is_the_papers():
    """Algorithm 2 on the linear table, both variances, from a noise prediction; the last step adds no noise."""
    chain, schedule = paper.Chain(paper.ddpm_betas()), from_betas(betas.linear())
    levels = [CLEAN, *schedule.levels(schedule.times)]
    x_t, eps_hat, z = draw(3, 4, 2)

    network = torch.nn.Module()
    network.forward = lambda x, gamma, cond: eps_hat
    denoiser = NetworkDenoiser(network, schedule, (2,), "eps")
    for t in range(1, 1001):
        for variance, theirs in (("lower", chain.beta_tilde(t)), ("upper", chain.beta[t])):
            ours = descend(denoiser, Ancestral(variance), State(x_t), levels[t], levels[t - 1], Known([z])).x
            expected = chain.step(x_t.numpy(), eps_hat.numpy(), t, z.numpy(), theirs)
            # at the table's end x_hat is 157 times eps_hat, and the mean their difference
            np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_every_ddim_step_is_the_papers(eta):
    """Any stride, steps to the data included."""
    chain, schedule = paper.Chain(paper.ddpm_betas()), from_betas(betas.linear())
    levels = [CLEAN, *schedule.levels(schedule.times)]
    x_t, eps_hat, z = draw(3, 4, 2)
    network = torch.nn.Module()
    network.forward = lambda x, gamma, cond: eps_hat
    denoiser = NetworkDenoiser(network, schedule, (2,), "eps")
    for t, s in ((1000, 999), (1000, 500), (981, 961), (500, 1), (21, 1), (2, 1), (1, 0), (700, 0)):
        ours = descend(denoiser, DDIM(eta), State(x_t), levels[t], levels[s], Known([z])).x
        expected = chain.ddim_step(x_t.numpy(), eps_hat.numpy(), t, s, eta, z.numpy())
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_ancestral_sampling_of_gaussian_data_follows_the_closed_form(scaling, variance, denoise):
    denoiser = gaussian(Cosine(scaling=SCALINGS[scaling]))
    times = grid.uniform(6)
    offset, from_start, from_noise = affine_map(denoiser, Ancestral(variance), times, denoise=denoise)
    alphas, sigmas = (c.tolist() for c in denoiser.schedule(times))
    initial = alphas[0] ** 2 + sigmas[0] ** 2
    mean = offset
    covariance = initial * from_start @ from_start.mT + (from_noise @ from_noise.mT).sum(0)

    m, S = MEAN.numpy(), COVARIANCE.numpy()
    expected_mean, expected = np.zeros(2), initial * np.eye(2)
    pairs = list(zip(alphas, sigmas, strict=True)) + [(1.0, 0.0)] * denoise
    for (alpha, sigma), (alpha_s, sigma_s) in zip(pairs[:-1], pairs[1:], strict=True):
        kept = alpha / alpha_s
        added = sigma**2 - kept**2 * sigma_s**2
        gain = alpha * S @ np.linalg.inv(alpha**2 * S + sigma**2 * np.eye(2))
        from_x, from_x_t = alpha_s * added / sigma**2, kept * sigma_s**2 / sigma**2
        step = from_x_t * np.eye(2) + from_x * gain
        v = {
            "lower": added * sigma_s**2 / sigma**2 * np.ones(2),
            "upper": added * (alpha_s**2 + sigma_s**2) / (alpha**2 + sigma**2) * np.ones(2),
            "analytic": added * sigma_s**2 / sigma**2 + from_x**2 * (S - alpha * gain @ S).diagonal(),
        }[variance] * (sigma_s > 0)
        expected_mean = step @ expected_mean + from_x * (m - alpha * gain @ m)
        expected = step @ expected @ step.T + np.diag(v)
    scale = pairs[-1][0]
    np.testing.assert_allclose(mean.numpy() / scale, expected_mean / scale, rtol=0, atol=1e-9)
    np.testing.assert_allclose(covariance.numpy() / scale**2, expected / scale**2, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sampler", AFFINE)
def test_many_steps_draw_gaussian_data(sampler):
    denoiser = gaussian(LinearGamma(-10.0, 10.0))
    errors = []
    for num_times in (25, 100):
        offset, from_start, from_noise = affine_map(denoiser, sampler, grid.uniform(num_times))
        covariance = from_start @ from_start.mT + (from_noise @ from_noise.mT).sum(0)
        errors.append(max((offset - MEAN).abs().max().item(), (covariance - COVARIANCE).abs().max().item()))
    assert errors[1] < 0.06
    assert errors[1] < errors[0] / 2 or errors[1] < 0.005, "what the ends of the schedule leave"


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("num_times", [1, 2, 3, 7])
def test_any_number_of_steps(sampler, num_times):
    denoiser = mixture(LinearGamma())
    x_1, times = start(denoiser, 3, Stream(0), dtype=torch.float64), grid.uniform(num_times)
    first, *path, last = trajectory(denoiser, sampler, x_1, times, Stream(1))
    assert len([first, *path, last]) == num_times + 1
    assert torch.equal(first, x_1)
    assert torch.equal(last, sample(denoiser, sampler, x_1, times, Stream(1)))
    before = path[-1] if path else first
    torch.testing.assert_close(last, denoiser(before, times[-1].item()).x, rtol=1e-12, atol=1e-12)
    if num_times > 1:
        assert len(list(trajectory(denoiser, sampler, x_1, times, Stream(1), denoise=False))) == num_times


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_trajectory_leaves_its_start_and_its_past_alone(sampler):
    denoiser = mixture(LinearGamma())
    x_1 = start(denoiser, 3, Stream(0), dtype=torch.float64)
    copies, kept, given = [], [], x_1.clone()
    for x in trajectory(denoiser, sampler, x_1, grid.uniform(5), Stream(1)):
        kept.append(x)
        copies.append(x.clone())
        assert torch.is_grad_enabled()
    assert torch.equal(x_1, given)
    assert all(map(torch.equal, kept, copies))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_does_not_depend_on_its_batch(sampler):
    denoiser, times, seeds = mixture(LinearGamma()), grid.uniform(6), [3, 1, 4, 1, 5]

    def draw_from(some):
        noise = PerSample(some)
        return sample(denoiser, sampler, start(denoiser, len(some), noise, dtype=torch.float64), times, noise)

    together = draw_from(seeds)
    torch.testing.assert_close(draw_from([4]), together[2:3], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(draw_from(seeds[::-1]), together.flip(0), rtol=1e-12, atol=1e-12)
    assert torch.equal(together[1], together[3]), "the same seed"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_fixes_a_sample(sampler):
    denoiser, times = mixture(LinearGamma()), grid.uniform(6)

    def draw_with(seed):
        noise = Stream(seed)
        return sample(denoiser, sampler, start(denoiser, 4, noise), times, noise)

    assert torch.equal(draw_with(0), draw_with(0))
    assert not torch.equal(draw_with(0), draw_with(1))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("denoise", [True, False])
def test_every_scaling_gives_the_same_sample(sampler, denoise):
    samples = []
    for scaling in SCALINGS.values():
        denoiser = mixture(Cosine(scaling=scaling))
        x_1 = start(denoiser, 5, Stream(0), dtype=torch.float64)
        end = sample(denoiser, sampler, x_1, grid.uniform(6), Stream(1), denoise=denoise)
        samples.append(end if denoise else end / denoiser.schedule.level(0.0).alpha)
    for other in samples[1:]:
        torch.testing.assert_close(other, samples[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_sampling_starts_at_the_prior(scaling):
    denoiser = mixture(LinearGamma(-5.0, 1.0, SCALINGS[scaling]))
    alpha, sigma = denoiser.schedule(double(1.0))
    x_1 = start(denoiser, 20_000, Stream(0), dtype=torch.float64)
    assert x_1.shape == (20_000, 2)
    assert x_1.dtype == torch.float64
    assert start(denoiser, 1, Stream(0)).dtype == torch.float32
    assert x_1.var().item() == pytest.approx((alpha**2 + sigma**2).item(), rel=0.03)


def test_conditions_and_masks_reach_the_denoiser():
    given = []

    class Spy(Gaussian):
        def predict(self, x_t, level, cond, observed):
            given.append((cond, observed))
            return super().predict(x_t, level, cond, observed)

    denoiser = Spy(MEAN, COVARIANCE, LinearGamma())
    cond, observed = torch.tensor([1, 2]), torch.ones(2, 2, dtype=torch.bool)
    sample(denoiser.given(cond, observed), DDIM(), draw(2, 2), grid.uniform(3), Stream(0))
    assert len(given) == 3
    assert all(pair[0] is cond and pair[1] is observed for pair in given)


@pytest.mark.parametrize(
    ("times", "denoise"),
    [
        ([], True),
        ([], False),
        ([1.0], False),
        ([0.0, 1.0], True),
        ([1.0, 0.5, 0.5], True),
        ([1.1, 0.5], True),
        ([0.5, -0.1], True),
        ([1.0, math.nan], True),
    ],
)
def test_impossible_grids_are_refused(times, denoise):
    denoiser, x_1 = mixture(LinearGamma()), draw(2, 2)
    with pytest.raises(InputError, match="at least one step"):
        sample(denoiser, DDIM(), x_1, double(times), Stream(0), denoise=denoise)


def test_impossible_samplers_are_refused():
    for make in (lambda: DDIM(eta=-0.1), lambda: DDIM(eta=1.1), lambda: DDIM(math.nan), lambda: Ancestral("beta")):
        with pytest.raises(InputError):
            make()
    network = torch.nn.Module()
    network.forward = lambda x, gamma, cond: x
    denoiser = NetworkDenoiser(network, LinearGamma(), (2,))
    with pytest.raises(InputError, match="does not give"):
        sample(denoiser, Ancestral("analytic"), draw(2, 2), grid.uniform(3), Stream(0))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_no_sampler_takes_the_last_step(sampler):
    """It is the driver's: of a trajectory, and of inverse problems that step for themselves."""
    reached = []

    class Spy(Sampler):
        order = sampler.order

        def init(self, x_t):
            return sampler.init(x_t)

        def step(self, denoiser, state, t, s, noise):
            reached.append(s)
            return sampler.step(denoiser, state, t, s, noise)

    denoiser, times, mask = gaussian(LinearGamma()), grid.uniform(3), Mask(torch.tensor([True, False]))
    sample(denoiser, Spy(), draw(2, 2), times, Stream(0))
    posterior_sample(Replacement(1, sampler=Spy()), denoiser, mask, draw(2, 2), 0.0, times, Stream(0))
    assert reached == 2 * denoiser.schedule.levels(times)[1:]


def test_samplers_are_frozen():
    for sampler in SAMPLERS:
        with pytest.raises(dataclasses.FrozenInstanceError):
            sampler.another = 0.5
        assert sampler == replace(sampler)
        assert sampler.order >= 0
        assert sampler.calls_per_step >= 1
