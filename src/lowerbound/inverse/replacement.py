r"""Replacement with resampling: the known entries, noised, take the place of the model's after every step.

At a level s the known entries are drawn from $q(x_s | y) = N(\alpha_s y, \sigma_s^2 - \alpha_s^2 \nu^2)$, which given x has
the forward process's own law; where the measurement's noise $\nu$ exceeds the level's there is no such draw, and the model
goes on alone. The unknown entries come from the model's step, which saw other known entries; so a stretch of steps is noised
back and repeated, that the two become of one piece (RePaint: Lugmayr et al. 2022). No gradients, and no guarantee: the law
it tends to with more repetitions is not the posterior but near it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.inverse.method import DEFAULT_SAMPLER, Method, Problem, Progress
from lowerbound.inverse.operators import Mask
from lowerbound.rng import Noise
from lowerbound.samplers import Sampler, descend, start
from lowerbound.schedule import CLEAN, Level
from lowerbound.settings import check_least
from lowerbound.shapes import Examples, Times


@dataclass(frozen=True)
class Replacement(Method):
    """RePaint (Lugmayr et al. 2022), for masks alone.

    Arguments:
        num_resamples: how often each stretch of steps is gone through; 1 is replacement without resampling.
        jump: the number of steps in a stretch.
        sampler: the stepping rule, one without memory of earlier steps.

    Raises:
        InputError: if a number is less than one, or (in use) the operator is not a mask.
    """

    num_resamples: int = 5
    jump: int = 5
    sampler: Sampler = DEFAULT_SAMPLER

    def __post_init__(self):
        check_least(1, num_resamples=self.num_resamples, jump=self.jump)

    def draw(self, problem: Problem, times: Times, noise: Noise, progress: Progress) -> Examples:
        model, mask, y, noise_std = problem.denoiser, problem.operator, problem.y, problem.noise_std
        if not isinstance(mask, Mask):
            raise InputError(
                f"replacement puts known entries in the place of the model's, but {type(mask).__name__} measures no single "
                "entries: use a Mask, or another method"
            )
        levels = [*model.schedule.levels(times), CLEAN]
        x = start(model, len(y), noise, t=times[0].item(), dtype=y.dtype)
        x = _replace(x, mask, y, noise_std, levels[0], noise)
        for first in range(0, len(times), self.jump):
            stretch = levels[first : first + self.jump + 1]
            # where known entries are no longer replaced, going back and forth would forget them
            for repetition in range(self.num_resamples if _variance(stretch[-1], noise_std) >= 0 else 1):
                if repetition:
                    x = _noise_again(x, stretch[-1], stretch[0], noise)
                for t, s in zip(stretch[:-1], stretch[1:], strict=True):
                    x = descend(model, self.sampler, self.sampler.init(x), t, s, noise).x
                    x = _replace(x, mask, y, noise_std, s, noise)
                    progress(1)
        return x

    def num_steps(self, num_times: int) -> int:
        return num_times * self.num_resamples


def _variance(level: Level, noise_std: float) -> float:
    """Of the known entries at a level, given y."""
    return float(level.sigma**2 - (level.alpha * noise_std) ** 2)


def _replace(x: Tensor, mask: Mask, y: Tensor, noise_std: float, level: Level, noise: Noise) -> Tensor:
    variance = _variance(level, noise_std)
    if variance < 0:
        return x
    y_t = level.alpha * y + (math.sqrt(variance) * noise.normal(y) if variance else 0)
    return torch.where(mask.observed, y_t, x)


def _noise_again(x: Tensor, s: Level, t: Level, noise: Noise) -> Tensor:
    r"""$x_t \sim q(x_t | x_s)$"""
    added = -math.expm1(s.gamma - t.gamma) * t.sigma**2
    return t.alpha / s.alpha * x + math.sqrt(added) * noise.normal(x)
