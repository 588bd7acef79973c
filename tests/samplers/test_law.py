"""Every sampler draws the law of its target, in few dimensions and in many."""

import pytest
import torch
from every_sampler import EVERY_SAMPLER, WITHOUT_MIX
from oracles import double, mixture

from lowerbound import grid
from lowerbound.denoiser import Denoiser, Prediction
from lowerbound.elementary import expand
from lowerbound.rng import Stream
from lowerbound.samplers import sample
from lowerbound.schedule import LinearGamma

ENDS = (-8.0, 8.0)
DIMS = (1, 2, 3, 8, 64, 4000)
NUM_VALUES = 8000
"""Of all samples together: as many samples as make it up in each number of dimensions."""
MANY_CALLS = 4
"""In a step: samplers that take more are tested at few steps only."""


class Diagonal(Denoiser):
    """Of data N(m, diag(s^2)) in any number of dimensions, where m and s repeat themselves."""

    def __init__(self, num_dims):
        super().__init__(LinearGamma(*ENDS), (num_dims,))
        place = torch.arange(num_dims).double()
        self.mean, self.std = 1 + place % 3, 0.4 + 0.6 * (place % 2)

    def predict(self, x_t, level, cond, observed):
        alpha, sigma = (expand(torch.as_tensor(scale).to(x_t), x_t) for scale in (level.alpha, level.sigma))
        total = alpha**2 * self.std**2 + sigma**2
        x = self.mean + alpha * self.std**2 / total * (x_t - alpha * self.mean)
        x_var = (self.std**2 * sigma**2 / total).expand_as(x_t)
        return Prediction(x_t, level, x, self.schedule, x_var, variance_mix=torch.full_like(x_t, 0.5))

    def sample(self, num_samples, noise):
        return self.mean + self.std * noise.normal(self.mean.expand(num_samples, -1))


def drawn(denoiser, sampler, num_samples, num_steps):
    """Samples, from the target's own law at the start, on equal steps of gamma."""
    noise, first = Stream(0), denoiser.schedule.level(1.0)
    x = denoiser.sample(num_samples, noise)
    x_1 = first.alpha * x + first.sigma * noise.normal(x)
    return sample(denoiser, sampler, x_1, grid.uniform(num_steps), noise)


def check_standard(z, sampler, num_steps, spread=2**0.5):
    """Mean 0 and variance 1 up to four standard errors and the bias of finite steps.

    With h, the length of a step in -gamma / 2, the bias is at most h^order; a sampler of no order, whose Langevin steps are
    as long on any grid, may add 0.05 to what a first-order sampler may have. `spread` is the standard deviation of z^2,
    known from the target: that of the samples would excuse the outliers of a wrong law.
    """
    h = (ENDS[1] - ENDS[0]) / (num_steps - 1) / 2
    bias = h**sampler.order if sampler.order else h + 0.05
    error = 4 * (1 + bias) / z.numel() ** 0.5
    assert abs(z.mean().item()) < bias + error, num_steps
    assert abs(z.square().mean().item() - 1) < bias + spread * error, num_steps


@pytest.mark.parametrize("num_dims", DIMS)
@pytest.mark.parametrize("sampler", EVERY_SAMPLER, ids=repr)
def test_the_law_of_a_gaussian_is_drawn_in_any_number_of_dimensions(sampler, num_dims):
    denoiser = Diagonal(num_dims)
    for num_steps in (16, 64) if sampler.calls_per_step <= MANY_CALLS else (16,):
        x = drawn(denoiser, sampler, NUM_VALUES // num_dims, num_steps)
        z = (x - denoiser.mean) / denoiser.std
        for entries in (z[:, ::2], z[:, 1::2]):  # the narrow ones and the wide ones
            if entries.numel():
                check_standard(entries, sampler, num_steps)


@pytest.fixture(scope="module")
def truth():
    """Of the mixture, far more than of any sampler."""
    return mixture(LinearGamma(*ENDS)).sample(100_000, Stream(1))


@pytest.mark.parametrize("sampler", WITHOUT_MIX, ids=repr)
def test_the_mean_and_covariance_of_a_mixture_are_drawn(sampler, truth):
    denoiser = mixture(LinearGamma(*ENDS))
    mean, covariance = denoiser.moments()
    whiten = torch.linalg.inv(torch.linalg.cholesky(covariance))
    num_steps = 64 if sampler.calls_per_step <= MANY_CALLS else 16
    z = (drawn(denoiser, sampler, 1000, num_steps) - mean) @ whiten.T
    expected = (truth - mean) @ whiten.T
    for direction in double([[1.0, 0.0], [0.0, 1.0], [0.5**0.5, 0.5**0.5], [0.5**0.5, -(0.5**0.5)]]):
        check_standard(z @ direction, sampler, num_steps, (expected @ direction).square().std().item())
