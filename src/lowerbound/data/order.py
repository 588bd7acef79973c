"""The order of training examples, as a function of the seed and the step."""

from functools import lru_cache

import numpy as np

from lowerbound.errors import InputError


def batch_indices(seed: int, step: int, batch_size: int, num_examples: int) -> np.ndarray:
    """Which examples step `step` works on: (batch_size,) indices below `num_examples`.

    Every epoch is a permutation of its own; epochs run into each other, so that every batch is full and every example
    comes equally often.
    """
    check_batch_size(batch_size, num_examples)
    position = step * batch_size + np.arange(batch_size)
    epochs = position // num_examples
    orders = {epoch: _permutation(seed, int(epoch), num_examples) for epoch in np.unique(epochs)}
    return np.concatenate([order[position[epochs == epoch] % num_examples] for epoch, order in orders.items()])


def check_batch_size(batch_size: int, num_examples: int) -> None:
    """Refuse a data set smaller than one batch with an InputError."""
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}: it is at least 1")
    if batch_size > num_examples:
        raise InputError(
            f"--batch-size is {batch_size}, but there are only {num_examples} training examples: give {num_examples} at most"
        )


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    order = np.random.default_rng((seed & (1 << 64) - 1, epoch)).permutation(num_examples)
    return order.astype(np.uint32) if num_examples < 1 << 32 else order  # which is kept: half as large
