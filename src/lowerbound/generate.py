"""Samples of a run, batch by batch, each a function of its seed alone."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lowerbound import grid
from lowerbound.rng import PerSample
from lowerbound.run import Run
from lowerbound.samplers import Ancestral, Sampler, start, trajectory

DEFAULT_STEPS = 250
DEFAULT_SAMPLER: Sampler = Ancestral()


def generate(
    run: Run,
    num_samples: int,
    *,
    seed: int = 0,
    sampler: Sampler = DEFAULT_SAMPLER,
    num_steps: int = DEFAULT_STEPS,
    cond: Tensor | None = None,
    batch_size: int = 64,
    progress: Callable[[int], object] = lambda steps: None,
) -> np.ndarray:
    """Draw samples in the units and type of the stored data, (num_samples, *shape).

    Sample i depends on (seed, i) and its condition only, not on the batches or on how many are drawn.

    Arguments:
        run: the model.
        num_samples: how many.
        seed: of all of them.
        sampler: the stepping rule.
        num_steps: network calls per sample (of a sampler that makes one per step).
        cond: a condition for each sample, (num_samples, ...), or None.
        batch_size: it changes nothing but speed and memory.
        progress: called with 1 after each step of a batch.
    """
    batches = []
    times = grid.uniform(num_steps)
    for first in range(0, num_samples, batch_size):
        noise = PerSample([(seed << 32) + i for i in range(first, min(first + batch_size, num_samples))])
        x_1 = start(run.denoiser, len(noise), noise)
        part = None if cond is None else cond[first : first + batch_size].to(run.denoiser.device)
        for x in trajectory(run.denoiser, sampler, x_1, times, noise, cond=part):
            last = x
            progress(1)
        batches.append(run.decode(last))  # pyright: ignore[reportPossiblyUnboundVariable]
    return np.concatenate(batches)


def path(run: Run, num_samples: int, *, seed: int = 0, num_steps: int = DEFAULT_STEPS, num_states: int = 9) -> list:
    """The way of a few samples from noise to data: pairs of t and the states $x_t$ in the units of the stored data."""
    noise = PerSample([(seed << 32) + i for i in range(num_samples)])
    times = grid.uniform(num_steps)
    x_1 = start(run.denoiser, num_samples, noise)
    states = list(trajectory(run.denoiser, DEFAULT_SAMPLER, x_1, times, noise))
    chosen = torch.linspace(0, len(states) - 1, num_states).round().long().tolist()
    shown = [*times.tolist(), 0.0]
    return [(shown[k], run.decode(states[k])) for k in chosen]
