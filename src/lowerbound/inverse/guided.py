"""Any sampler with the denoiser of the posterior."""

from dataclasses import dataclass

from lowerbound.inverse.method import DEFAULT_SAMPLER, Method, Problem, Progress
from lowerbound.inverse.posterior import PosteriorDenoiser
from lowerbound.rng import Noise
from lowerbound.samplers import Sampler, start, trajectory
from lowerbound.shapes import Examples, Times


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
        return _sample(posterior, self.sampler, times, noise, progress)


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
        return _sample(problem.posterior("jacobian", self.num_iterations), self.sampler, times, noise, progress)


def _sample(posterior: PosteriorDenoiser, sampler: Sampler, times: Times, noise: Noise, progress: Progress) -> Examples:
    x_1 = start(posterior, len(posterior.y), noise, t=times[0].item(), dtype=posterior.y.dtype)
    path = trajectory(posterior, sampler, x_1, times, noise)
    x = next(path)
    for x_s in path:
        x = x_s
        progress(1)
    return x
