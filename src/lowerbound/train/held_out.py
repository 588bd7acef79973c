"""Held-out bits/dim along the way: always the same examples, times and noise, so that changes are the model's."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.denoiser import Denoiser
from lowerbound.likelihood import Elbo, elbo, mean_and_error
from lowerbound.likelihood.decoder import Decoder
from lowerbound.rng import Noise, PerSample

NUM_EXAMPLES = 512
"""How many validation examples are measured where time allows."""
_BATCH = 128
_ENTRIES = 65_536
_SEED = 1 << 40  # apart from the seeds of samples


Bound = Callable[[Tensor, Noise, Tensor | None], Elbo]
"""Of examples, noise and conditions."""


def held_out_bits(
    denoiser: Denoiser,
    decoder: Decoder,
    dataset: Dataset,
    num_examples: int = NUM_EXAMPLES,
    conditional: bool = False,
) -> tuple[float, float]:
    """Bits/dim of validation examples, in the units of the stored data, and their standard error.

    Arguments:
        denoiser, decoder: the model.
        dataset: whose validation split is read.
        num_examples: how many, from the start of the split.
        conditional: whether the examples' conditions are given to the model.
    """
    indices = dataset.validation[:num_examples]
    num_times = calls_per_example(dataset)

    def bound(x: Tensor, noise: Noise, cond: Tensor | None) -> Elbo:
        return elbo(denoiser.given(cond), decoder, x, noise=noise, num_times=num_times)

    return mean_and_error(bits_per_dim(bound, dataset, indices, denoiser.device, conditional))


def calls_per_example(dataset: Dataset) -> int:
    """Network calls for each held-out example: small examples are cheap, and their estimates noisy."""
    num_examples = min(NUM_EXAMPLES, len(dataset.validation))
    return max(1, min(64, _ENTRIES // (num_examples * math.prod(dataset.shape))))


@torch.no_grad()
def bits_per_dim(
    bound: Bound,
    dataset: Dataset,
    indices: Int[np.ndarray, " num_examples"],
    device: torch.device,
    conditional: bool = False,
) -> Tensor:
    """Bits/dim of each of a data set's examples, in the units of the stored data, (N,).

    Arguments:
        bound: of a batch.
        dataset: the data.
        indices: of the examples.
        device: where the model is.
        conditional: whether their conditions are given to it.
    """
    bits = []
    for start in range(0, len(indices), _BATCH):
        part = indices[start : start + _BATCH]
        x, cond = dataset.encoded(part).to(device), dataset.cond(part) if conditional else None
        noise = PerSample(range(_SEED + start, _SEED + start + len(part)))
        found = bound(x, noise, None if cond is None else cond.to(device))
        bits.append(found.to_bits(-(found.nats + dataset.encoding.log_det(dataset.shape))))
    return torch.cat(bits)
