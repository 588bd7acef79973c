"""Contrastive divergence: its gradient where the negatives are exact, and where it ends where they are not."""

import math

import pytest
import torch
from oracles import Known, double, draw, sigma_points
from torch import nn

from lowerbound.errors import InputError
from lowerbound.langevin import EnergyDenoiser
from lowerbound.langevin.contrastive import ContrastiveDivergence, PersistentChains
from lowerbound.rng import Stream
from lowerbound.schedule import LinearGamma
from lowerbound.times import antithetic_times

SIGMA_DATA = 0.7


class Variance(nn.Module):
    """The network of which the energy is that of data N(0, v) with noise, log v being a parameter."""

    def __init__(self, v):
        super().__init__()
        self.log_v = nn.Parameter(double(math.log(v)))

    def forward(self, x, gamma, cond):
        r, v = torch.exp(gamma / 2)[:, None], self.log_v.exp()
        return r / (2 * SIGMA_DATA) * (SIGMA_DATA**2 - v) / (v + r**2) * x


def family(v):
    """Data N(0, v) in the plane; energies without the normaliser, which depends on v."""
    return EnergyDenoiser(Variance(v), LinearGamma(-4.0, 3.0), (2,), SIGMA_DATA)


def test_the_network_is_the_gaussian_it_should_be():
    denoiser, x_t = family(0.3), draw(5, 2)
    for t in (0.0, 0.5, 1.0):
        level = denoiser.schedule.level(t)
        exact = 0.5 * x_t.square().sum(1) / (level.alpha**2 * 0.3 + level.sigma**2)
        ours = denoiser.energy(x_t, t)
        torch.testing.assert_close(ours - ours[0], exact - exact[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("t", [0.0, 0.4, 0.8])
def test_with_exact_negatives_the_gradient_is_that_of_the_likelihood(t):
    """Sigma points stand for data and model, whose expectations of a quadratic energy they give exactly."""
    data_v, model_v = 0.5, 0.2
    denoiser, points = family(model_v), sigma_points(2)
    level = denoiser.schedule.level(t)
    data, model = (level.alpha**2 * v + level.sigma**2 for v in (data_v, model_v))

    chains = PersistentChains((2,), len(points), Stream(0), restart=0.0)
    scale = level.alpha**2 * SIGMA_DATA**2 + level.sigma**2
    # a chain for each example, all at the level of t; no draw, and no step is accepted: the chains stay at the exact model
    still = Known(normal=[torch.zeros(1, 1, dtype=torch.float64)], uniform=[double(1.0)])
    chains.move = lambda denoiser, x_t, *rest: x_t
    chains.states = chains.states.double()
    times = torch.full((1,), t, dtype=torch.float64)
    total = 0.0
    for point in points:
        chains.states[:] = point * math.sqrt(model / scale)
        x = point[None] * math.sqrt(data) / level.alpha
        total = total + chains(denoiser, x, t=times, eps=torch.zeros_like(x), noise=still).sum() / len(points)
    total.backward()
    ours = denoiser.network.log_v.grad

    log_v = double(math.log(model_v)).requires_grad_()
    variance = level.alpha**2 * log_v.exp() + level.sigma**2
    (2 * (0.5 * data / variance + 0.5 * variance.log())).backward()
    torch.testing.assert_close(ours, log_v.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ContrastiveDivergence(num_steps=1),
        lambda: ContrastiveDivergence(num_steps=3, step_size=1.0),
        lambda: PersistentChains((2,), 256, Stream(1), num_steps=2, step_size=1.0, restart=0.0).double(),
    ],
    ids=["CD-1", "CD-3", "persistent"],
)
def test_it_learns_the_variance_of_gaussian_data(make):
    denoiser, noise, objective = family(0.8), Stream(0), make()
    optimizer = torch.optim.Adam(denoiser.parameters(), 0.1)
    late = []
    for step in range(80):
        x = math.sqrt(0.3) * noise.normal(torch.empty(128, 2, dtype=torch.float64))
        optimizer.zero_grad()
        objective(denoiser, x, noise=noise).mean().backward()
        optimizer.step()
        if step >= 40:
            late.append(denoiser.network.log_v.item())
    assert math.exp(sum(late) / len(late)) == pytest.approx(0.3, rel=0.1)


def test_at_the_right_model_short_chains_have_no_bias():
    """The Metropolis step keeps the model as it is: the mean gradient of CD-1 with long steps is zero within its error."""
    denoiser, noise = family(0.3), Stream(0)
    x = math.sqrt(0.3) * noise.normal(torch.empty(40_000, 2, dtype=torch.float64))
    losses = ContrastiveDivergence(num_steps=1, step_size=1.5)(denoiser, x, noise=noise)
    # energies are quadratic, so that a bias of the negatives would show in the energies themselves
    assert abs(losses.mean()) < 4 * losses.std() / math.sqrt(len(losses))


def test_regularisation_adds_the_squares_of_both_energies():
    denoiser, x = family(0.5), draw(4, 2)
    plain, more = (ContrastiveDivergence(regularisation=r)(denoiser, x, noise=Stream(0)) for r in (0.0, 0.1))
    noise = Stream(0)
    t = antithetic_times(noise.uniform(x.new_empty(4, 1))[0, 0], 4)
    level = denoiser.schedule.level(t)
    x_t = level.alpha[:, None] * x + level.sigma[:, None] * noise.normal(x)
    energy = denoiser.energy(x_t, level)
    expected = 0.1 * (energy**2 + (energy - plain) ** 2)
    torch.testing.assert_close(more - plain, expected, rtol=1e-9, atol=1e-9)


def test_the_gradient_passes_through_energies_only():
    denoiser, x = family(0.5), draw(4, 2).requires_grad_()
    loss = ContrastiveDivergence(num_steps=2)(denoiser, x.detach(), noise=Stream(0)).sum()
    (gradient,) = torch.autograd.grad(loss, denoiser.network.log_v)
    assert gradient.isfinite()


def test_chains_are_saved_and_go_on():
    chains = PersistentChains((2,), 8, Stream(0))
    assert list(chains.state_dict()) == ["states"]
    before, denoiser = chains.states.clone(), family(0.5)
    chains(denoiser, draw(4, 2), t=double([0.05, 0.3, 0.55, 0.8]), noise=Stream(1))
    moved = (chains.states != before).any(1)
    assert moved.tolist() == [True, False, True, False, True, False, True, False]


def test_unobserved_entries_do_not_count():
    denoiser, observed = family(0.5), torch.tensor([[True, False]]).expand(4, 2)
    x = draw(4, 2)
    for make in (ContrastiveDivergence, lambda: PersistentChains((2,), 4, Stream(3)).double()):
        one, other = (
            make()(denoiser.given(observed=observed), torch.where(observed, x, value), noise=Stream(0))
            for value in (0.0, math.nan)
        )
        assert torch.equal(one, other)
        assert one.isfinite().all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ContrastiveDivergence(num_steps=0),
        lambda: ContrastiveDivergence(step_size=0.0),
        lambda: ContrastiveDivergence(regularisation=-1.0),
        lambda: PersistentChains((2,), 0, Stream(0)),
        lambda: PersistentChains((2,), 4, Stream(0), restart=1.5),
        lambda: PersistentChains((2,), 4, Stream(0))(
            family(0.5).given(torch.zeros(2, dtype=torch.int64)), draw(2, 2), noise=Stream(0)
        ),
    ],
)
def test_impossible_arguments_are_refused(make):
    with pytest.raises(InputError):
        make()
