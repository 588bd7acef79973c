"""Energies: one scalar, and the denoiser that is its gradient."""

import math

import pytest
import torch
from oracles import EVERY_SCHEDULE, double, draw, gaussian, make_schedule
from torch import nn

from lowerbound import objective
from lowerbound.denoiser.exact import Empirical, Gaussian
from lowerbound.errors import InputError
from lowerbound.guidance import AutoGuidance, ClassifierFree
from lowerbound.inverse import MMPS, Mask, PiGDM, Replacement, posterior_sample
from lowerbound.langevin import AnnealedLangevin, EnergyDenoiser
from lowerbound.levels import level_centres
from lowerbound.likelihood import GaussianDecoder, elbo, log_prob
from lowerbound.nn import MLP, UNet
from lowerbound.rng import Stream
from lowerbound.samplers import sample
from lowerbound.sampling import SAMPLERS
from lowerbound.schedule import LinearGamma
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.score_matching import explicit_loss

SIGMA_DATA = 0.7
TIMES = double([0.01, 0.4, 0.99])


class Small(nn.Module):
    """A network that is not linear, nor the same at every level and for every condition."""

    def __init__(self, dim=2):
        super().__init__()
        self.layer = nn.Linear(dim, dim).double()
        nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, x, gamma, cond):
        shift = torch.sin(gamma)[:, None] + (0.0 if cond is None else cond.nan_to_num())
        return torch.tanh(self.layer(x) + shift)


def small(schedule=None, network=None):
    return EnergyDenoiser(network or Small(), schedule or LinearGamma(-6.0, 5.0), (2,), SIGMA_DATA)


def noisy(schedule, t, x, eps):
    alpha, sigma = schedule(t)
    return alpha[:, None] * x + sigma[:, None] * eps


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_the_score_is_minus_the_energys_gradient(name, scaling):
    denoiser = small(make_schedule(name, scaling))
    x_t = draw(3, 2)
    differences = []
    for unit in torch.eye(2, dtype=torch.float64):
        step = 1e-6 * denoiser.schedule(TIMES)[1][:, None] * unit
        up, down = (denoiser.energy(x_t + sign * step, TIMES) for sign in (1, -1))
        differences.append((up - down) / (2e-6))  # in units of 1 / sigma
    sigma = denoiser.schedule(TIMES)[1][:, None]
    gradient = torch.stack(differences, 1)
    size = 1 + gradient.abs()
    assert ((denoiser(x_t, TIMES).score * sigma + gradient) / size).abs().max() < 1e-4
    assert torch.equal(denoiser.log_density(x_t, TIMES), -denoiser.energy(x_t, TIMES))


def test_a_prediction_does_not_depend_on_the_scaling_nor_the_density_on_its_units():
    network, (x, eps) = Small(), draw(2, 3, 2)
    predictions, densities = [], []
    for scaling in SCALINGS:
        denoiser = small(make_schedule("cosine", scaling), network)
        x_t = noisy(denoiser.schedule, TIMES, x, eps)
        predictions.append(denoiser(x_t, TIMES))
        densities.append(denoiser.log_density(x_t, TIMES) + 2 * denoiser.schedule(TIMES)[0].log())
    for prediction, density in zip(predictions[1:], densities[1:], strict=True):
        for view in ("x", "eps", "v"):
            torch.testing.assert_close(getattr(prediction, view), getattr(predictions[0], view), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(density, densities[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_untrained_it_is_the_normalised_gaussian(scaling):
    schedule = make_schedule("cosine", scaling)
    denoiser = small(schedule, MLP(2, width=8, depth=1).double())
    x_t = noisy(schedule, TIMES, *draw(2, 3, 2))
    alpha, sigma = (c[:, None] for c in schedule(TIMES))
    variance = alpha**2 * SIGMA_DATA**2 + sigma**2
    exact = torch.distributions.Normal(torch.zeros_like(variance), variance.sqrt()).log_prob(x_t).sum(1)
    torch.testing.assert_close(denoiser.log_density(x_t, TIMES), exact, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(denoiser(x_t, TIMES).x, alpha * SIGMA_DATA**2 / variance * x_t, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_untrained_it_knows_the_levels_of_discrete_data(scaling):
    K, schedule = 3, LinearGamma(-6.0, 5.0, SCALINGS[scaling])
    denoiser = EnergyDenoiser(MLP(2, width=8, depth=1).double(), schedule, (2,), SIGMA_DATA, num_levels=K)
    levels = level_centres(torch.arange(K), K).double()
    exact = Empirical(torch.cartesian_prod(levels, levels), schedule)
    x_t = noisy(schedule, TIMES, *draw(2, 3, 2))
    torch.testing.assert_close(denoiser(x_t, TIMES).x, exact(x_t, TIMES).x, rtol=1e-7, atol=1e-7)
    alpha, sigma = (c[:, None, None] for c in schedule(TIMES))
    entries = torch.distributions.Normal(alpha * levels, sigma).log_prob(x_t[..., None]).exp().mean(-1).log().sum(1)
    torch.testing.assert_close(denoiser.log_density(x_t, TIMES), entries, rtol=1e-9, atol=1e-9)


class Quadratic(nn.Module):
    r"""The network whose energy is that of data N(0, v)."""

    def __init__(self, v=1.0):
        super().__init__()
        self.v = v

    def forward(self, x, gamma, cond):
        r2 = torch.exp(gamma)[:, None]
        return torch.sqrt(r2) / (2 * SIGMA_DATA) * (SIGMA_DATA**2 - self.v) / (self.v + r2) * x


def test_it_denoises_gaussian_data_as_the_closed_form():
    """Predictions, the flow's density, and samples: everything that a denoiser is for works on it."""
    exact = gaussian(LinearGamma(-6.0, 5.0))
    v = 0.3
    exact = type(exact)(double([0.0, 0.0]), v * torch.eye(2, dtype=torch.float64), exact.schedule)
    denoiser = small(exact.schedule, Quadratic(v))
    x = draw(4, 2)
    for t in (0.0, 0.5, 1.0):
        with torch.no_grad():
            ours = denoiser(x, t)
        assert not ours.x.requires_grad
        torch.testing.assert_close(ours.x, exact(x, t).x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_prob(denoiser, x).nats, log_prob(exact, x).nats, rtol=1e-6, atol=1e-6)
    one, other = (elbo(each, GaussianDecoder(), x, noise=Stream(0), num_times=2).nats for each in (denoiser, exact))
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def energy_and_closed_form(v=0.3):
    """The same Gaussian data twice: as an energy, and in closed form."""
    schedule = LinearGamma(-6.0, 5.0)
    exact = Gaussian(double([0.0, 0.0]), v * torch.eye(2, dtype=torch.float64), schedule)
    return small(schedule, Quadratic(v)), exact


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_works_on_an_energy(name):
    times = torch.linspace(1, 0, 4, dtype=torch.float64)
    sampler = AnnealedLangevin(num_corrections=3) if name == "annealed-langevin" else SAMPLERS[name]
    one, other = (sample(each, sampler, draw(4, 2), times, Stream(0)) for each in energy_and_closed_form())
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_guidance_works_on_an_energy():
    """Of energies that know no condition, guidance of any kind and scale leads nowhere else."""
    denoiser, exact = energy_and_closed_form()
    x, cond, level = draw(4, 2), double([[1.0], [2.0], [0.5], [-1.0]]), denoiser.schedule.level_at(0.3)
    for guided in (ClassifierFree(denoiser, 3.0), AutoGuidance(denoiser, denoiser, 2.0)):
        with torch.no_grad():
            torch.testing.assert_close(guided(x, level, cond).x, exact(x, level).x, rtol=1e-9, atol=1e-9)
    conditional = small()
    with torch.no_grad():
        free, given = conditional(x, level).x, conditional(x, level, cond).x
        assert not torch.allclose(free, given)
        guided = ClassifierFree(conditional, 3.0)(x, level, cond).x
    torch.testing.assert_close(guided, free + 3 * (given - free))


@pytest.mark.parametrize("method", [PiGDM(), MMPS(), Replacement()], ids=lambda method: type(method).__name__)
def test_posteriors_work_on_an_energy(method):
    """Which differentiate a prediction that is a gradient itself."""
    operator = Mask(torch.tensor([True, False]))
    times = torch.linspace(1, 0, 4, dtype=torch.float64)
    y = draw(4, 2)
    one, other = (
        posterior_sample(method, each, operator, y, 0.1, times, Stream(0)) for each in energy_and_closed_form()
    )
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_the_jacobian_is_symmetric_by_every_kind_of_differentiation():
    """Forward over reverse, reverse over reverse, and the gradient of a loss of these in the parameters."""
    denoiser, x_t = small(), draw(1, 2)

    def score(x_t):
        return denoiser(x_t, 0.3).score

    reverse = torch.autograd.functional.jacobian(score, x_t).squeeze()
    forward = torch.stack(
        [torch.func.jvp(score, (x_t,), (unit[None],))[1][0] for unit in torch.eye(2, dtype=torch.float64)], 1
    )
    assert reverse.abs().max() > 0.1
    torch.testing.assert_close(reverse, reverse.T, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(forward, reverse, rtol=1e-9, atol=1e-9)
    x_t.requires_grad_()
    (slope,) = torch.autograd.grad(score(x_t).square().sum(), x_t, create_graph=True)
    slope.square().sum().backward()
    assert denoiser.network.layer.weight.grad.abs().max() > 0


def test_a_unet_with_attention_and_conditions_trains():
    network = UNet(1, 2, width=8, multipliers=(1, 2), blocks_per_level=1, num_classes=3)
    denoiser = EnergyDenoiser(network, LinearGamma(), (1, 5, 4))
    x, noise = torch.randn(4, 1, 5, 4, generator=torch.Generator().manual_seed(0)), Stream(0)
    cond = torch.tensor([0, 1, 2, -1])
    optimizer = torch.optim.Adam(denoiser.parameters(), 1e-2)
    for _ in range(3):  # the blocks' outputs, and what lies before them, start to move one step after another
        optimizer.zero_grad()
        objective.loss(denoiser.given(cond), x, noise=noise).mean().backward()
        optimizer.step()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(parameter.grad.abs().max() > 0 for name, parameter in network.named_parameters() if "trunk" in name)
    with torch.no_grad():
        energies = [denoiser.energy(x, 0.5, label) for label in (cond, cond.roll(1))]
    assert not torch.equal(*energies)


@pytest.mark.parametrize("loss", [objective.loss, explicit_loss])
def test_losses_have_the_gradient_that_they_should_have(loss):
    """In every parameter: the second and third derivatives that energies need of all that a network is made of."""
    torch.manual_seed(0)
    network = MLP(2, width=8, depth=1).double()
    unet = UNet(2, 1, width=8, multipliers=(1, 2), blocks_per_level=1).double()
    for denoiser, x in (
        (EnergyDenoiser(network, LinearGamma(-4.0, 3.0), (2,)), draw(6, 2)),
        (EnergyDenoiser(unet, LinearGamma(-4.0, 3.0), (2, 3)), draw(4, 2, 3)),
    ):
        parameters = list(denoiser.parameters())
        directions = [draw(*parameter.shape, seed=i) for i, parameter in enumerate(parameters)]

        def value(step, denoiser=denoiser, x=x, parameters=parameters, directions=directions):
            with torch.no_grad():
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter.add_(direction, alpha=step)
            return loss(denoiser, x, noise=Stream(0)).mean()

        gradients = torch.autograd.grad(value(0.1), parameters, allow_unused=True)
        ours = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
        step = 1e-5
        numeric = (value(step).item() - value(-2 * step).item()) / (2 * step)
        assert ours.item() == pytest.approx(numeric, rel=1e-5, abs=1e-6)


def test_observed_entries_alone_are_looked_at():
    observed = torch.tensor([[True, False], [False, True]])
    denoiser, x_t = small(), draw(2, 2)
    one, other = (denoiser(torch.where(observed, x_t, value), 0.5, observed=observed).x for value in (1.0, math.nan))
    assert torch.equal(one, other)


def test_impossible_arguments_are_refused():
    with pytest.raises(InputError, match="sigma_data"):
        EnergyDenoiser(Small(), LinearGamma(), (2,), 0.0)
    with pytest.raises(InputError, match="levels"):
        EnergyDenoiser(Small(), LinearGamma(), (2,), num_levels=1)
