"""Score matching: by parts it is the Fisher divergence, sliced it is itself, with noise it is the loss."""

import math

import numpy as np
import pytest
import torch
from oracles import COVARIANCE, MEAN, SCHEDULES, double, draw, gaussian, make_schedule, mixture
from torch import nn

from lowerbound import objective
from lowerbound.denoiser import Denoiser, NetworkDenoiser, Prediction
from lowerbound.denoiser.exact import Gaussian
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.nn.mlp import MLP
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import LearnedGamma, LinearGamma
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.score_matching import denoising, explicit, explicit_loss, fisher_divergence, sliced, sliced_loss

EXPLODING = SCALINGS["variance-exploding"]
SIGMA = math.exp(-0.5)
"""The noise of the smoothed densities, at gamma = -1."""


def smoothed(make):
    """A closed form and its score at the noise SIGMA on top of data that are not scaled."""
    denoiser = make(LinearGamma(-1.0, 5.0, EXPLODING))
    level = denoiser.schedule.level(0.0)
    assert level.sigma == pytest.approx(SIGMA)
    return denoiser, level, lambda x: denoiser(x, level).score


def wrong(x):
    """Not the score of anything: its Jacobian is not symmetric."""
    first, second = x.unbind(1)
    return torch.stack([-first + 0.5 * torch.sin(second), torch.tanh(2 * first) - 1.5 * second + 0.3], 1)


def grid_of(denoiser, level, num=160, reach=8.0):
    """Points of a grid over the plane and their probabilities, as good as exact for smooth densities."""
    axis = torch.linspace(-reach, reach, num, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    mass = denoiser.log_marginal(x, level).exp() * (axis[1] - axis[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=1e-9)
    return x, mass


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_the_score_is_the_gradient_of_the_log_density(make):
    """The one sign: of the score, of its density, and of its denoiser's noise."""
    denoiser, level, score = smoothed(make)
    x = draw(6, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(denoiser.log_marginal(x, level).sum(), x)
    torch.testing.assert_close(score(x), gradient, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(score(x), -denoiser(x, level).eps / SIGMA, rtol=1e-9, atol=1e-9)
    step = x.detach() + 1e-3 * gradient
    assert bool((denoiser.log_marginal(step, level) > denoiser.log_marginal(x, level)).all())


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_explicit_is_the_fisher_divergence_less_a_constant(make):
    """E[explicit] = F - E|grad log p|^2 / 2, the integrals over the plane done numerically."""
    denoiser, level, true = smoothed(make)
    x, mass = grid_of(denoiser, level)
    constant = 0.5 * mass @ true(x).square().sum(1)
    for score in (true, wrong, lambda x: 1.3 * true(x), lambda x: true(x - 0.2)):
        with torch.no_grad():
            objective_, divergence = mass @ explicit(score, x), mass @ fisher_divergence(score, true, x)
        torch.testing.assert_close(objective_, divergence - constant, rtol=0, atol=1e-8)
    # the true score's own value is the negative of the constant
    torch.testing.assert_close(mass @ explicit(true, x).detach(), -constant, rtol=0, atol=1e-8)


def test_explicit_of_a_gaussian_in_closed_form():
    """At each x: -tr P + |P (x - m)|^2 / 2."""
    _, _, score = smoothed(gaussian)
    precision = torch.linalg.inv(COVARIANCE + SIGMA**2 * torch.eye(2, dtype=torch.float64))
    x = draw(5, 2)
    expected = -precision.trace() + 0.5 * ((x - MEAN) @ precision).square().sum(1)
    torch.testing.assert_close(explicit(score, x).detach(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("probes", ["signs", "normal"])
@pytest.mark.parametrize("reduced", [True, False])
def test_sliced_is_explicit_in_expectation(probes, reduced):
    x = draw(4, 2)
    with torch.no_grad():
        expected = explicit(wrong, x)
        kinds = {"probes": probes, "reduced": reduced}
        one, four = (
            sliced(wrong, x.repeat(10_000, 1), Stream(0), num_probes=num_probes, **kinds).reshape(-1, 4)
            for num_probes in (1, 4)
        )
    for draws in (one, four):
        assert (draws.mean(0) - expected).abs().lt(4 * draws.std(0) / math.sqrt(len(draws))).all()
    torch.testing.assert_close(four.var(0), one.var(0) / 4, rtol=0.1, atol=0)


def test_signs_make_the_trace_of_a_diagonal_jacobian_exact():
    x = draw(5, 2)

    def diagonal(x):
        return torch.sin(3 * x)

    with torch.no_grad():
        torch.testing.assert_close(sliced(diagonal, x, Stream(0)), explicit(diagonal, x))
        for other in ({"probes": "normal"}, {"reduced": False}):
            assert not torch.allclose(sliced(diagonal, x, Stream(0), **other), explicit(diagonal, x))


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_denoising_is_explicit_for_the_smoothed_density(make):
    """E[denoising] = E[explicit] + D / (2 sigma^2), over data and noise; the true score is at the minimum."""
    denoiser, level, true = smoothed(make)
    x, mass = grid_of(denoiser, level)
    data = denoiser.sample(40_000, Stream(0))
    shifted = lambda x: true(x) + 0.3  # noqa: E731
    means = []
    with torch.no_grad():
        for score in (true, wrong, shifted):
            draws = denoising(score, data, SIGMA, Stream(1))
            expected = mass @ explicit(score, x) + 2 / (2 * SIGMA**2)
            assert abs(draws.mean() - expected) < 4 * draws.std() / math.sqrt(len(draws))
            means.append(draws.mean().item())
    assert means[0] == min(means)
    # noise of its own for each example
    each = denoising(true, data[:3], torch.full((3,), SIGMA, dtype=torch.float64), Stream(2))
    torch.testing.assert_close(each, denoising(true, data[:3], SIGMA, Stream(2)))


class Small(nn.Module):
    """A network of two features, smooth, of x and gamma."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.into, self.out = nn.Linear(3, 16).double(), nn.Linear(16, 2).double()

    def forward(self, x, gamma, cond):
        return self.out(torch.tanh(self.into(torch.cat([x, gamma[:, None] / 5], 1))))


class Energy(Denoiser):
    r"""A denoiser whose score is the gradient of a network: $s = -\nabla E$."""

    def __init__(self, schedule):
        super().__init__(schedule, (2,))
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1)).double()

    def predict(self, x_t, level, cond, observed):
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            x_t = x_t if x_t.requires_grad else x_t.detach().requires_grad_()
            (score,) = torch.autograd.grad(-self.network(x_t).sum(), x_t, create_graph=keep)
        sigma, alpha = expand(level.sigma, x_t), expand(level.alpha, x_t)
        return Prediction(x_t, level, (x_t + sigma**2 * score) / alpha, self.schedule)


def hermite(num=40):
    """Nodes in the plane and weights of the expectation over N(0, I)."""
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(num))
    weights = weights / weights.sum()
    return torch.cartesian_prod(nodes, nodes), torch.cartesian_prod(weights, weights).prod(1)


@pytest.mark.parametrize("name", SCHEDULES)
def test_over_levels_explicit_is_the_loss_for_every_example(name):
    """Stein's identity: the expectation over eps is the loss's to the nat, of any x, t, weighting and denoiser."""
    schedule = make_schedule(name)
    eps, weight = hermite()
    for denoiser in (NetworkDenoiser(Small(), schedule, (2,), "eps"), Energy(schedule)):
        for time, x in ((0.6, [0.5, -1.0]), (0.95, [2.0, 0.1])):
            given = {"t": double([time] * len(eps)), "eps": eps}
            point = double([x] * len(eps))
            for weighting in (objective.uniform, objective.simple):
                with torch.no_grad():
                    ours = weight @ explicit_loss(denoiser, point, weighting, **given)
                    expected = weight @ objective.loss(denoiser, point, weighting, **given)
                torch.testing.assert_close(ours, expected, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("loss", [explicit_loss, sliced_loss])
def test_over_levels_the_expectation_is_the_bounds_diffusion_term(loss):
    """Of N(0, u) data it is known: 1/2 log (1 + u SNR) between the ends; and that of a mixture is the loss's."""
    u, low, high = 0.3, -6.0, 5.0
    exact = 0.5 * (math.log1p(u * math.exp(-low)) - math.log1p(u * math.exp(-high)))
    for scaling in SCALINGS.values():
        data = Gaussian(double([0.0]), double([[u]]), LinearGamma(low, high, scaling))
        x = data.sample(20_000, Stream(0))
        with torch.no_grad():
            values = loss(data, x, noise=Stream(1))
        assert abs(values.mean().item() - exact) < 4 * values.std().item() / math.sqrt(len(x))
    data = mixture(LinearGamma(low, high))
    x = data.sample(20_000, Stream(0))
    with torch.no_grad():
        difference = loss(data, x, noise=Stream(1)) - objective.loss(data, x, noise=Stream(1))
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(len(x))


@pytest.mark.parametrize("make", [explicit_loss, sliced_loss, objective.loss])
@pytest.mark.parametrize("kind", ["network", "energy", "learned schedule"])
def test_parameters_have_the_derivative_of_the_loss(make, kind):
    """Against finite differences: twice through a network, three times through an energy."""
    schedule = LearnedGamma(-4.0, 3.0).double() if kind == "learned schedule" else LinearGamma(-4.0, 3.0)
    denoiser = Energy(schedule) if kind == "energy" else NetworkDenoiser(Small(), schedule, (2,), "eps")
    x, parameters = draw(8, 2), [p for p in denoiser.parameters() if p.requires_grad]

    def total():
        return make(denoiser, x, t=torch.linspace(0.1, 0.9, 8).double(), eps=draw(8, 2, seed=1), noise=Stream(2)).sum()

    gradients = torch.autograd.grad(total(), parameters, allow_unused=True)
    directions = [draw(p.numel(), seed=3 + i).reshape(p.shape) for i, p in enumerate(parameters)]
    expected = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
    ends, h = [], 1e-5
    for sign in (1, -2):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(sign * h * d)
            ends.append(total())
    torch.testing.assert_close(expected, (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-5)


def test_observed_entries_alone_count():
    denoiser = gaussian(LinearGamma())
    smaller = Gaussian(MEAN[:1], COVARIANCE[:1, :1], denoiser.schedule)
    x, eps, t = draw(5, 2), draw(5, 2, seed=1), torch.linspace(0.1, 0.9, 5).double()
    observed = torch.tensor([[True, False]]).expand(5, 2)
    expected = explicit_loss(smaller, x[:, :1], t=t, eps=eps[:, :1]).detach()
    for loss in (explicit_loss, sliced_loss):
        for missing in (0.0, 100.0, math.nan):
            given = torch.where(observed, x, missing)
            # of a single entry a sign's product is the trace
            ours = loss(denoiser.given(observed=observed), given, t=t, eps=eps, noise=Stream(0)).detach()
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", [explicit_loss, sliced_loss])
def test_the_losses_draw_what_the_loss_draws(loss):
    denoiser, x = mixture(LinearGamma()), draw(4, 2)
    for make in (lambda: Stream(0), lambda: PerSample(range(4))):
        assert torch.equal(loss(denoiser, x, noise=make()), loss(denoiser, x, noise=make()))
    with torch.no_grad():
        assert not loss(denoiser, x, noise=Stream(0)).requires_grad


def test_images_of_single_precision():
    """Three axes, float32, and a network of the library's."""
    score = lambda x: torch.tanh(x.flip(-1)) - x  # noqa: E731
    x = draw(3, 1, 4, 5).float()
    values = explicit(score, x)
    jacobian = torch.autograd.functional.jacobian(lambda one: score(one[None])[0].flatten(), x[0])
    trace = jacobian.reshape(20, 20).trace()
    torch.testing.assert_close(values[0], trace + 0.5 * score(x[:1]).square().sum())
    assert sliced(score, x, Stream(0)).dtype == torch.float32
    denoiser = NetworkDenoiser(MLP(2, width=8, depth=1), LinearGamma(), (2,), "v")
    explicit_loss(denoiser, draw(4, 2).float(), noise=Stream(0)).sum().backward()
    assert denoiser.network.out.weight.grad.abs().sum() > 0


def test_impossible_requests_are_refused():
    x = draw(3, 2)
    for blind in (torch.zeros_like, lambda x: x.detach() * torch.ones(2, requires_grad=True)):
        with pytest.raises(InputError, match="does not depend on x"):
            explicit(blind, x)
    with pytest.raises(InputError, match="give 1 or more"):
        sliced(wrong, x, Stream(0), num_probes=0)
    with pytest.raises(InputError, match="choose one of signs, normal"):
        sliced(wrong, x, Stream(0), probes="uniform")
    denoiser = mixture(LinearGamma())
    for loss in (explicit_loss, sliced_loss):
        with pytest.raises(InputError, match="noise=Stream"):
            loss(denoiser, x)
    with pytest.raises(InputError, match="noise=Stream"):
        sliced_loss(denoiser, x, t=double([0.1] * 3), eps=x)
