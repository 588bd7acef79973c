"""The mean over levels against sums over them, and the denoiser that is made of it."""

import math

import pytest
import torch
from oracles import double, draw
from torch import nn

from lowerbound.denoiser import NetworkDenoiser
from lowerbound.denoiser.exact import Empirical
from lowerbound.discrete.denoiser import LevelDenoiser
from lowerbound.errors import InputError
from lowerbound.levels import level_centres, mean_level
from lowerbound.likelihood import elbo
from lowerbound.likelihood.decoder import LevelPosterior
from lowerbound.nn import MLP
from lowerbound.rng import Stream
from lowerbound.schedule import LinearGamma
from lowerbound.schedule.scaling import SCALINGS

COUNTS = [2, 17, 256, 65_536]
NARROW = [1e-9, 1e-6, 1e-4, 0.01, 0.05, 0.1, 0.119]
WIDE = [0.121, 0.15, 0.2, 0.5, 1.0, 5.0, 50.0]


def places(num_levels):
    """Centres from three levels below the first to three above the last, dense at both ends."""
    steps = torch.linspace(-3, min(num_levels, 40) / 2, 801, dtype=torch.float64)
    return torch.cat([steps, num_levels - 1 - steps])


def mean_by_sum(centre, variance, num_levels=None):
    """The mean over the levels, or over all integers, within 60 of the nearest one; by the definition."""
    nearest = centre.round() if num_levels is None else centre.round().clamp(0, num_levels - 1)
    levels = nearest[:, None] + torch.arange(-60, 61)
    # relative to the nearest level, so that tiny variances do not overflow
    exponent = ((nearest - centre) ** 2)[:, None] / (2 * variance) - (levels - centre[:, None]) ** 2 / (2 * variance)
    if num_levels is not None:
        exponent = exponent.masked_fill((levels < 0) | (levels > num_levels - 1), -math.inf)
    return (exponent.softmax(1) * levels).sum(1)


@pytest.mark.parametrize("variance", NARROW)
@pytest.mark.parametrize("num_levels", COUNTS)
def test_the_mean_of_a_narrow_normal_is_that_over_the_levels(num_levels, variance):
    centre = places(num_levels)
    ours = mean_level(centre, torch.full_like(centre, variance), num_levels)
    assert (ours - mean_by_sum(centre, variance, num_levels)).abs().max() < 2e-4


@pytest.mark.parametrize("variance", WIDE)
@pytest.mark.parametrize("num_levels", COUNTS)
def test_the_mean_of_a_wide_normal_is_that_over_all_integers(num_levels, variance):
    """And so over the levels, where their ends are far."""
    centre = places(num_levels)
    ours = mean_level(centre, torch.full_like(centre, variance), num_levels)
    assert (ours - mean_by_sum(centre, variance)).abs().max() < 3e-4
    far = (centre > 7 * variance**0.5) & (centre < num_levels - 1 - 7 * variance**0.5)
    over_levels = mean_by_sum(centre[far], variance, num_levels)
    assert ((ours[far] - over_levels).abs() < 3e-4).all()


def test_the_two_forms_meet_within_the_levels():
    centre = double([0.0, 0.3, 3.7, 5.5, 8.4])
    below, above = (mean_level(centre, torch.full_like(centre, v), 17) for v in (0.12 - 1e-9, 0.12 + 1e-9))
    torch.testing.assert_close(above[1:], below[1:], rtol=0, atol=0.02)
    assert (above - below)[2:].abs().max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_levels", COUNTS)
def test_the_mean_of_a_very_narrow_normal_is_the_nearest_level_exactly(num_levels, dtype):
    index = torch.tensor([0, 1, num_levels // 2, num_levels - 1]).clamp(max=num_levels - 1).to(dtype)
    for offset in (-0.3, 0.0, 0.3):
        mean = mean_level(index + offset, torch.full_like(index, 1e-4), num_levels)
        assert torch.equal(mean, index)
    outside = torch.tensor([-50.0, num_levels + 50.0], dtype=dtype)
    assert mean_level(outside, torch.full_like(outside, 1e-4), num_levels).tolist() == [0, num_levels - 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_levels", COUNTS)
def test_gradients_are_finite_everywhere(num_levels, dtype):
    centre = torch.cat([places(num_levels).to(dtype), torch.tensor([-1e6, 1e6], dtype=dtype)])
    for variance in (1e-12, *NARROW, *WIDE, 1e8):
        given = [centre.clone().requires_grad_(), torch.full_like(centre, variance).requires_grad_()]
        mean = mean_level(*given, num_levels)
        gradients = torch.autograd.grad(mean.sum(), given)
        for values in (mean, *gradients):
            assert values.isfinite().all(), variance


def test_gradients_are_finite_where_the_wide_form_of_a_narrow_normal_has_its_poles():
    """The numbers of single precision around each solution of 1 + 2 q cos(2 pi m) = 0, many of which round to zero."""
    spread = torch.linspace(1e-3, 0.03, 50)
    poles = torch.acos(-0.5 * torch.exp(2 * math.pi**2 * spread.double())) / (2 * math.pi)
    centre = (poles[:, None] + 2.0**-25 * torch.arange(-40, 41)).float().requires_grad_()
    variance = spread[:, None].expand_as(centre).clone().requires_grad_()
    for gradient in torch.autograd.grad(mean_level(centre, variance, 17).sum(), (centre, variance)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("variance", [0.03, 0.08, 0.15, 0.5])
def test_gradients_are_those_of_the_sum(variance):
    centre = (8 + double([-0.45, -0.2, 0.0, 0.1, 0.3])).requires_grad_()
    spread = torch.full_like(centre, variance).requires_grad_()
    ours = torch.autograd.grad(mean_level(centre, spread, 17).sum(), (centre, spread))
    step = 1e-5
    by_centre = (mean_by_sum(centre + step, variance) - mean_by_sum(centre - step, variance)) / (2 * step)
    by_spread = (mean_by_sum(centre, variance + step) - mean_by_sum(centre, variance - step)) / (2 * step)
    torch.testing.assert_close(ours[0], by_centre.detach(), rtol=0.02, atol=2e-3)
    torch.testing.assert_close(ours[1], by_spread.detach(), rtol=0.02, atol=2e-2)


# ------------------------------------------------------------------------------------------------ the denoiser


class Any(nn.Module):
    """A random network of some outputs per entry, which remembers what it was given."""

    def __init__(self, num_features, dtype=torch.float64, num_outputs=2):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(num_features, num_outputs * num_features, dtype=dtype)

    def forward(self, x, gamma, cond):
        self.given = (x, gamma, cond)
        return self.layer(x) + torch.sin(gamma)[:, None]


class Zero(nn.Module):
    def forward(self, x, gamma, cond):
        return torch.zeros(len(x), 2 * x.shape[1], dtype=x.dtype)


class FirstHalf(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, gamma, cond):
        return self.network(x, gamma, cond).chunk(2, 1)[0]


def levels_of(num_levels, *shape, dtype=torch.float64):
    index = torch.randint(0, num_levels, shape, generator=torch.Generator().manual_seed(0))
    return level_centres(index, num_levels).to(dtype)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_in_wide_noise_it_is_the_denoiser_of_the_target_eps(scaling):
    schedule, network = LinearGamma(-12.0, 5.0, SCALINGS[scaling]), Any(3)
    ours = LevelDenoiser(network, schedule, (3,), 256, sigma_data=0.7)
    theirs = NetworkDenoiser(FirstHalf(network), schedule, (3,), "eps", sigma_data=0.7)
    x = levels_of(256, 4, 3)
    for gamma in (-6.0, 0.0, 5.0):
        level = schedule.level(schedule.inverse(double([gamma])).item())
        x_t = level.alpha * x + level.sigma * draw(4, 3)
        torch.testing.assert_close(ours(x_t, level).x, theirs(x_t, level).x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_levels", [2, 16, 256])
def test_in_narrow_noise_it_knows_the_level_whatever_the_network_says(num_levels, dtype):
    width = 0.02  # of the noise, in levels
    gamma = 2 * math.log(2 * width / num_levels)
    schedule = LinearGamma(gamma, 5.0)
    x = levels_of(num_levels, 50, 3, dtype=dtype)
    level = schedule.level(0.0)
    x_t = level.alpha * x + level.sigma * draw(50, 3).to(dtype)
    prediction = LevelDenoiser(Any(3, dtype), schedule, (3,), num_levels)(x_t, level)
    assert (prediction.x - x).abs().max() <= 2 * torch.finfo(dtype).eps


def test_a_prediction_does_not_depend_on_the_scaling():
    network, t = Any(3), double([0.0, 0.1, 0.3, 0.5, 1.0])
    x, eps = levels_of(16, 5, 3), draw(5, 3)
    predictions = []
    for scaling in SCALINGS.values():
        schedule = LinearGamma(-9.0, 5.0, scaling)
        alpha, sigma = (c[:, None] for c in schedule(t))
        predictions.append(LevelDenoiser(network, schedule, (3,), 16)(alpha * x + sigma * eps, t).x)
    for other in predictions[1:]:
        torch.testing.assert_close(other, predictions[0], rtol=1e-9, atol=1e-9)


def test_the_network_sees_what_any_denoisers_network_sees():
    schedule, x_t, cond = LinearGamma(), draw(4, 3), torch.tensor([0, -1, 2, 1])
    for t in (0.3, double([0.0, 0.3, 0.6, 1.0])):
        networks = Any(3), Any(3)
        LevelDenoiser(networks[0], schedule, (3,), 256, sigma_data=0.7)(x_t, t, cond)
        NetworkDenoiser(FirstHalf(networks[1]), schedule, (3,), sigma_data=0.7)(x_t, t, cond)
        for ours, theirs in zip(networks[0].given, networks[1].given, strict=True):
            assert torch.equal(ours, theirs)


class Knowing(nn.Module):
    """What a network says that knows of every entry that its level is normal, of mean m and variance v in levels."""

    def __init__(self, mean, variance, num_levels):
        super().__init__()
        self.mean, self.variance, self.num_levels = mean, variance, num_levels

    def seen(self, x, gamma):
        """Where each entry is, and the noise's width, in levels."""
        ratio = torch.exp(gamma / 2)[:, None]
        return (x * torch.sqrt(1 + ratio**2) + 1) * self.num_levels / 2 - 0.5, ratio * self.num_levels / 2

    def forward(self, x, gamma, cond):
        place, width = self.seen(x, gamma)
        eps = (place - self.mean) * width / (self.variance + width**2)
        share = self.variance / (self.variance + width**2)
        return torch.cat([eps, torch.logit(share.expand_as(eps)) - 2], 1)


def assert_same_posterior_and_bound(ours, exact, x, num_levels):
    """To half a thousandth of a level at every noise, and of a chain's bound."""
    for t in torch.linspace(0, 1, 30).tolist():
        level = exact.schedule.level(t)
        x_t = level.alpha * x + level.sigma * draw(*x.shape)
        error = (ours(x_t, level).x - exact(x_t, level).x) * num_levels / 2
        assert error.abs().max() < 5e-4, t
    chain = torch.linspace(0, 1, 41, dtype=torch.float64)
    bounds = [elbo(model, LevelPosterior(num_levels), x, chain, noise=Stream(0)).nats.mean() for model in (ours, exact)]
    torch.testing.assert_close(*bounds, rtol=0, atol=1e-4)


def test_a_normal_prior_on_the_levels_gives_the_exact_posterior_and_bound():
    """Data of one entry, normal on 32 levels: the closed-form denoiser of its points, at every noise."""
    num_levels, mean, variance = 32, 14.3, 4.0
    schedule = LinearGamma(-12.0, 5.0)
    index = torch.arange(num_levels)
    points = level_centres(index, num_levels).double()[:, None]
    weights = torch.exp(-((index.double() - mean) ** 2) / (2 * variance)).clamp(min=1e-30)
    exact = Empirical(points, schedule, weights)
    ours = LevelDenoiser(Knowing(mean, variance, num_levels), schedule, (1,), num_levels)
    x = points[torch.multinomial(weights, 400, True, generator=torch.Generator().manual_seed(0))]
    assert_same_posterior_and_bound(ours, exact, x, num_levels)


class KnowingInItsOwnUnits(Knowing):
    """The same in units of what was to be expected: how far off, and the spread, which is the same at every noise."""

    def __init__(self, mean, variance, num_levels, spread):
        super().__init__(mean, variance, num_levels)
        self.spread = spread

    def forward(self, x, gamma, cond):
        place, width = self.seen(x, gamma)
        off = (place - self.mean) / torch.sqrt(self.variance + width**2)
        return torch.cat([off, torch.full_like(off, math.log(self.variance / self.spread**2))], 1)


@pytest.mark.parametrize("spread", [0.5, 2.0, 40.0])
def test_in_units_of_the_spread_it_is_the_same_posterior_whatever_the_spread(spread):
    schedule, x = LinearGamma(-12.0, 5.0), levels_of(32, 100, 1)
    plain = LevelDenoiser(Knowing(14.3, 4.0, 32), schedule, (1,), 32)
    ours = LevelDenoiser(KnowingInItsOwnUnits(14.3, 4.0, 32, spread), schedule, (1,), 32, spread=spread)
    for t in torch.linspace(0, 1, 30).tolist():
        level = schedule.level(t)
        x_t = level.alpha * x + level.sigma * draw(*x.shape)
        torch.testing.assert_close(ours(x_t, level).x, plain(x_t, level).x, rtol=0, atol=1e-6)


def test_in_noise_finer_than_the_spread_what_the_network_says_hardly_counts():
    """Noise of one level, where surroundings leave forty open: a network that is off by one is off by a fortieth."""
    num_levels, spread = 256, 40.0
    schedule = LinearGamma(2 * math.log(2 / num_levels), 5.0)  # begins where the noise is one level wide
    x, level = levels_of(num_levels, 50, 3), schedule.level(0.0)
    x_t = level.alpha * x + level.sigma * draw(50, 3)

    class One(nn.Module):
        def forward(self, x, gamma, cond):
            return torch.cat([torch.ones_like(x), torch.zeros_like(x)], 1)

    in_units, plain = (
        LevelDenoiser(One(), schedule, (3,), num_levels, spread=given)(x_t, level).eps for given in (spread, None)
    )
    torch.testing.assert_close(plain, torch.ones_like(plain), rtol=0, atol=1e-3)
    torch.testing.assert_close(in_units, torch.full_like(in_units, (1 + spread**2) ** -0.5), rtol=0, atol=1e-3)


class KnowingSpikes(Knowing):
    """What a network says that knows of spikes of the shares p_j, beside the normal, as well."""

    def __init__(self, mean, variance, num_levels, spikes):
        super().__init__(mean, variance, num_levels)
        self.spikes = spikes

    def forward(self, x, gamma, cond):
        place, width = self.seen(x, gamma)
        slab, normal = width**2 + self.num_levels**2 / 16, width**2 + self.variance
        log_slab = -torch.log(slab) / 2
        log_normal = -torch.log(normal) / 2 - (place - self.mean) ** 2 / (2 * normal)
        left = 1 - sum(self.spikes.values())
        odds = [math.log(share / left) + log_slab - log_normal for share in self.spikes.values()]
        return torch.cat([super().forward(x, gamma, cond), *odds], 1)


def test_spikes_beside_a_normal_give_the_exact_posterior_and_bound():
    """Data of one entry, of which 0 has a half and 29 a tenth: the closed-form denoiser of its points, at every noise."""
    num_levels, mean, variance, spikes = 32, 14.3, 4.0, {0: 0.5, 29: 0.1}
    schedule = LinearGamma(-12.0, 5.0)
    index = torch.arange(num_levels)
    points = level_centres(index, num_levels).double()[:, None]
    normal = torch.exp(-((index.double() - mean) ** 2) / (2 * variance)).clamp(min=1e-30)
    weights = (1 - sum(spikes.values())) * normal / normal.sum()
    for level, share in spikes.items():
        weights[level] += share
    exact = Empirical(points, schedule, weights)
    network = KnowingSpikes(mean, variance, num_levels, spikes)
    ours = LevelDenoiser(network, schedule, (1,), num_levels, spikes=tuple(spikes))
    x = points[torch.multinomial(weights, 400, True, generator=torch.Generator().manual_seed(0))]
    assert_same_posterior_and_bound(ours, exact, x, num_levels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_levels", COUNTS)
def test_before_training_the_bound_is_finite_and_narrow_noise_costs_nothing(num_levels, dtype):
    schedule = LinearGamma(2 * math.log(2 / num_levels) - 5.0, 5.0)
    denoiser, x = LevelDenoiser(Zero(), schedule, (3,), num_levels), levels_of(num_levels, 20, 3, dtype=dtype)
    chain = torch.linspace(0, 1, 101, dtype=torch.float64)
    for arguments in ({}, {"chain": chain}):
        assert elbo(denoiser, LevelPosterior(num_levels), x, noise=Stream(0), **arguments).nats.isfinite().all()
    if dtype == torch.float64:
        steps = elbo(denoiser, LevelPosterior(num_levels), x, chain, noise=Stream(0)).steps
        eps = NetworkDenoiser(FirstHalf(Zero()), schedule, (3,))
        plain = elbo(eps, LevelPosterior(num_levels), x, chain, noise=Stream(0)).steps
        assert steps[:, 0].mean() < 0.05 * plain[:, 0].mean()


@pytest.mark.parametrize("spread", [None, 0.5, 1e20])
@pytest.mark.parametrize("spikes", [(), (0, 255)])
def test_gradients_are_finite_at_every_noise(spikes, spread):
    schedule, network = LinearGamma(-14.0, 5.0), Any(3, torch.float32, 2 + len(spikes))
    denoiser, x = (
        LevelDenoiser(network, schedule, (3,), 256, spikes=spikes, spread=spread),
        levels_of(256, 200, 3, dtype=torch.float32),
    )
    t = torch.linspace(0, 1, 200)
    alpha, sigma = (c[:, None] for c in schedule(t))
    denoiser(alpha * x + sigma * draw(200, 3).float(), t).eps.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_levels": 1},
        {"num_levels": 65_537},
        {"num_levels": 2, "sigma_data": 0.0},
        {"num_levels": 2, "spikes": (2,)},
        {"num_levels": 2, "spikes": (1, 1)},
        {"num_levels": 2, "spread": 0.0},
        {"num_levels": 2, "spread": math.inf},
        {"num_levels": 2, "spread": math.nan},
    ],
)
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(InputError):
        LevelDenoiser(Zero(), LinearGamma(), (3,), **arguments)


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_a_trained_prediction_is_cut_to_the_range_and_nearer_to_every_level(num_levels):
    torch.manual_seed(0)
    network = MLP(5, 10, width=8, depth=1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    denoiser = LevelDenoiser(network, LinearGamma(), (5,), num_levels).requires_grad_(False)
    x = level_centres(torch.randint(num_levels, (200, 5)), num_levels)
    t = torch.rand(200)
    alpha, sigma = denoiser.schedule(t)
    x_t = alpha[:, None] * x + sigma[:, None] * torch.randn(200, 5)
    free, cut = denoiser.train()(x_t, t).x, denoiser.eval()(x_t, t).x
    assert (cut.abs() <= 1 - 1 / num_levels + 1e-6).all()
    assert (free.abs() > 1).any()
    assert ((cut - x).abs() <= (free - x).abs() + 1e-6).all()
