"""The bound: closed forms, never above the exact log density, the same in every scaling, the papers' sums of terms."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import (
    COVARIANCE,
    MEAN,
    SCHEDULES,
    Known,
    WithMix,
    double,
    draw,
    gaussian,
    make_schedule,
    mixture,
    sigma_points,
)

from lowerbound import objective
from lowerbound.denoiser import NetworkDenoiser
from lowerbound.denoiser.exact import Empirical, Gaussian
from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.likelihood import Elbo, elbo, end_terms, mean_and_error, prior_kl, step_kl
from lowerbound.likelihood.decoder import DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.reverse import KINDS, VARIANCES
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import Cosine, LinearGamma, RectifiedFlow, betas
from lowerbound.schedule.betas import from_betas
from lowerbound.schedule.learned import LearnedGamma
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.scoring.spread import error_of_mean

DECODER = GaussianDecoder()
MIX = 0.3


def uniform_chain(num_steps):
    return torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)


def gaussian_bound(schedule, chain, x, variance):
    """The expected terms for one x under the exact denoiser of N(MEAN, COVARIANCE), all by matrices in numpy."""
    m, S, x = MEAN.numpy(), COVARIANCE.numpy(), x.numpy()
    alphas, sigmas = (c.numpy() for c in schedule(chain))
    reconstruction = -0.5 * len(x) * (1 + math.log(2 * math.pi * (sigmas[0] / alphas[0]) ** 2))
    total = alphas[-1] ** 2 + sigmas[-1] ** 2
    prior = paper.gaussian_kl(alphas[-1] * x, sigmas[-1] ** 2, 0.0, total).sum()
    steps = []
    for k in range(1, len(chain)):
        (alpha_s, alpha), (sigma_s, sigma) = alphas[k - 1 : k + 1], sigmas[k - 1 : k + 1]
        marginal = alpha**2 * S + sigma**2 * np.eye(2)
        gain = alpha * S @ np.linalg.inv(marginal)
        error = ((np.eye(2) - alpha * gain) @ (x - m)) ** 2 + sigma**2 * (gain**2).sum(1)
        kept = alpha / alpha_s
        added = sigma**2 - kept**2 * sigma_s**2
        posterior_variance, from_x = added * sigma_s**2 / sigma**2, alpha_s * added / sigma**2
        v = {
            "lower": posterior_variance,
            "upper": added * (alpha_s**2 + sigma_s**2) / (alpha**2 + sigma**2),
            "analytic": posterior_variance + from_x**2 * (S - alpha * gain @ S).diagonal(),
        }
        v = v["lower"] ** (1 - MIX) * v["upper"] ** MIX if variance == "learned" else v[variance]
        ratio = posterior_variance / v
        steps.append((0.5 * (ratio - 1 - np.log(ratio) + from_x**2 * error / v)).sum())
    return reconstruction, prior, np.array(steps)


@pytest.mark.parametrize("variance", KINDS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("name", ["linear gamma", "cosine", "EDM", "iDDPM"])
def test_gaussian_data_have_a_closed_form(name, scaling, variance):
    """Every term is quadratic in the noise, so sigma points give its expectation without any error."""
    schedule = make_schedule(name, scaling)
    chain, x, eps = uniform_chain(12), double([0.9, -0.2]), sigma_points(2)
    denoiser = WithMix(gaussian(schedule), MIX)
    ours = elbo(denoiser, DECODER, x.expand_as(eps), chain, noise=Known([eps]), reverse=variance)
    reconstruction, prior, steps = gaussian_bound(schedule, chain, x, variance)
    assert ours.reconstruction.mean().item() == pytest.approx(reconstruction, rel=1e-9)
    assert ours.prior.mean().item() == pytest.approx(prior, rel=1e-6, abs=1e-12)
    np.testing.assert_allclose(ours.steps.mean(0).numpy(), steps, rtol=1e-5, atol=1e-10)
    torch.testing.assert_close(ours.steps.sum(1), ours.diffusion)
    torch.testing.assert_close(ours.nats, ours.reconstruction - ours.prior - ours.diffusion)


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_bound_on_gaussian_data_tightens_to_the_density(variance):
    """E[log p(x) - bound(x)], exact by sigma points in x and noise, per dimension."""
    schedule = LinearGamma(-12.0, 9.0)
    denoiser, points, gaps = gaussian(schedule), sigma_points(2), []
    x = MEAN + points @ torch.linalg.cholesky(COVARIANCE).T
    data, eps = x.repeat_interleave(4, 0), points.repeat(4, 1)
    for num_steps in (25, 100, 400):
        bound = elbo(denoiser, DECODER, data, uniform_chain(num_steps), noise=Known([eps]), reverse=variance)
        gaps.append((denoiser.log_prob(data) - bound.nats).mean().item() / 2)
    assert all(gap > 0 for gap in gaps)
    assert gaps[2] < gaps[1] / 2 < gaps[0] / 4
    assert gaps[2] < {"lower": 0.25, "upper": 0.25, "analytic": 0.005}[variance]


@pytest.mark.parametrize("variance", [*VARIANCES, None])
@pytest.mark.parametrize("make", [LinearGamma, Cosine, RectifiedFlow])
def test_the_bound_is_below_the_exact_density_of_a_mixture(make, variance):
    """Chains for each variance, and continuous time (None), whose gap is that of the ends alone."""
    schedule = make(gamma_min=-11.0, gamma_max=8.0)
    denoiser = mixture(schedule)
    x = denoiser.sample(1000, Stream(0))
    exact = denoiser.log_prob(x)
    # this decoder's expectation is known, and its draws are most of the noise
    reconstruction = -(1 + math.log(2 * math.pi) + schedule.gamma_min)

    def gap(**arguments):
        bound = elbo(denoiser, DECODER, x, noise=Stream(1), **arguments)
        assert bound.reconstruction.mean().item() == pytest.approx(reconstruction, abs=5 / math.sqrt(1000))
        return mean_and_error((exact - reconstruction + bound.prior + bound.diffusion) / 2)

    if variance is None:
        measured = [gap(num_times=150)]
    else:
        gammas = torch.linspace(schedule.gamma_min, schedule.gamma_max, 151, dtype=torch.float64)
        chains = (uniform_chain(20), schedule.inverse(gammas).clamp(0, 1))
        measured = [gap(chain=chain, reverse=variance) for chain in chains]
        assert measured[1][0] < measured[0][0] / 2 + 4 * measured[1][1], "the gap shrinks with the number of steps"
    for mean, error in measured:
        assert mean > -4 * error, (mean, error)
    mean, error = measured[-1]
    assert mean < {"lower": 0.6, "upper": 0.6, "analytic": 0.005, None: 0.005}[variance] + 4 * error, (mean, error)
    assert error < (0.1 if variance is None else 0.02)


def test_continuous_time_is_the_limit_of_chains():
    """Chains of T, 2 T, 4 T steps extrapolated to infinity, against the integral by quadrature."""
    schedule = LinearGamma(-8.0, 6.0)
    denoiser, points, x = gaussian(schedule), sigma_points(2), double([0.9, -0.2])
    one, two, four = (
        elbo(denoiser, DECODER, x.expand(4, 2), uniform_chain(T), noise=Known([points])).nats.mean().item()
        for T in (100, 200, 400)
    )
    assert one < two < four
    midpoint = double(0.5 / 1000)  # of each of a thousand copies' share of each half
    integral = [
        elbo(denoiser, DECODER, x.expand(1000, 2), noise=Known([point], [midpoint]), num_times=2).nats.mean().item()
        for point in points
    ]
    assert np.mean(integral) == pytest.approx((one - 6 * two + 8 * four) / 3, abs=2e-4)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_bound_is_the_same_in_every_scaling(name):
    index = torch.arange(6).reshape(3, 2)
    x = (2 * index.double() + 1) / 6 - 1
    eps = [draw(3, 2, seed=seed) for seed in range(10)]
    for decoder in (DECODER, LevelPosterior(6), DiscretizedGaussian(6, 0.1)):
        for arguments in (*({"chain": uniform_chain(4), "reverse": kind} for kind in VARIANCES), {"num_times": 3}):
            bounds = []
            for scaling in SCALINGS:
                noise = Known(eps, [double(0.37)])
                bounds.append(elbo(mixture(make_schedule(name, scaling)), decoder, x, noise=noise, **arguments))
            for other in bounds[1:]:
                for term in ("reconstruction", "prior", "diffusion"):
                    torch.testing.assert_close(getattr(other, term), getattr(bounds[0], term), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("num_times", [1, 4])
@pytest.mark.parametrize("variance", VARIANCES)
def test_drawn_steps_are_unbiased(num_times, variance):
    """Each part's uniform number runs over its steps, one example for each: the mean is the whole sum, exactly."""
    denoiser, num_steps = mixture(Cosine()), 20
    copies = num_steps // num_times
    x, eps = double([[0.5, -0.3]]).expand(copies, 2), draw(1, 2)
    uniform = ((torch.arange(copies, dtype=torch.float64) + 0.5) / copies)[:, None]
    chain = uniform_chain(num_steps)
    drawn = elbo(denoiser, DECODER, x, chain, noise=Known([eps], [uniform]), num_times=num_times, reverse=variance)
    whole = elbo(denoiser, DECODER, x[:1], chain, noise=Known([eps]), reverse=variance)
    assert drawn.steps is None
    assert drawn.diffusion.mean().item() == pytest.approx(whole.diffusion.item(), rel=1e-9)
    every = elbo(denoiser, DECODER, x[:1], chain, noise=Known([eps]), num_times=num_steps, reverse=variance)
    assert torch.equal(every.diffusion, whole.diffusion)


def test_discrete_data():
    """A lattice with known probabilities: the bound never above the exact log probability, and close at fine chains."""
    num_levels = 4
    axis = (2 * torch.arange(num_levels, dtype=torch.float64) + 1) / num_levels - 1
    lattice = torch.cartesian_prod(axis, axis)
    weights = torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2 + 0.01
    denoiser = Empirical(lattice, LinearGamma(-7.0, 7.0), weights)
    x = lattice[torch.multinomial(weights, 4000, True, generator=torch.Generator().manual_seed(1))]
    exact, gaps = denoiser.log_prob(x), []
    for num_steps in (10, 40, 160):
        bound = elbo(denoiser, LevelPosterior(num_levels), x, uniform_chain(num_steps), noise=Stream(2))
        gaps.append(mean_and_error((exact - bound.nats) / 2))
        assert gaps[-1][0] > -4 * gaps[-1][1]
    assert gaps[2][0] < gaps[1][0] / 2 < gaps[0][0] / 4
    assert gaps[2][0] < 0.08
    continuous = elbo(denoiser, LevelPosterior(num_levels), x, noise=Stream(3), num_times=50)
    mean, error = mean_and_error((exact - continuous.nats) / 2)
    assert abs(mean) < 4 * error + 0.002


def test_a_chain_of_ddpm_is_the_papers_sum_of_terms():
    """T latents, T - 1 KL terms, a decoder on the network's mean, on the same noise."""
    T, num_levels, std = 40, 16, 0.05
    table = betas.linear(T, 1e-3, 0.3)
    chain = paper.Chain(np.linspace(1e-3, 0.3, T))
    schedule = from_betas(table)
    x = (2 * torch.tensor([[0, 3], [15, 8], [7, 7]]).double() + 1) / num_levels - 1
    eps = [draw(3, 2, seed=t) for t in range(1, T + 1)]

    def predict_x_0(x_t, t):
        alpha_bar = chain.alpha_bar[t]
        return paper.gaussian_posterior(
            MEAN.numpy(), COVARIANCE.numpy(), math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar), x_t
        )[0]

    first, middle, last = paper.ddpm_bound_terms(
        chain, x.numpy(), [e.numpy() for e in eps], predict_x_0, num_levels, std
    )
    ours = elbo(gaussian(schedule), DiscretizedGaussian(num_levels, std), x, schedule.times, noise=Known(eps))
    assert ours.steps.shape == (3, T - 1)
    np.testing.assert_allclose(-ours.reconstruction.numpy(), first, rtol=1e-7)
    np.testing.assert_allclose(ours.steps.numpy(), middle, rtol=1e-8)
    np.testing.assert_allclose(ours.prior.numpy(), last, rtol=1e-7)
    np.testing.assert_allclose(-ours.nats.numpy(), first + middle.sum(1) + last, rtol=1e-8)


def test_a_chain_of_vdm_is_the_papers_sum_of_terms():
    """T + 1 levels, T terms in eps, and the continuous limit's summand at given times."""
    schedule, T = LinearGamma(-6.0, 5.0), 8
    denoiser, x = mixture(schedule), draw(3, 2)
    eps = [draw(3, 2, seed=k) for k in range(T + 1)]
    ours = elbo(denoiser, DECODER, x, uniform_chain(T), noise=Known(eps[1:]))
    gammas = np.linspace(-6.0, 5.0, T + 1)
    for k in range(1, T + 1):
        latent = torch.from_numpy(paper.vdm_latent(x.numpy(), gammas[k], eps[k].numpy()))
        eps_hat = denoiser(latent, k / T).eps.numpy()
        expected = paper.vdm_step_loss(eps[k].numpy(), eps_hat, gammas[k], gammas[k - 1])
        np.testing.assert_allclose(ours.steps[:, k - 1].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("variance", VARIANCES)
def test_step_kl_is_the_gaussian_kl(variance):
    schedule = make_schedule("DDPM")
    denoiser, x = mixture(schedule), draw(4, 2)
    chain = paper.Chain(paper.ddpm_betas())
    for t in (2, 10, 500, 1000):
        s_level, t_level = schedule.levels(schedule.times[t - 2 : t])
        x_t = t_level.alpha * x + t_level.sigma * draw(4, 2, seed=1)
        prediction = denoiser(x_t, t_level)
        means = [chain.posterior_mean(value.numpy(), x_t.numpy(), t) for value in (x, prediction.x)]
        from_x = chain.posterior_mean(1.0, 0.0, t)
        v = {
            "lower": chain.beta_tilde(t),
            "upper": chain.beta[t],
            "analytic": chain.beta_tilde(t) + from_x**2 * prediction.x_var.numpy(),
        }[variance]
        expected = paper.gaussian_kl(means[0], chain.beta_tilde(t), means[1], v)
        ours = step_kl(prediction, x, s_level, variance)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_prior_kl_is_the_gaussian_kl(name):
    schedule, x = make_schedule(name), draw(3, 2)
    for t in (0.5, 1.0):
        level = schedule.level(t)
        expected = paper.gaussian_kl(level.alpha * x.numpy(), level.sigma**2, 0.0, 1.0)
        np.testing.assert_allclose(prior_kl(x, level).numpy(), expected, rtol=1e-5, atol=1e-14)
        single = prior_kl(x.float(), level).double()
        torch.testing.assert_close(single, prior_kl(x, level), rtol=1e-3, atol=1e-7)


def test_the_bound_tracks_the_density_of_each_example():
    """Continuous time gives one number per example, not only a right mean."""
    denoiser = mixture(LinearGamma(-11.0, 8.0))
    x = double([[-1.0, 0.0], [0.3, -1.0], [0.0, 0.7], [3.0, 3.0]])
    copies = x.repeat_interleave(400, 0)
    bound = elbo(denoiser, DECODER, copies, noise=Stream(0), num_times=100).nats.reshape(4, 400)
    for values, exact in zip(bound, denoiser.log_prob(x).tolist(), strict=True):
        mean, error = mean_and_error(values)
        # the bound holds for each example; its gap is a mismatch that vanishes with the ends, where data are smooth
        assert mean < exact + 4 * error
        assert mean > exact - 0.05 - 4 * error


def test_only_observed_entries_count():
    schedule = LinearGamma(-6.0, 5.0)
    x = (2 * torch.tensor([[0, 3], [2, 1]]).double() + 1) / 4 - 1
    eps = [draw(2, 2, seed=seed) for seed in range(8)]
    observed = torch.tensor([[True, False]]).expand(2, 2)
    whole = gaussian(schedule)
    part = Gaussian(MEAN[:1], COVARIANCE[:1, :1], schedule)
    for decoder in (DECODER, LevelPosterior(4), DiscretizedGaussian(4, 0.3)):
        for arguments in ({"chain": uniform_chain(6)}, {"num_times": 3}, {"chain": uniform_chain(6), "num_times": 2}):
            expected = elbo(part, decoder, x[:, :1], noise=Known([e[:, :1] for e in eps], [double(0.4)]), **arguments)
            for missing in (0.0, 9.0, math.nan):
                given = torch.where(observed, x, missing)
                ours = elbo(
                    whole.given(observed=observed), decoder, given, noise=Known(eps, [double(0.4)]), **arguments
                )
                torch.testing.assert_close(ours.nats, expected.nats, rtol=1e-9, atol=1e-9)
                assert ours.num_dims.tolist() == [1, 1]
                torch.testing.assert_close(ours.bits_per_dim, expected.bits_per_dim, rtol=1e-9, atol=1e-9)


def test_a_trend_over_the_parts_of_time_leaves_no_error_that_the_draws_do_not_show():
    """Of normal data the mean loss at a time is known, and what is left of an error is where in its parts it was taken."""
    denoiser = Gaussian(torch.zeros(8).double(), torch.eye(8).double(), LinearGamma(-9.0, 9.0))
    x = denoiser.sample(1, Stream(0)).repeat(200, 1)
    place = torch.rand(200, generator=torch.Generator().manual_seed(0)).double()
    draws = elbo(denoiser, DECODER, x, noise=Stream(1), num_times=64, place=place).draws
    assert draws is not None
    stated, _ = error_of_mean(draws.numpy())
    assert draws.mean(1).std() < 1.2 * stated.mean()


def test_draws_are_estimates_of_the_diffusion_term_in_the_order_of_time():
    """At given places: in continuous time the loss at those times, by its entries, of a chain the terms of those steps."""
    denoiser, x, eps, place = mixture(Cosine()), draw(3, 2), draw(3, 2, seed=1), double([0.0, 0.4, 0.99])
    known = {"noise": Known([eps]), "place": place}
    bound = elbo(denoiser, DECODER, x, num_times=4, **known)
    expected = [
        objective.loss_of_entries(denoiser, x, 1.0, t=(part + (place + (2**0.5 - 1) * part) % 1) / 4, eps=eps).sum(1)
        for part in range(4)
    ]
    torch.testing.assert_close(bound.draws, torch.stack(expected, 1))
    torch.testing.assert_close(bound.diffusion, bound.draws.mean(1))
    assert bound.steps is None

    chain = uniform_chain(10)
    whole = elbo(denoiser, DECODER, x, chain, noise=Known([eps]))
    torch.testing.assert_close(whole.draws, 10 * whole.steps)
    torch.testing.assert_close(whole.diffusion, whole.draws.mean(1))
    some = elbo(denoiser, DECODER, x, chain, num_times=2, **known)
    index = torch.tensor([[0, 7], [2, 9], [4, 7]])
    torch.testing.assert_close(some.draws, 10 * whole.steps.gather(1, index), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(some.diffusion, some.draws.mean(1))


def test_a_chain_of_one_level_is_a_vaes_bound():
    denoiser, x, eps = mixture(LinearGamma(-4.0, 4.0)), draw(3, 2), draw(3, 2, seed=1)
    bound = elbo(denoiser, DECODER, x, double([0.5]), noise=Known([eps]))
    assert torch.equal(bound.diffusion, torch.zeros(3, dtype=torch.float64))
    assert bound.steps.shape == bound.draws.shape == (3, 0)
    torch.testing.assert_close(bound.reconstruction, torch.full((3,), -1 - math.log(2 * math.pi), dtype=torch.float64))
    torch.testing.assert_close(bound.prior, 0.25 * (x**2 - 1 + 2 * math.log(2)).sum(1))


@pytest.mark.parametrize("decoder", [DECODER, LevelPosterior(4), DiscretizedGaussian(4, 0.3)])
def test_end_terms_are_those_of_the_bound(decoder):
    denoiser = mixture(LinearGamma(-4.0, 4.0)).given(observed=torch.tensor([[True, False], [True, True]]))
    x = (2 * torch.tensor([[0, 3], [2, 1]]).double() + 1) / 4 - 1
    eps = draw(2, 2)
    for chain, ends in ((None, ()), (double([0.2, 0.5, 0.9]), (0.2, 0.9))):
        noise = Known([eps], [double(0.3)])
        bound = elbo(denoiser, decoder, x, chain, noise=noise)
        reconstruction, prior = end_terms(denoiser, decoder, x, *ends, noise=noise)
        assert torch.equal(reconstruction, bound.reconstruction)
        assert torch.equal(prior, bound.prior)


@pytest.mark.parametrize("decoder", [DECODER, LevelPosterior(4), DiscretizedGaussian(4, 0.3)])
def test_gradients_reach_learned_ends_through_both_end_terms(decoder):
    """The same values as from numbers; their slopes by differences of schedules with other ends."""
    x = (2 * torch.tensor([[0, 3], [2, 1]]).double() + 1) / 4 - 1
    eps, low, high, step = draw(2, 2), -2.0, 3.0, 1e-4

    def terms(low, high):
        return torch.stack(end_terms(gaussian(LinearGamma(low, high)), decoder, x, noise=Known([eps])))

    schedule = LearnedGamma(low, high).double()
    denoiser = gaussian(schedule)
    ours = torch.stack(end_terms(denoiser, decoder, x, noise=Known([eps])))
    torch.testing.assert_close(ours, terms(low, high), rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        assert not torch.stack(end_terms(denoiser, decoder, x, noise=Known([eps]))).requires_grad
    by_low = (terms(low + step, high) - terms(low - step, high)).sum(1) / (2 * step)
    by_high = (terms(low, high + step) - terms(low, high - step)).sum(1) / (2 * step)
    for term in range(2):
        start, log_range = torch.autograd.grad(
            ours[term].sum(), (schedule.start, schedule.log_range), retain_graph=True, materialize_grads=True
        )
        assert start.item() == pytest.approx((by_low + by_high)[term].item(), rel=1e-5, abs=1e-6)
        assert log_range.item() == pytest.approx((high - low) * by_high[term].item(), rel=1e-5, abs=1e-6)


def test_bits():
    bound = Elbo(double([-3.0]), double([0.5]), double([1.5]), double([4.0]))
    assert bound.nats.item() == -5
    assert bound.bits_per_dim.item() == pytest.approx(5 / 4 / math.log(2))
    assert bound.to_bits(bound.prior).item() == pytest.approx(0.5 / 4 / math.log(2))
    x = level_centres(torch.arange(120).reshape(2, 3, 4, 5), 256).double()
    denoiser = Empirical(x, LinearGamma())
    assert elbo(denoiser, LevelPosterior(256), x, noise=Stream(0)).num_dims.tolist() == [60, 60]


def test_mean_and_error():
    values = draw(1000)
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(np.mean(values.numpy()))
    assert error == pytest.approx(np.std(values.numpy(), ddof=1) / math.sqrt(1000))
    mean, error = mean_and_error(double([2.0]))
    assert mean == 2
    assert math.isnan(error)


def test_a_seed_fixes_the_bound():
    denoiser, x = mixture(LinearGamma()), draw(4, 2)
    for make in (lambda: Stream(0), lambda: PerSample(range(4))):
        for arguments in ({}, {"chain": uniform_chain(5)}, {"chain": uniform_chain(5), "num_times": 2}):
            first, second = (elbo(denoiser, DECODER, x, noise=make(), **arguments).nats for _ in range(2))
            assert torch.equal(first, second)
    chain = {"chain": uniform_chain(5), "num_times": 2}
    batch = elbo(denoiser, DECODER, x, noise=PerSample(range(4)), **chain).nats
    alone = elbo(denoiser, DECODER, x[2:3], noise=PerSample([2]), **chain).nats
    torch.testing.assert_close(alone, batch[2:3], rtol=1e-12, atol=1e-12)


def test_a_denoiser_without_likelihood_is_refused_with_its_reason():
    denoiser = mixture(LinearGamma())
    denoiser.no_likelihood = "guidance changes the model at every step"
    with pytest.raises(InputError, match="guidance changes the model"):
        elbo(denoiser, DECODER, draw(2, 2), noise=Stream(0))


@pytest.mark.parametrize(
    "arguments",
    [
        {"chain": torch.tensor([])},
        {"chain": torch.tensor([math.nan])},
        {"chain": torch.tensor([0.5, 0.5])},
        {"chain": torch.tensor([1.0, 0.0])},
        {"chain": torch.tensor([-0.1, 1.0])},
        {"chain": torch.tensor([0.0, 1.1])},
        {"chain": torch.tensor([0.0, math.nan, 1.0])},
        {"chain": uniform_chain(3), "reverse": "learned"},
        {"reverse": "upper"},
        {"num_times": 0},
    ],
)
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(InputError):
        elbo(mixture(LinearGamma()), DECODER, draw(2, 2), noise=Stream(0), **arguments)


def test_analytic_variance_needs_a_denoiser_that_knows_it():
    denoiser = NetworkDenoiser(torch.nn.Module(), LinearGamma(), (2,))
    denoiser.network.forward = lambda x, gamma, cond: x
    with pytest.raises(InputError, match="does not give"):
        elbo(denoiser, DECODER, draw(2, 2), uniform_chain(3), noise=Stream(0), reverse="analytic")
