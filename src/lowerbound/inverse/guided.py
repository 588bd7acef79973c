"""Any sampler with the denoiser of the posterior."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lowerbound.inverse.method import DEFAULT_SAMPLER, Method, Problem
from lowerbound.inverse.posterior import PosteriorDenoiser
from lowerbound.rng import Noise
from lowerbound.samplers import Sampler, start, trajectory


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

    def draw(
        self, problem: Problem, times: Float[Tensor, "num_times"], noise: Noise, progress: Callable[[int], object]
    ) -> Float[Tensor, "batch *shape"]:
        model = PosteriorDenoiser(
            problem.denoiser,
            problem.operator,
            problem.y,
            problem.noise_std,
            "isotropic",
            self.num_iterations,
            self.data_variance,
        )
        return _sample(model, self.sampler, times, noise, progress)


@dataclass(frozen=True)
class MMPS(Method):
    """A sampler with the `PosteriorDenoiser` whose covariance is the denoiser's Jacobian (Rozet et al. 2024).

    Arguments:
        sampler: the stepping rule.
        num_iterations: of the conjugate gradients, each a vector-Jacobian product of the network.
    """

    sampler: Sampler = DEFAULT_SAMPLER
    num_iterations: int = 5

    def draw(
        self, problem: Problem, times: Float[Tensor, "num_times"], noise: Noise, progress: Callable[[int], object]
    ) -> Float[Tensor, "batch *shape"]:
        model = problem.posterior("jacobian", self.num_iterations)
        return _sample(model, self.sampler, times, noise, progress)


def _sample(
    model: PosteriorDenoiser, sampler: Sampler, times: Tensor, noise: Noise, progress: Callable[[int], object]
) -> Tensor:
    x_1 = start(model, len(model.y), noise, t=times[0].item(), dtype=model.y.dtype)
    path = trajectory(model, sampler, x_1, times, noise)
    last = next(path)
    for x in path:
        last = x
        progress(1)
    return last
