"""A Gaussian of windows beneath a network: the exact posterior of whatever is given, and a bound that is its density."""

import pytest
import torch

from lowerbound import Effort, Gaussian, LinearGamma, Stream
from lowerbound.data.series.windows import SeriesSpec
from lowerbound.denoiser import FittedWindows, NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.likelihood import GaussianDecoder
from lowerbound.models import Diffusion
from lowerbound.nn import UNet

SHAPE, HORIZON = (2, 4), 2
SCHEDULE = LinearGamma(-12.0, 6.0)


@pytest.fixture(scope="module")
def moments():
    noise = Stream(3)
    roots = noise.normal(torch.empty(8, 8, dtype=torch.float64))
    return noise.normal(torch.empty(1, 8, dtype=torch.float64))[0], roots @ roots.T / 8 + 0.05 * torch.eye(8).double()


@pytest.fixture
def silent(moments):
    """A network that says nothing yet, upon the Gaussian."""
    fitted = FittedWindows(SHAPE, HORIZON).fit(*moments)
    network = UNet(2, 1, width=4, multipliers=(1,), num_given=2, takes_observed=True).double()
    return NetworkDenoiser(network, SCHEDULE, SHAPE, mixture=fitted).eval()


def masks() -> dict[str, torch.Tensor]:
    """Which of the entries are known (1), noisy (0) and missing (-1)."""
    history = (torch.arange(4) < 2).long().expand(SHAPE)
    some = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 0]])
    gaps = torch.tensor([[1, -1, 0, 0], [-1, 1, 0, -1]])
    return {"nothing": torch.zeros(SHAPE).long(), "history": history, "some": some, "gaps": gaps}


def given(x, kind):
    """The condition that says what is known, and which entries are there beside it."""
    return SeriesSpec(("a", "b"), HORIZON).condition_of(x, kind.expand(x.shape) == 1), kind.expand(x.shape) == 0


@pytest.mark.parametrize("kind", masks().values(), ids=masks())
def test_it_is_the_posterior_of_what_is_noisy(silent, moments, kind):
    """Beside `Gaussian.posterior`, given the known entries, another way to the same."""
    data = Gaussian(*moments, SCHEDULE)
    x = data.sample(5, Stream(0))
    t = torch.linspace(0.05, 0.95, 5).double()
    level = SCHEDULE.level(t)
    x_t = level.alpha[:, None] * x + level.sigma[:, None] * Stream(1).normal(x)
    rows = x.reshape(5, *SHAPE)
    cond, observed = given(rows, kind)
    # what is known in x_t, or missing, is never looked at
    x_t_seen = torch.where(observed, x_t.reshape(rows.shape), 1e3)
    found = silent(x_t_seen, t, cond, observed).x
    known = kind.flatten() == 1
    for row in range(5):
        left = data.posterior(torch.eye(8).double()[known], x[row, known], 0.0) if known.any() else data
        exact = left(x_t[row : row + 1], t[row : row + 1], observed=observed[:1].flatten(1)).x
        noisy = observed[0].flatten()
        assert (found[row].flatten() - exact[0])[noisy].abs().max() < 1e-6


@pytest.mark.parametrize("kind", masks().values(), ids=masks())
def test_a_silent_network_s_bound_is_the_conditional_density(silent, moments, kind):
    data = Gaussian(*moments, SCHEDULE)
    x = data.sample(30, Stream(5))
    cond, observed = given(x.reshape(30, *SHAPE), kind)
    bound = (
        Diffusion(silent, GaussianDecoder()).given(cond, observed).elbo(x.reshape(30, *SHAPE), Stream(0), Effort(100))
    )
    there = (kind != -1).flatten().expand(30, 8)
    exact = data.log_marginal(x, 0.0, there) - data.log_marginal(x, 0.0, (kind == 1).flatten().expand(30, 8))
    difference = bound.nats - exact
    error = difference.std() / 30**0.5
    assert error < 0.4
    assert difference.mean().abs() < 2 * error + 0.02  # which is what the finite ends of gamma leave


@pytest.mark.parametrize("num_levels", [1, 3, 12])
def test_rows_do_not_depend_on_those_beside_them(silent, moments, num_levels):
    """However many of them have the same entries, or the same noise: what is factorised is shared in ways of its own."""
    kinds = [*masks().values()] * 12
    x = Gaussian(*moments, SCHEDULE).sample(len(kinds), Stream(2)).reshape(-1, *SHAPE)
    t = torch.linspace(0.1, 0.9, num_levels).double().repeat_interleave(48 // num_levels)
    cond, observed = (torch.cat(parts) for parts in zip(*map(given, x.split(1), kinds), strict=True))
    together = silent(x, t, cond, observed).x
    for row in range(len(kinds)):
        alone = silent(x[row : row + 1], t[row : row + 1], cond[row : row + 1], observed[row : row + 1]).x
        assert (together[row] - alone[0]).abs().max() < 1e-9


def test_large_systems_are_solved_in_parts(silent, moments, monkeypatch):
    x = Gaussian(*moments, SCHEDULE).sample(5, Stream(2)).reshape(-1, *SHAPE)
    cond, observed = given(x, masks()["gaps"])
    t = torch.linspace(0.1, 0.9, 5).double()
    whole = silent(x, t, cond, observed).x
    monkeypatch.setattr("lowerbound.fitted.windows.MOST_ENTRIES", 2 * 64)
    assert torch.equal(silent(x, t, cond, observed).x, whole)


def test_a_horizon_leaves_rows_before_it():
    with pytest.raises(InputError, match="a horizon of 4"):
        FittedWindows(SHAPE, 4)
