"""A learned schedule: its ends are what the bound depends on, the way between them what the estimator's variance does."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import Known, double, draw, make_schedule, mixture, random_warp, sigma_points

from lowerbound import objective
from lowerbound.denoiser import NetworkDenoiser
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.likelihood import elbo
from lowerbound.likelihood.decoder import GaussianDecoder
from lowerbound.rng import Stream
from lowerbound.schedule import LinearGamma
from lowerbound.schedule.learned import LearnedGamma, MonotoneWarp
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.times import antithetic_times

MIDPOINTS = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
LOW, HIGH = -6.0, 5.0


def learned(warp=None, low=LOW, high=HIGH, **arguments):
    return LearnedGamma(low, high, warp, **arguments).double()


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_units=st.integers(1, 40),
    roughness=st.floats(0.0, 1.5),
    ends=st.tuples(st.floats(-20, 5), st.floats(0.1, 30)),
)
# where Newton's steps alone go in a circle
@example(seed=2871, num_units=8, roughness=1.1808235504780558, ends=(0.0, 1.0))
def test_whatever_the_warp_it_joins_the_ends_and_increases(seed, num_units, roughness, ends):
    low, high = ends[0], ends[0] + ends[1]
    schedule = learned(random_warp(seed, num_units, roughness), low, high).requires_grad_(False)
    t = torch.linspace(0, 1, 401, dtype=torch.float64)
    gamma, slope = schedule.gamma(t), schedule.slope(t)
    assert gamma[0].item() == pytest.approx(low, abs=1e-5), "the ends are kept in single precision"
    assert gamma[-1].item() == pytest.approx(high, abs=1e-5)
    assert (gamma.diff() > 0).all()
    assert (slope > 0).all()
    torch.testing.assert_close(schedule.inverse(gamma), t, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_slope_is_the_derivative_by_autograd(seed):
    schedule = learned(random_warp(seed))
    t = torch.linspace(0, 1, 101, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(schedule.gamma(t).sum(), t)
    torch.testing.assert_close(schedule.slope(t), derivative, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
def test_without_a_warp_it_is_the_linear_schedule(scaling):
    ours, line = LearnedGamma(-13.3, 5.0, scaling=scaling).double(), LinearGamma(-13.3, 5.0, scaling)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    for name in ("gamma", "slope"):
        torch.testing.assert_close(getattr(ours, name)(t), getattr(line, name)(t), rtol=0, atol=3e-6)
    torch.testing.assert_close(ours.inverse(line.gamma(t)), t, rtol=0, atol=1e-6)
    assert ours.scaling is scaling


def test_before_training_the_warp_is_nearly_the_line():
    value, slope = MonotoneWarp().double()(MIDPOINTS)
    assert (value - MIDPOINTS).abs().max() < 0.01
    assert ((slope - 1).abs() < 0.05).all()


@pytest.mark.parametrize("seed", range(3))
def test_single_precision_agrees_with_double(seed):
    schedule = LearnedGamma(-13.3, 5.0, random_warp(seed)).requires_grad_(False)
    t = torch.cat([torch.logspace(-6, -1, 30), torch.linspace(0, 1, 100)])
    assert schedule.gamma(t).dtype == torch.float32
    assert schedule.gamma(t.double()).dtype == torch.float64
    torch.testing.assert_close(schedule.gamma(t).double(), schedule.gamma(t.double()), rtol=0, atol=1e-5)
    torch.testing.assert_close(schedule.slope(t).double(), schedule.slope(t.double()), rtol=1e-4, atol=0)


def test_impossible_ends_are_refused():
    for low, high in ((5.0, -5.0), (1.0, 1.0), (-math.inf, 5.0), (-5.0, math.nan)):
        with pytest.raises(InputError):
            LearnedGamma(low, high)


# ------------------------------------------------------------------------------------------------ the bound


def normal_data(schedule, variance=0.3):
    return Gaussian(double([0.0]), double([[variance]]), schedule)


def moments(schedule, variance=0.3):
    """E and E of the square of the continuous diffusion term's one draw, over data N(0, u), noise and a fine grid of t.

    The noise's error is normal, so that two moments of it follow from the first: E[error^4] = 3 E[error^2]^2.
    """
    points = sigma_points(2)
    values = []
    for point in points:
        x = (variance**0.5 * point[0]).expand(len(MIDPOINTS), 1)
        eps = point[1].expand(len(MIDPOINTS), 1)
        values.append(objective.loss(normal_data(schedule, variance), x, t=MIDPOINTS, eps=eps))
    at_t = torch.stack(values).mean(0)
    return at_t.mean(), 3 * at_t.square().mean()


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_does_not_depend_on_the_way_and_its_variance_does(seed):
    exact = 0.5 * (math.log1p(0.3 * math.exp(-LOW)) - math.log1p(0.3 * math.exp(-HIGH)))
    line = moments(LinearGamma(LOW, HIGH))
    warped = moments(learned(random_warp(seed, roughness=0.5)).requires_grad_(False))
    assert warped[0].item() == pytest.approx(exact, rel=1e-4)
    assert line[0].item() == pytest.approx(exact, rel=1e-4)
    assert abs(warped[1] / line[1] - 1) > 0.02


def test_the_bound_of_a_mixture_does_not_depend_on_the_way():
    """Drawn times and noise, three components: equal means within their errors."""
    x = mixture(LinearGamma()).sample(2000, Stream(0))
    bounds = []
    for schedule in (LinearGamma(LOW, HIGH), learned(random_warp(2, roughness=0.7)).requires_grad_(False)):
        bound = elbo(mixture(schedule), GaussianDecoder(), x, noise=Stream(1), num_times=4)
        bounds.append(bound.diffusion)
    difference = bounds[0] - bounds[1]
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(len(x))


@pytest.mark.parametrize("warp", [None, random_warp(1, roughness=0.5)], ids=["line", "warped"])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_gradient_of_the_ends_is_that_of_the_closed_form(scaling, warp):
    """The three terms of data N(0, u), as functions of the two ends, differentiated by hand and by differences."""
    schedule, u, step = learned(warp, scaling=SCALINGS[scaling]), 0.3, 1e-4
    denoiser, points = normal_data(schedule, u), sigma_points(2)
    total = torch.zeros((), dtype=torch.float64)
    for point in points:
        x, eps = ((scale * value).expand(len(MIDPOINTS), 1) for scale, value in zip((u**0.5, 1), point, strict=True))
        bound = elbo(denoiser, GaussianDecoder(), x, noise=Known([eps]), place=MIDPOINTS)
        total = total + bound.nats.mean() / len(points)
    start, log_range = torch.autograd.grad(total, (schedule.start, schedule.log_range))

    def closed_form(low, high):
        reconstruction = -0.5 * (1 + low + math.log(2 * math.pi))
        prior = 0.5 * ((u - 1) / (1 + math.exp(high)) + math.log1p(math.exp(-high)))
        return reconstruction - prior - 0.5 * (math.log1p(u * math.exp(-low)) - math.log1p(u * math.exp(-high)))

    assert total.item() == pytest.approx(closed_form(LOW, HIGH), abs=1e-5)
    by_low = (closed_form(LOW + step, HIGH) - closed_form(LOW - step, HIGH)) / (2 * step)
    by_high = (closed_form(LOW, HIGH + step) - closed_form(LOW, HIGH - step)) / (2 * step)
    # the start moves both ends, the range the upper one alone
    assert start.item() == pytest.approx(by_low + by_high, abs=1e-5)
    assert log_range.item() == pytest.approx(by_high * (HIGH - LOW), abs=1e-4)


# ------------------------------------------------------------------------------------------------ the least variance


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2).double()

    def forward(self, x, gamma, cond):
        return self.layer(x) + torch.sin(gamma)[:, None]


def denoisers(schedule):
    """Closed-form, and networks whose output's meaning contains gamma, or its slope as well."""
    torch.manual_seed(0)
    return [mixture(schedule), *(NetworkDenoiser(Small(), schedule, (2,), target) for target in ("v", "velocity"))]


@pytest.mark.parametrize("bound", [False, True], ids=["itself", "given a condition"])
@pytest.mark.parametrize("kind", range(3), ids=["mixture", "v", "velocity"])
def test_one_backward_pass_gives_both_gradients(kind, bound):
    """The warp's is that of the mean square, by a second graph; every other parameter's that of the mean."""
    schedule = learned(random_warp(3, roughness=0.5))
    denoiser = denoisers(schedule)[kind]
    denoiser = denoiser.given(torch.zeros(6, dtype=torch.int64)) if bound else denoiser
    x, eps, t = draw(6, 2), draw(6, 2, seed=1), double([0.01, 0.2, 0.4, 0.6, 0.8, 0.99])
    warp = list(schedule.warp.parameters())
    others = [p for p in denoiser.parameters() if all(p is not q for q in warp)]
    assert len(others) == (2 if kind == 0 else 4)

    losses = objective.loss(denoiser, x, t=t, eps=eps)
    squares = torch.autograd.grad(losses.square().mean() / 2, warp, retain_graph=True)
    means = torch.autograd.grad(losses.mean(), others)
    factor = torch.ones_like(t)
    drawn = objective.loss(denoiser.along(schedule.minimising_variance(factor)), x, t=t, eps=eps)
    factor.copy_(2 * drawn.detach() / 2)
    assert torch.equal(drawn, losses)
    drawn.mean().backward()
    for parameter, expected in zip([*warp, *others], [*squares, *means], strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-12)


def test_of_the_schedule_itself_every_gradient_is_the_ordinary_one():
    """The one that minimises the variance is a second view of the same parameters."""
    schedule, t = learned(random_warp(3)), double([0.1, 0.7])
    before = torch.autograd.grad(schedule.gamma(t).sum(), schedule.warp.weights)[0]
    scaled = schedule.minimising_variance(double([3.0, 3.0]))
    assert all(ours is theirs for ours, theirs in zip(scaled.parameters(), schedule.parameters(), strict=True))
    assert torch.equal(torch.autograd.grad(schedule.gamma(t).sum(), schedule.warp.weights)[0], before)
    tripled = torch.autograd.grad(scaled.gamma(t).sum(), scaled.warp.weights)[0]
    torch.testing.assert_close(tripled, 3 * before)
    with torch.no_grad():
        assert torch.equal(scaled.gamma(t), schedule.gamma(t))
    assert scaled.level(0.3).gamma < scaled.level(0.4).gamma


def test_training_finds_nearly_the_best_density_of_levels():
    r"""For data N(0, u) the error at $\gamma$ is normal of variance $\rho = u / (u + e^\gamma)$, so that the best density of
    levels is proportional to $\rho$ and the least second moment of a draw is $\frac34 (\int \rho d\gamma)^2$."""
    u, low, high = 0.001, -10.0, 10.0
    schedule = learned(MonotoneWarp(), low, high)
    schedule.start.requires_grad_(False)
    schedule.log_range.requires_grad_(False)
    denoiser, noise, num_times = normal_data(schedule, u), Stream(0), 64
    optimizer = torch.optim.Adam(schedule.warp.parameters(), lr=0.1)
    # data and noise evenly around a circle have a normal's fourth moment in every direction, up to a common factor
    angle = (torch.arange(8, dtype=torch.float64) * math.pi / 8).repeat(num_times)[:, None]
    x, eps = math.sqrt(2 * u) * angle.cos(), math.sqrt(2) * angle.sin()
    mean, before = moments(schedule, u)
    best = 0.75 * (math.log1p(u * math.exp(-low)) - math.log1p(u * math.exp(-high))) ** 2
    for _ in range(200):
        offset = noise.uniform(torch.empty(1, 1, dtype=torch.float64))[0, 0]
        t = antithetic_times(offset, num_times).repeat_interleave(8)
        factor = torch.ones_like(t)
        losses = objective.loss(denoiser.along(schedule.minimising_variance(factor)), x, t=t, eps=eps)
        factor.copy_(2 * losses.detach())
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
    after_mean, after = moments(schedule, u)
    assert after_mean.item() == pytest.approx(mean.item(), rel=1e-4)
    assert before - mean**2 > 3 * (best - mean**2), "the line is far from the best"
    # the best leaves out where nothing is known, which a bounded slope does not: that costs about 15 %
    assert after - mean**2 < 1.25 * (best - mean**2)
    assert after > 0.999 * best


def test_a_learned_schedule_is_one_of_the_oracles_schedules():
    schedule = make_schedule("learned")
    assert isinstance(schedule, LearnedGamma)
    assert not any(parameter.requires_grad for parameter in schedule.parameters())


@pytest.mark.parametrize("seed", range(5))
def test_no_part_of_the_way_is_left_out(seed):
    """However rough the warp, its slope stays below 20, so that no draw of the bound weighs more than twenty others."""
    warp = random_warp(seed, num_units=16, roughness=10.0)
    t = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    assert warp(t)[1].max() < 20.001
