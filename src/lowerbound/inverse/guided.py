"""Any sampler with the denoiser of the posterior."""

from dataclasses import dataclass

from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.inverse.method import Method, Problem, Progress
from lowerbound.rng import Noise
from lowerbound.samplers import Sampler, UniPCSDE, start, trajectory
from lowerbound.shapes import Examples, Times

DEFAULT_SAMPLER: Sampler = UniPCSDE()
"""Of second order: ancestral steps of the lower variance make draws too narrow, by a tenth of their spread at 50 of them."""


@dataclass(frozen=True)
class PiGDM(Method):
    """A sampler with the isotropic `PosteriorDenoiser` (Song et al. 2023).

    Arguments:
        sampler: the stepping rule.
        data_variance: of an entry of x.
        num_iterations: of the conjugate gradients, without the network; a mask needs one.
    """

    sampler: Sampler = DEFAULT_SAMPLER
    data_variance: float = 1.0
    num_iterations: int = 20

    def draw(self, problem: Problem, times: Times, noise: Noise, progress: Progress) -> Examples:
        posterior = problem.posterior("isotropic", self.num_iterations, self.data_variance)
        return sampled(posterior, self.sampler, problem.y, times, noise, progress)


@dataclass(frozen=True)
class MMPS(Method):
    """A sampler with the `PosteriorDenoiser` whose covariance is the denoiser's Jacobian (Rozet et al. 2024).

    Arguments:
        sampler: the stepping rule.
        num_iterations: of the conjugate gradients, each a vector-Jacobian product of the network.
    """

    sampler: Sampler = DEFAULT_SAMPLER
    num_iterations: int = 5

    def draw(self, problem: Problem, times: Times, noise: Noise, progress: Progress) -> Examples:
        posterior = problem.posterior("jacobian", self.num_iterations)
        return sampled(posterior, self.sampler, problem.y, times, noise, progress)


def sampled(
    denoiser: Denoiser, sampler: Sampler, y: Tensor, times: Times, noise: Noise, progress: Progress
) -> Examples:
    """Draws of a denoiser, (B, *shape), step by step: as many, and in the precision, as there are measurements."""
    x_1 = start(denoiser, len(y), noise, t=times[0].item(), dtype=y.dtype)
    path = trajectory(denoiser, sampler, x_1, times, noise)
    x = next(path)
    for x_s in path:
        x = x_s
        progress(1)
    return x
