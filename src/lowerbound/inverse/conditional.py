"""Any sampler with a network that was trained to be given what is known."""

from collections.abc import Callable
from dataclasses import dataclass

from lowerbound.denoiser.base import Conditioned
from lowerbound.errors import InputError
from lowerbound.inverse.guided import DEFAULT_SAMPLER, sampled
from lowerbound.inverse.method import Method, Problem, Progress
from lowerbound.inverse.operators import Mask
from lowerbound.rng import Noise
from lowerbound.samplers import Sampler
from lowerbound.shapes import Conditions, Examples, Observed, Times


@dataclass(frozen=True)
class Conditional(Method):
    """Draws of a model's own conditional, for masks without noise: what is known is a condition, and the rest is drawn.

    Arguments:
        condition: $(x, known, c) \\mapsto c'$, what the network takes for known entries of x beside the condition c that the
            model was given, or None.
        sampler: the stepping rule.

    Raises:
        InputError: in use, if the operator is not a mask, or measures with noise.
    """

    condition: Callable[[Examples, Observed, Conditions | None], Conditions]
    sampler: Sampler = DEFAULT_SAMPLER

    def draw(self, problem: Problem, times: Times, noise: Noise, progress: Progress) -> Examples:
        mask, y = problem.operator, problem.y
        if not isinstance(mask, Mask) or problem.noise_std > 0:
            raise InputError("a network is given entries as they are: use a Mask and no noise, or another method")
        known = mask.observed.expand(y.shape)
        cond = problem.denoiser.cond if isinstance(problem.denoiser, Conditioned) else None
        model = problem.denoiser.given(self.condition(y, known, cond), ~known)
        return sampled(model, self.sampler, y, times, noise, progress)
