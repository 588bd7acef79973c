"""Denoisers: one prediction, many views of it, whatever the network was trained to output."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import EVERY_SCHEDULE, Known, double, draw, make_schedule, mixture
from torch import nn

from lowerbound.denoiser import TARGETS, NetworkDenoiser, Prediction
from lowerbound.errors import InputError
from lowerbound.likelihood import elbo
from lowerbound.likelihood.decoder import GaussianDecoder
from lowerbound.reverse import reverse_variance
from lowerbound.schedule import CLEAN, LinearGamma
from lowerbound.schedule.scaling import SCALINGS

NUM_STEPS = 20
SIGMA_DATA = 0.7


class Answer(nn.Module):
    """A network that outputs what it is told and remembers what it was given."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x, gamma, cond):
        self.given = (x, gamma, cond)
        return self.output.expand_as(x)


def slopes(schedule, t):
    """The derivatives of alpha and sigma, by differentiation of the schedule itself."""
    return torch.func.jvp(schedule, (t,), (torch.ones_like(t),))[1]


def true_target(target, schedule, t, x, eps):
    """What the network should output, by each target's definition, for x and eps of shape (B, D) and t (B,)."""
    alpha, sigma = (c[:, None] for c in schedule(t))
    x_t = alpha * x + sigma * eps
    match target:
        case "x":
            return x
        case "eps":
            return eps
        case "v":
            norm = torch.sqrt(alpha**2 + sigma**2)
            return alpha / norm * eps - sigma / norm * x
        case "score":
            return -(x_t - alpha * x) / sigma**2
        case "velocity":
            alpha_slope, sigma_slope = (c[:, None] for c in slopes(schedule, t))
            return alpha_slope * x + sigma_slope * eps
        case "mu":
            before = t - 1 / NUM_STEPS
            alpha_s, sigma_s = (c[:, None] for c in schedule(before.clamp(min=0)))
            data = (before < -1e-9)[:, None]
            alpha_s, sigma_s = torch.where(data, 1.0, alpha_s), torch.where(data, 0.0, sigma_s)
            kept = alpha / alpha_s
            return (kept * sigma_s**2 * x_t + alpha_s * (sigma**2 - kept**2 * sigma_s**2) * x) / sigma**2
        case "edm":
            c_skip, c_out, _ = paper.edm_preconditioning(sigma / alpha, SIGMA_DATA)
            return (x - c_skip * x_t / alpha) / c_out


def make_denoiser(target, schedule, network=None, shape=(3,)):
    num_steps = NUM_STEPS if target == "mu" else None
    return NetworkDenoiser(network or Answer(None), schedule, shape, target, SIGMA_DATA, num_steps)


def noisy(schedule, t, x, eps):
    alpha, sigma = schedule(t)
    return alpha[:, None] * x + sigma[:, None] * eps


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_the_true_output_gives_back_the_data(name, scaling, target):
    schedule = make_schedule(name, scaling)
    # for mu: the data's end, below the first level, on the chain's own times, between them, and the noise's end
    t = double([0.0, 0.4 / NUM_STEPS, 1 / NUM_STEPS, 1 - (NUM_STEPS - 1) / NUM_STEPS, 0.3, 0.51234, 0.95, 1.0])
    x, eps = draw(2, len(t), 3)
    denoiser = make_denoiser(target, schedule)
    denoiser.network.output = true_target(target, schedule, t, x, eps)
    prediction = denoiser(noisy(schedule, t, x, eps), t)
    scale = torch.exp(schedule.gamma(t) / 2)[:, None].clamp(min=1)
    assert ((prediction.x - x) / scale).abs().max() < 1e-8


@pytest.mark.parametrize("target", TARGETS)
def test_one_number_for_the_batch_is_the_same_as_many(target):
    schedule = make_schedule("cosine", "rectified-flow")
    x_t, output = draw(2, 4, 3)
    denoiser = make_denoiser(target, schedule, Answer(output))
    for time in (0.0, 0.03, 1 / NUM_STEPS, 0.5, 1.0):
        number, level, batch = (
            denoiser(x_t, t) for t in (time, schedule.level(time), torch.full((4,), time, dtype=torch.float64))
        )
        for view in ("x", "eps", "v", "score", "velocity"):
            assert torch.equal(getattr(number, view), getattr(level, view))
            torch.testing.assert_close(getattr(number, view), getattr(batch, view), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_views_are_their_definitions(name, scaling):
    schedule = make_schedule(name, scaling)
    t = double([0.0101, 0.25, 0.5, 0.751, 0.99])
    x, eps = draw(2, len(t), 3)
    prediction = Prediction(noisy(schedule, t, x, eps), schedule.level(t), x, schedule)
    size = 1 + torch.exp(-schedule.gamma(t) / 2)[:, None]  # eps is a difference divided by sigma
    for view in ("eps", "v", "score", "velocity"):
        expected = true_target(view, schedule, t, x, eps)
        torch.testing.assert_close(getattr(prediction, view) / size, expected / size, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_velocity_is_the_time_derivative_of_the_path(scaling):
    schedule = make_schedule("cosine", scaling)
    t, step = double([0.2, 0.5, 0.8]), 1e-6
    x, eps = draw(2, len(t), 3)
    prediction = Prediction(noisy(schedule, t, x, eps), schedule.level(t), x, schedule)
    difference = (noisy(schedule, t + step, x, eps) - noisy(schedule, t - step, x, eps)) / (2 * step)
    torch.testing.assert_close(prediction.velocity, difference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_score_is_the_gradient_of_the_log_density(name, scaling):
    denoiser = mixture(make_schedule(name, scaling))
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    x = denoiser.means[[0, 1, 2] * 3] + 0.2 * draw(9, 2)
    x_t = noisy(denoiser.schedule, t, x, draw(9, 2, seed=1)).requires_grad_()
    (gradient,) = torch.autograd.grad(denoiser.log_marginal(x_t, t).sum(), x_t)
    sigma = denoiser.schedule(t)[1][:, None]
    torch.testing.assert_close(denoiser(x_t.detach(), t).score * sigma, gradient * sigma, rtol=1e-7, atol=1e-7)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3).double()

    def forward(self, x, gamma, cond):
        return self.layer(x) + torch.sin(gamma)[:, None]


@pytest.mark.parametrize("target", ["x", "eps", "v", "edm"])
def test_a_prediction_does_not_depend_on_the_scaling(target):
    """Of the targets that are not themselves in units of x_t."""
    network, t = Small(), double([0.01, 0.4, 0.99])
    x, eps = draw(2, 3, 3)
    predictions = []
    for scaling in SCALINGS:
        schedule = make_schedule("cosine", scaling)
        predictions.append(make_denoiser(target, schedule, network)(noisy(schedule, t, x, eps), t))
    for other in predictions[1:]:
        for view in ("x", "eps", "v"):
            torch.testing.assert_close(getattr(other, view), getattr(predictions[0], view), rtol=1e-9, atol=1e-9)


def test_exact_predictions_do_not_depend_on_the_scaling():
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    x, eps = draw(2, 5, 2)
    one, *others = (
        mixture(schedule)(noisy(schedule, t, x, eps), t)
        for schedule in (make_schedule("linear gamma", scaling) for scaling in SCALINGS)
    )
    for other in others:
        torch.testing.assert_close(other.x, one.x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other.x_var, one.x_var, rtol=1e-7, atol=1e-12)


def test_edm_preconditioning_is_karras():
    schedule = make_schedule("EDM", "variance-exploding")
    t, x_t, output = double([0.0, 0.5, 1.0]), draw(3, 3), draw(3, 3, seed=1)
    denoiser = make_denoiser("edm", schedule, Answer(output))
    sigma = schedule(t)[1][:, None].numpy()
    c_skip, c_out, c_in = paper.edm_preconditioning(sigma, SIGMA_DATA)
    ours = denoiser(x_t, t).x
    np.testing.assert_allclose(ours.numpy(), c_skip * x_t.numpy() + c_out * output.numpy(), rtol=1e-12)
    np.testing.assert_allclose(denoiser.network.given[0].numpy(), c_in * x_t.numpy(), rtol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_network_sees_unit_variance_gamma_and_the_condition_itself(scaling):
    schedule = make_schedule("cosine", scaling)
    denoiser = make_denoiser("eps", schedule, Answer(torch.zeros(1)), shape=(2, 50, 50))
    x, eps = SIGMA_DATA * draw(3, 2, 50, 50), draw(3, 2, 50, 50, seed=1)
    for cond in (None, torch.tensor([0, -1, 2]), torch.full((3, 4), math.nan)):
        for t in (0.0, 0.5, 1.0):
            level = schedule.level(t)
            denoiser((level.alpha * x + level.sigma * eps).float(), t, cond)
            given, gamma, passed = denoiser.network.given
            assert passed is cond
            assert gamma.tolist() == pytest.approx([level.gamma] * 3, rel=1e-6)
            assert gamma.dtype == given.dtype == torch.float32
            torch.testing.assert_close(given.std(dim=(1, 2, 3)), torch.ones(3), rtol=0.05, atol=0)


def test_unobserved_entries_are_never_looked_at():
    schedule = LinearGamma()
    observed = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    x_t = draw(4, 2)
    network = nn.Linear(2, 2).double()
    denoisers = [mixture(schedule), NetworkDenoiser(Through(network), schedule, (2,))]
    for denoiser in denoisers:
        reference = denoiser(x_t, 0.5, observed=observed)
        for other in (7.0, math.nan, math.inf):
            changed = denoiser(torch.where(observed, x_t, other), 0.5, observed=observed)
            for view in ("x", "eps", "v", "score", "velocity"):
                assert torch.equal(getattr(changed, view), getattr(reference, view))


class Through(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, gamma, cond):
        return self.layer(x)


def test_gradients_reach_the_network_and_a_learned_time():
    schedule, network = LinearGamma(), Small()
    t = double([0.2, 0.7]).requires_grad_()
    for target in TARGETS:
        make_denoiser(target, schedule, network)(draw(2, 3), t).x.square().sum().backward()
        assert t.grad.isfinite().all()
        assert network.layer.weight.grad.isfinite().all()


def test_mu_ends_at_the_data_below_the_first_level():
    denoiser = make_denoiser("mu", LinearGamma(), Answer(draw(1, 3)))
    for t in (0.0, 0.5 / NUM_STEPS):
        assert denoiser._below(denoiser.schedule.level(t)) == CLEAN
    for step in range(1, NUM_STEPS + 1):
        for t in (step / NUM_STEPS, 1 - (NUM_STEPS - step) / NUM_STEPS):
            s = denoiser._below(denoiser.schedule.level(t))
            assert s.t == pytest.approx((step - 1) / NUM_STEPS, abs=1e-12)
            assert math.isfinite(s.gamma)


class Twice(nn.Module):
    """A network whose output has a second half, and which counts its calls."""

    def __init__(self, first, second):
        super().__init__()
        self.output, self.calls = torch.cat([first, second], 1), 0

    def forward(self, x, gamma, cond):
        self.calls += 1
        return self.output


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5)])
@pytest.mark.parametrize("target", TARGETS)
def test_the_second_half_of_the_output_is_the_mix_of_variances(target, shape):
    schedule, t, s = LinearGamma(), double([0.3, 0.8]), double([0.2, 0.7])
    x_t, output, mix = draw(3, 2, *shape)
    num_steps = NUM_STEPS if target == "mu" else None
    network = Twice(output, mix)
    denoiser = NetworkDenoiser(network, schedule, shape, target, SIGMA_DATA, num_steps, learned_variance=True)
    prediction = denoiser(x_t, t)
    plain = NetworkDenoiser(Answer(output), schedule, shape, target, SIGMA_DATA, num_steps)(x_t, t)
    assert torch.equal(prediction.x, plain.x)
    assert torch.equal(prediction.variance_mix, mix)
    assert plain.variance_mix is None
    assert network.calls == 1

    levels = schedule.level(t), schedule.level(s)
    for kind, given in (("lower", {}), ("upper", {}), ("learned", {"variance_mix": mix})):
        assert torch.equal(prediction.reverse_variance(kind, levels[1]), reverse_variance(kind, *levels, **given))
    with pytest.raises(InputError, match="trained to give it"):
        plain.reverse_variance("learned", levels[1])


def test_the_analytic_variance_is_that_of_the_predictions_own_spread():
    denoiser = mixture(LinearGamma())
    t, s = denoiser.schedule.levels(double([0.5, 0.4]))
    prediction = denoiser(draw(3, 2), t)
    expected = reverse_variance("analytic", t, s, prediction.x_var)
    assert torch.equal(prediction.reverse_variance("analytic", s), expected)


def test_a_bound_needs_no_network_call_that_the_decoder_does_not_use():
    """One call for each step, none for the reconstruction by a decoder without network."""
    network, calls = Answer(torch.zeros(1, dtype=torch.float64)), []
    network.register_forward_hook(lambda *_: calls.append(1))
    denoiser = NetworkDenoiser(network, LinearGamma(), (3,))
    elbo(denoiser, GaussianDecoder(), draw(2, 3), double([0.0, 0.5, 1.0]), noise=Known([draw(2, 3)]))
    assert len(calls) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": "noise"},
        {"target": "mu"},
        {"target": "mu", "num_steps": 0},
        {"target": "eps", "num_steps": 10},
        {"sigma_data": 0.0},
        {"sigma_data": math.nan},
    ],
)
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(InputError):
        NetworkDenoiser(Small(), LinearGamma(), (3,), **arguments)


def test_the_wrong_shape_is_refused():
    with pytest.raises(InputError, match=r"\(batch, 3\)"):
        make_denoiser("eps", LinearGamma(), Small())(draw(2, 4), 0.5)
