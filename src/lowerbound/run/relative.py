"""Samples of a relative, batch by batch, each a function of its seed alone."""

from collections.abc import Callable

import numpy as np
import torch

from lowerbound.rng import PerSample
from lowerbound.run.opened import RelativeRun


@torch.no_grad()
def generate_relative(
    run: RelativeRun,
    num_samples: int,
    *,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int], object] = lambda samples: None,
) -> np.ndarray:
    """Draw samples in the units and type of the stored data, (num_samples, *shape).

    Sample i depends on (seed, i) only, not on the batches or on how many are drawn.

    Arguments:
        run: the model.
        num_samples: how many.
        seed: of all of them.
        batch_size: it changes nothing but speed and memory.
        progress: called with the number of samples after each batch.
    """
    batches = []
    for first in range(0, num_samples, batch_size):
        numbers = range(first, min(first + batch_size, num_samples))
        noise = PerSample([(seed << 32) + i for i in numbers])
        batches.append(run.decode(run.relative.sample(len(numbers), noise)))
        progress(len(numbers))
    return np.concatenate(batches)
