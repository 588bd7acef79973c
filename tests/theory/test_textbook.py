"""The textbook's estimators of J: with all constants one bound, in its own settings the losses that it states."""

from functools import partial

import numpy as np
import paper
import pytest
import torch
from oracles import Known, double, draw, gaussian, mixture, sigma_points
from torch import nn

from lowerbound.denoiser import NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.likelihood import elbo
from lowerbound.likelihood.decoder import GaussianDecoder
from lowerbound.reverse import VARIANCES, posterior
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import CLEAN, betas
from lowerbound.schedule.betas import from_betas
from lowerbound.theory.derivations import one_sample, t_sample, two_sample
from lowerbound.theory.textbook import textbook_one_sample, textbook_t_sample, textbook_two_sample

T = 6
FIRST, LAST = 0.02, 0.5
SCHEDULE = from_betas(betas.linear(T, FIRST, LAST))
CHAIN = paper.Chain(np.linspace(FIRST, LAST, T))
DECODER = GaussianDecoder()
TEXTBOOK = (textbook_t_sample, textbook_two_sample, textbook_one_sample)


def places(num_terms):
    return (torch.arange(num_terms, dtype=torch.float64) + 0.5) / num_terms


def predict(denoiser, x_t, t):
    """x_hat in the paper's integer time."""
    return denoiser(torch.from_numpy(x_t), (t - 1) / (T - 1)).x.numpy()


# ------------------------------------------------------------------------------------------------ as bounds


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_three_agree_if_the_constants_are_kept(variance):
    """In expectation, exactly: sigma points over the trajectory, the pair and the one latent, at every step."""
    denoiser, x, num_steps = gaussian(SCHEDULE), double([[0.9, -0.2]]), T - 1

    def expectation(estimator, num_latents, num_places):
        points = sigma_points(2 * num_latents)
        draws = list(points.repeat(num_places, 1).split(2, 1))
        if num_places > 1:
            place = {"place": places(num_places).repeat_interleave(len(points))}
            draws = [draws[0], *draws]  # the first latent, for the reconstruction, comes before
        else:
            place = {}
        noise = Known(draws)
        return estimator(
            denoiser, DECODER, x.expand_as(draws[0]), SCHEDULE.times, noise=noise, reverse=variance, **place
        ).diffusion.mean()

    path = expectation(t_sample, T, 1)
    torch.testing.assert_close(expectation(two_sample, 3, num_steps), path, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(expectation(one_sample, 3, num_steps), path, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_mean_and_the_draw_differ_by_the_posteriors_variance(variance):
    """E log p(x_s|x_t) over x_s ~ q(x_s|x_t,x) is log p(mu_q|x_t) - D sigma_q^2 / (2 v), in the paper's letters."""
    denoiser, x, eps = mixture(SCHEDULE), double([[0.9, -0.2]]), draw(1, 2)
    points = sigma_points(2)
    for t in range(2, T + 1):
        x_t = CHAIN.q_sample(x.numpy(), t, eps.numpy())
        prediction = denoiser(torch.from_numpy(x_t), (t - 1) / (T - 1))
        mean, model_mean = (CHAIN.posterior_mean(value.numpy(), x_t, t) for value in (x, prediction.x))
        from_x = CHAIN.posterior_mean(1.0, 0.0, t)
        v = {
            "lower": CHAIN.beta_tilde(t),
            "upper": CHAIN.beta[t],
            "analytic": CHAIN.beta_tilde(t) + from_x**2 * prediction.x_var.numpy(),
        }[variance]
        draws = mean + np.sqrt(CHAIN.beta_tilde(t)) * points.numpy()
        averaged = paper.log_normal(draws, model_mean, v).sum(1).mean()
        closed = (paper.log_normal(mean, model_mean, v) - CHAIN.beta_tilde(t) / (2 * v)).sum()
        assert averaged == pytest.approx(closed, rel=1e-12)
        entropy = 0.5 * np.log(2 * np.pi * np.e * CHAIN.beta_tilde(t))
        # of the library, the step at this place: the latent's noise is the one of a walk that ends in it
        place = places(T - 1)[t - 2 : t - 1]
        kept = np.sqrt(CHAIN.alpha[t - 1 :])
        below = [np.sqrt(1 - CHAIN.alpha_bar[t - 2]), np.sqrt(CHAIN.beta[t - 1]), np.sqrt(CHAIN.beta[t])]
        below[0] *= kept[0] * kept[1]
        below[1] *= kept[1]
        share = torch.tensor(below) / np.sqrt(1 - CHAIN.alpha_bar[t])
        noise = Known([eps, *(weight * eps for weight in share)])
        ours = one_sample(denoiser, DECODER, x, SCHEDULE.times, noise=noise, place=place, reverse=variance)
        assert ours.diffusion.item() == pytest.approx((T - 1) * (-closed - 2 * entropy), rel=1e-8)


# ------------------------------------------------------------------------------------------------ as taught


def test_the_t_sample_loss_is_the_texts_sum():
    """Half the squared errors of the means along a trajectory, down to the data, in the paper's letters."""
    denoiser, x, eps = mixture(SCHEDULE), draw(3, 2), [draw(3, 2, seed=t) for t in range(1, T + 1)]
    before, expected = x.numpy(), 0.0
    for t in range(1, T + 1):
        x_t = np.sqrt(CHAIN.alpha[t]) * before + np.sqrt(CHAIN.beta[t]) * eps[t - 1].numpy()
        mean = CHAIN.posterior_mean(predict(denoiser, x_t, t), x_t, t)
        expected = expected + 0.5 * ((before - mean) ** 2).sum(1)
        before = x_t
    ours = textbook_t_sample(denoiser, x, SCHEDULE.times, noise=Known(eps))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9)


def test_the_two_sample_loss_has_the_t_sample_losses_expectation():
    denoiser, x = gaussian(SCHEDULE), double([[0.9, -0.2]])
    path, pair = sigma_points(2 * T).split(2, 1), sigma_points(4)
    trajectory = textbook_t_sample(denoiser, x.expand_as(path[0]), SCHEDULE.times, noise=Known(path)).mean()
    draws, place = pair.repeat(T, 1).split(2, 1), places(T).repeat_interleave(len(pair))
    steps = textbook_two_sample(denoiser, x.expand_as(draws[0]), SCHEDULE.times, noise=Known(draws), place=place)
    torch.testing.assert_close(steps.mean(), trajectory, rtol=1e-9, atol=1e-9)
    first = steps.reshape(T, -1)[0].mean()
    alpha_bar = CHAIN.alpha_bar[1]
    errors = [
        ((x.numpy() - predict(denoiser, CHAIN.q_sample(x.numpy(), 1, eps[None].numpy()), 1)) ** 2).sum()
        for eps in sigma_points(2)
    ]
    assert alpha_bar == pytest.approx(1 - FIRST)
    assert first.item() == pytest.approx(T / 2 * np.mean(errors), rel=1e-9), "below the first level is the data itself"


def test_the_one_sample_loss_is_the_bounds_sum_without_its_factor():
    """|mu_q - mu_hat|^2 / sigma_q^2 at each t from 2 to T: over t, 2 / (T - 1) times the bound's diffusion term."""
    denoiser, x, points = gaussian(SCHEDULE), double([[0.9, -0.2]]), sigma_points(4)
    draws, place = points.repeat(T - 1, 1).split(2, 1), places(T - 1).repeat_interleave(len(points))
    loss = textbook_one_sample(denoiser, x.expand_as(draws[0]), SCHEDULE.times, noise=Known(draws), place=place)
    plane = sigma_points(2)
    bound = elbo(denoiser, DECODER, x.expand_as(plane), SCHEDULE.times, noise=Known([plane]))
    assert loss.mean().item() == pytest.approx(2 / (T - 1) * bound.diffusion.mean().item(), rel=1e-9)
    for t, value in zip(range(2, T + 1), loss.reshape(T - 1, -1).mean(1).tolist(), strict=True):
        expected = []
        for eps in plane[:, None]:
            x_t = CHAIN.q_sample(x.numpy(), t, eps.numpy())
            means = [CHAIN.posterior_mean(guess, x_t, t) for guess in (x.numpy(), predict(denoiser, x_t, t))]
            expected.append(((means[0] - means[1]) ** 2).sum() / CHAIN.beta_tilde(t))
        assert value == pytest.approx(np.mean(expected), rel=1e-9)


def test_the_settings_are_of_different_models():
    """Summed over t, the three losses' weights on |x - x_hat|^2 are those of other reverse variances."""
    levels = [CLEAN, *SCHEDULE.levels(SCHEDULE.times)]
    unit, own = [], []
    for t in range(2, T + 1):
        step = posterior(levels[t], levels[t - 1])
        unit.append(step.from_x**2 / 2)
        own.append(step.from_x**2 / (2 * step.variance))
    assert posterior(levels[1], CLEAN).variance == 0, "why the last starts at t = 2"
    ratio = np.array(own) / np.array(unit)
    assert ratio.max() > 5 * ratio.min()


class Oracle(nn.Module):
    """A network that outputs one denoiser's answer in the units of a target."""

    def __init__(self, denoiser, target):
        super().__init__()
        self.denoiser, self.target = denoiser, target

    def forward(self, x, gamma, cond):
        schedule = self.denoiser.schedule
        level = schedule.level(schedule.inverse(gamma))
        x_t = x * (level.alpha * torch.sqrt(1 + gamma.exp()))[:, None]
        prediction = self.denoiser(x_t, level)
        if self.target != "mu":
            return getattr(prediction, self.target)
        t = (level.t * (T - 1)).round().long() + 1
        columns = ((CHAIN.posterior_mean(1.0, 0.0, k), CHAIN.posterior_mean(0.0, 1.0, k)) for k in t.tolist())
        from_x, from_x_t = double(list(columns)).T[..., None]
        return from_x * prediction.x + from_x_t * x_t


@pytest.mark.parametrize("estimator", [*TEXTBOOK, t_sample, two_sample, one_sample])
def test_the_networks_target_makes_no_difference(estimator):
    data, x, losses = mixture(SCHEDULE), draw(5, 2), []
    estimate = estimator if estimator in TEXTBOOK else partial(estimator, decoder=DECODER)
    for target in ("mu", "x", "eps"):
        num_steps = T - 1 if target == "mu" else None
        denoiser = NetworkDenoiser(Oracle(data, target), SCHEDULE, (2,), target, num_steps=num_steps)
        losses.append(estimate(denoiser=denoiser, x=x, chain=SCHEDULE.times, noise=Stream(0)))
    losses.append(estimate(denoiser=data, x=x, chain=SCHEDULE.times, noise=Stream(0)))
    for other in losses[1:]:
        values = (other, losses[0]) if estimator in TEXTBOOK else (other.nats, losses[0].nats)
        torch.testing.assert_close(*values, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("loss", TEXTBOOK)
def test_losses_take_what_bounds_take(loss):
    """Missing entries, single precision, examples apart; and gradients flow."""
    whole, x = gaussian(SCHEDULE), draw(4, 2)
    observed = torch.tensor([[True, False]]).expand(4, 2)
    missing, zero = (
        loss(whole.given(observed=observed), torch.where(observed, x, value), SCHEDULE.times, noise=Stream(0))
        for value in (np.nan, 7.0)
    )
    assert torch.equal(missing, zero)
    batch = loss(whole, x, SCHEDULE.times, noise=PerSample(range(4)))
    torch.testing.assert_close(loss(whole, x[1:2], SCHEDULE.times, noise=PerSample([1])), batch[1:2])
    single = loss(gaussian(SCHEDULE).float(), x.float(), SCHEDULE.times, noise=PerSample(range(4)))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), batch, rtol=1e-3, atol=1e-3)
    network = nn.Linear(2, 2, dtype=torch.float64)
    network_of = type("Network", (nn.Module,), {"forward": lambda self, x, gamma, cond: network(x)})
    loss(NetworkDenoiser(network_of(), SCHEDULE, (2,)), x, SCHEDULE.times, noise=Stream(0)).mean().backward()
    assert network.weight.grad.abs().max() > 0


def test_impossible_arguments_are_refused():
    denoiser, x = mixture(SCHEDULE), draw(2, 2)
    with pytest.raises(InputError, match="at least 2"):
        textbook_one_sample(denoiser, x, SCHEDULE.times[:1], noise=Stream(0))
    for loss in TEXTBOOK:
        with pytest.raises(InputError, match="increasing"):
            loss(denoiser, x, SCHEDULE.times.flip(0), noise=Stream(0))
    for loss in TEXTBOOK[1:]:
        with pytest.raises(InputError, match="must be in"):
            loss(denoiser, x, SCHEDULE.times, noise=Stream(0), place=double([0.5, 1.5]))
