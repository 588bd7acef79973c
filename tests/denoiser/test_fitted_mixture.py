"""A network that stands upon a mixture: silent, its denoiser is the mixture's own."""

import pytest
import torch

import lowerbound as lb
from lowerbound.blocks import Real
from lowerbound.denoiser import FittedMixture, NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.likelihood import GaussianDecoder
from lowerbound.nn import MLP
from lowerbound.schedule import RectifiedFlow

SCHEDULES = [lb.LinearGamma(-12.0, 6.0), RectifiedFlow()]
REALS = (Real(),) * 3


def truth(schedule) -> lb.GaussianMixture:
    means = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 0.5, -2.0]]).double()
    roots = torch.tensor(
        [[[0.3, 0, 0], [0.1, 0.2, 0], [0, 0.5, 0.1]], [[1.0, 0, 0], [0.9, 0.01, 0], [0, 0, 2.0]]]
    ).double()
    return lb.GaussianMixture(torch.tensor([0.3, 0.7]).double(), means, roots @ roots.mT, schedule)


def standing_upon(mixture: lb.GaussianMixture) -> NetworkDenoiser:
    """A silent network upon it, one place for a Gaussian being left over."""
    fitted = FittedMixture(len(mixture.weights) + 1, REALS)
    fitted.fit(mixture.weights, mixture.means, mixture.covariances)
    network = MLP(3, width=8, depth=1, takes_observed=True)
    return NetworkDenoiser(network, mixture.schedule, mixture.shape, mixture=fitted)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["preserving", "rectified"])
@pytest.mark.parametrize("with_gaps", [False, True], ids=["whole", "gaps"])
def test_a_silent_network_is_the_mixture(schedule, with_gaps):
    mixture, noise = truth(schedule), lb.Stream(0)
    denoiser, x = standing_upon(mixture), mixture.sample(64, noise)
    observed = noise.uniform(x) < 0.6 if with_gaps else None
    for t in (0.02, 0.5, 0.98, torch.linspace(0.01, 0.99, 64, dtype=torch.float64)):
        level = schedule.level(t)
        alpha, sigma = (torch.as_tensor(c).double().reshape(-1, 1) for c in (level.alpha, level.sigma))
        x_t = alpha * x + sigma * noise.normal(x)
        ours, theirs = (each(x_t, t, None, observed).x for each in (denoiser, mixture))
        seen = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
        assert (ours - theirs)[seen].abs().max() < 1e-9


def test_its_bound_is_the_density_of_the_mixture():
    mixture = truth(SCHEDULES[0])
    denoiser, x = standing_upon(mixture), mixture.sample(64, lb.Stream(1))
    bound = lb.elbo(denoiser, GaussianDecoder(), x, noise=lb.PerSample(range(64)), num_times=256).nats
    assert abs((bound - mixture.log_prob(x)).mean()) < 0.1


def test_what_cannot_be():
    with pytest.raises(InputError, match="at least 1"):
        FittedMixture(0, REALS)
    with pytest.raises(InputError, match="-3 factors: give at least 0"):
        FittedMixture(1, REALS, num_factors=-3)
    with pytest.raises(InputError, match="'v'"):
        NetworkDenoiser(MLP(3, width=8, depth=1), SCHEDULES[0], (3,), "v", mixture=FittedMixture(1, REALS))


def test_no_gradient_reaches_it_even_if_asked_to():
    denoiser, x = standing_upon(truth(SCHEDULES[0])).train().requires_grad_(True), torch.randn(4, 3).double()
    denoiser(x, 0.5).eps.square().sum().backward()
    assert all(parameter.grad is None for parameter in denoiser.mixture.parameters())
    assert denoiser.network.out.weight.grad is not None
