r"""Inverse problems: draws of x given measurements $y = A x + \nu n$, by one function for every method and operator."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.arguments import check_grid, described
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.inverse.operators import Mask, Operator, check_operator
from lowerbound.inverse.posterior import PosteriorDenoiser
from lowerbound.rng import Noise, check_noise
from lowerbound.samplers import Ancestral, Sampler
from lowerbound.shapes import Examples, Times
from lowerbound.words.brief import Brief

DEFAULT_SAMPLER: Sampler = Ancestral()

Progress = Callable[[int], object]


@dataclass(frozen=True, eq=False, repr=False)
class Problem(Brief):
    r"""Measurements $y = A x + \nu n$ and what is known of x beside them.

    Arguments:
        denoiser: the model, its condition bound.
        operator: A.
        y: (B, *measured); what a mask has for unknown is zero.
        noise_std: $\nu$, in the units of x as the denoiser sees it.
    """

    denoiser: Denoiser
    operator: Operator
    y: Float[Tensor, "batch *measured"]
    noise_std: float

    def posterior(self, covariance: str, num_iterations: int, data_variance: float = 1.0) -> PosteriorDenoiser:
        """The denoiser of the posterior, with its settings."""
        return PosteriorDenoiser(
            self.denoiser, self.operator, self.y, self.noise_std, covariance, num_iterations, data_variance
        )


@dataclass(frozen=True)
class Method(ABC):
    """A way to draw from the posterior: hyper-parameters only."""

    @abstractmethod
    def draw(self, problem: Problem, times: Times, noise: Noise, progress: Progress) -> Examples:
        """As `posterior_sample`, all checked."""

    def num_steps(self, num_times: int) -> int:
        """How many steps are taken over a grid of so many times, as `progress` counts them."""
        return num_times


def posterior_sample(
    method: Method,
    denoiser: Denoiser,
    operator: Operator,
    y: Float[Tensor, "batch *measured"],
    noise_std: float,
    times: Times,
    noise: Noise,
    *,
    progress: Progress = lambda steps: None,
) -> Examples:
    r"""One draw from $p(x | y)$ for each row of y; repeat a row for several draws.

    What a mask without noise knows comes back to the bit.

    Arguments:
        method: how, e.g. `Replacement()`, `PiGDM()`, `MMPS()`, `TwistedParticles()`.
        denoiser: the model, its condition bound.
        operator: A.
        y: the measurements, (B, *measured); what a mask has for unknown is never looked at.
        noise_std: $\nu$, in the units of x as the denoiser sees it.
        times: decreasing, in [0, 1] (see `grid`).
        noise: where every draw comes from.
        progress: called with 1 after each step.

    Raises:
        InputError: if y does not have the shape that the operator makes, the operator fails the dot-product test, or the
            method cannot deal with it.
    """
    if not isinstance(method, Method):
        raise InputError(f"the method is {described(method)}: give an object, such as PiGDM()")
    if not isinstance(operator, Operator):
        raise InputError(f"the operator is {described(operator)}: give an object, such as inverse.Mask(observed)")
    check_grid(times)
    check_noise(noise)
    if isinstance(operator, Mask):
        y = operator.forward(y)
    check_operator(operator, denoiser.shape, y, noise_std)
    with torch.no_grad():
        x = method.draw(Problem(denoiser, operator, y, noise_std), times, noise, progress)
    return torch.where(operator.observed, y, x) if isinstance(operator, Mask) and noise_std == 0 else x
