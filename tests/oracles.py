"""What the tests of the core share: every schedule, closed-form data, noise that is known in advance."""

import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from lowerbound import schedule
from lowerbound.denoiser import Denoiser
from lowerbound.denoiser.exact import Gaussian, GaussianMixture
from lowerbound.rng import Noise
from lowerbound.samplers import sample
from lowerbound.schedule import Schedule, betas
from lowerbound.schedule.betas import from_betas
from lowerbound.schedule.learned import LearnedGamma, MonotoneWarp
from lowerbound.schedule.scaling import SCALINGS, VARIANCE_PRESERVING

SCHEDULES = {
    "linear gamma": schedule.LinearGamma,
    "cosine": schedule.Cosine,
    "cosine, wide": lambda scaling: schedule.Cosine(gamma_min=-20.0, gamma_max=20.0, scaling=scaling),
    "sigmoid": schedule.Sigmoid,
    "sigmoid, hot": lambda scaling: schedule.Sigmoid(start=-3, end=1, temperature=0.5, scaling=scaling),
    "rectified flow": schedule.RectifiedFlow,
    "EDM": schedule.EDM,
    "geometric": lambda scaling: _scaled(schedule.geometric(), scaling),
    "DDPM": lambda scaling: from_betas(betas.linear(), scaling),
    "latent diffusion": lambda scaling: from_betas(betas.scaled_linear(), scaling),
    "iDDPM": lambda scaling: from_betas(betas.cosine(50), scaling),
    "learned": lambda scaling: LearnedGamma(-9.0, 6.0, random_warp(), scaling).double().requires_grad_(False),
}
EVERY_SCHEDULE = list(itertools.product(SCHEDULES, SCALINGS))
"""Names of all schedules with all scalings, for `make_schedule`."""


def make_schedule(name: str, scaling: str = VARIANCE_PRESERVING.name) -> Schedule:
    make = SCHEDULES[name]
    return make(scaling=SCALINGS[scaling]) if isinstance(make, type) else make(SCALINGS[scaling])


def random_warp(seed: int = 0, num_units: int = 8, roughness: float = 1.0) -> MonotoneWarp:
    """A warp far from a line, its centres anywhere, outside of [0, 1] as well."""
    warp, generator = MonotoneWarp(num_units), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        warp.weights.copy_(2 * roughness * torch.randn(num_units, generator=generator))
        warp.steepness.add_(roughness * torch.randn(num_units, generator=generator))
        warp.centres.copy_(0.5 + roughness * torch.randn(num_units, generator=generator))
    return warp


def double(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def mixture(noise_schedule: Schedule) -> GaussianMixture:
    """Three correlated components in the plane, of very different widths."""
    return GaussianMixture(
        double([0.5, 0.3, 0.2]),
        double([[-1.0, 0.0], [1.0, 0.5], [0.3, -1.0]]),
        double([[[0.09, 0.03], [0.03, 0.04]], [[0.02, -0.01], [-0.01, 0.06]], [[0.25, 0.0], [0.0, 0.01]]]),
        noise_schedule,
    )


MEAN = double([0.5, -1.0])
COVARIANCE = double([[0.5, 0.3], [0.3, 0.4]])


def gaussian(noise_schedule: Schedule) -> Gaussian:
    return Gaussian(MEAN, COVARIANCE, noise_schedule)


class WithMix(Denoiser):
    """A denoiser that also says, of every entry, where its reverse variance lies between lower (0) and upper (1)."""

    def __init__(self, denoiser: Denoiser, mix: float):
        super().__init__(denoiser.schedule, denoiser.shape)
        self.denoiser, self.mix = denoiser, mix

    def predict(self, x_t, level, cond, observed):
        prediction = self.denoiser.predict(x_t, level, cond, observed)
        return replace(prediction, variance_mix=torch.full_like(x_t, self.mix))


class NormalLevels(nn.Module):
    """What a network of `LevelDenoiser` has to say of entries that are normal on the levels, in single precision."""

    def __init__(self, mean: float, variance: float, num_levels: int):
        super().__init__()
        self.mean, self.variance, self.num_levels = mean, variance, num_levels
        self.one = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x, gamma, cond):
        assert x.dtype == gamma.dtype == torch.float32
        ratio = torch.exp(gamma / 2)[:, None]
        place = (x * torch.sqrt(1 + ratio**2) * self.one + 1) * self.num_levels / 2 - 0.5
        width = ratio * self.num_levels / 2
        eps = width * (place - self.mean) / (self.variance + width**2)
        return torch.cat([eps, (math.log(self.variance) - 2 * width.log() - 2).expand_as(eps)], 1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Known(Noise):
    """Noise known in advance: the draws in their order, the last of each kind for ever after."""

    def __init__(self, normal=(), uniform=()):
        self._normal, self._uniform = list(normal), list(uniform)

    def normal(self, like: Tensor) -> Tensor:
        return self._next(self._normal, like)

    def uniform(self, like: Tensor) -> Tensor:
        return self._next(self._uniform, like)

    @staticmethod
    def _next(draws: list[Tensor], like: Tensor) -> Tensor:
        value = draws.pop(0) if len(draws) > 1 else draws[0]
        return value.to(like).expand_as(like).clone()


def affine_map(denoiser, sampler, times, **arguments):
    """The sampler as x = A x_1 + sum_k B_k z_k + c on Gaussian data: c, A, [B_k], by feeding basis vectors."""
    D = len(MEAN)
    num_draws = len(times)  # at most: the step to the data adds none
    inputs = torch.eye(D * (num_draws + 1), dtype=torch.float64).reshape(-1, num_draws + 1, D)
    inputs = torch.cat([torch.zeros_like(inputs[:1]), inputs])
    noise = Known(inputs[:, 1:].unbind(1))
    end = sample(denoiser, sampler, inputs[:, 0], times, noise, **arguments)
    columns = (end[1:] - end[0]).reshape(num_draws + 1, D, D).mT
    return end[0], columns[0], columns[1:]


def sigma_points(dim: int) -> Tensor:
    """(2 D, D) points whose mean of any quadratic function is its mean under N(0, I)."""
    corners = torch.eye(dim, dtype=torch.float64) * dim**0.5
    return torch.cat([corners, -corners])


def _scaled(made: Schedule, scaling) -> Schedule:
    made.scaling = scaling
    return made
