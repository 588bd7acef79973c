"""The bound on held-out data: its three terms with standard errors, and where along the noise it comes from."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lowerbound import objective
from lowerbound.data import Dataset
from lowerbound.likelihood import elbo, mean_and_error
from lowerbound.rng import PerSample
from lowerbound.run import Run

ENTRIES = 32_000_000
"""About how many entries of examples go through the network where the number of calls is not given."""

Figure = tuple[float, float]
"""A mean over examples and its standard error."""


@dataclass(frozen=True)
class HeldOutBound:
    """The bound on the test examples, in bits per dimension of the data as they are stored.

    Arguments:
        total: the sum of the next four, with the standard error over examples.
        reconstruction, prior, diffusion: the three terms, each as what it adds.
        normalisation: what the stored units add to the model's; zero for discrete data.
        kind: what the number is, in words.
        num_examples: how many test examples.
        num_times: network calls per example.
    """

    total: Figure
    reconstruction: Figure
    prior: Figure
    diffusion: Figure
    normalisation: float
    kind: str
    num_examples: int
    num_times: int


@dataclass(frozen=True)
class Profile:
    r"""The diffusion term by noise level: bits/dim of each interval of $\gamma$ between edges, and standard errors."""

    gamma: np.ndarray
    bits: np.ndarray
    errors: np.ndarray


@torch.no_grad()
def held_out_bound(
    run: Run,
    dataset: Dataset,
    *,
    num_steps: int | None = None,
    num_times: int | None = None,
    num_examples: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> HeldOutBound:
    """The bound on the test split.

    Arguments:
        run: the model.
        dataset: its data.
        num_steps: T of a chain of T steps, equally spaced in time; None: continuous time.
        num_times: network calls per example; by default 4 to 256, the more the fewer and smaller the examples are.
        num_examples: of the test split, from its start; all by default.
        batch_size: it changes nothing but speed and memory.
        seed: of times and noise.
        progress: called with the number of examples after each batch.
    """
    indices = dataset.test[:num_examples]
    device = run.denoiser.device
    num_times = num_times or max(4, min(256, ENTRIES // (len(indices) * math.prod(dataset.shape))))
    chain = None if num_steps is None else torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    log_det = dataset.encoding.log_det(dataset.shape)
    terms: dict[str, list[torch.Tensor]] = {"total": [], "reconstruction": [], "prior": [], "diffusion": []}
    for first in range(0, len(indices), batch_size):
        part = indices[first : first + batch_size]
        cond = dataset.cond(part) if run.config.data.conditional else None
        bound = elbo(
            run.denoiser,
            run.decoder,
            dataset.encoded(part).to(device),
            chain,
            noise=PerSample([(seed << 32) + first + i for i in range(len(part))]),
            num_times=num_times,
            cond=None if cond is None else cond.to(device),
        )
        terms["total"].append(bound.to_bits(-(bound.nats + log_det)))
        terms["reconstruction"].append(bound.to_bits(-bound.reconstruction))
        terms["prior"].append(bound.to_bits(bound.prior))
        terms["diffusion"].append(bound.to_bits(bound.diffusion))
        progress(len(part))
    figures = {name: mean_and_error(torch.cat(values)) for name, values in terms.items()}
    time = "continuous time" if num_steps is None else f"{num_steps} steps"
    given = ", given its condition" if run.config.data.conditional else ""
    mass = "" if dataset.encoding.num_levels else ", of the density"
    return HeldOutBound(
        **figures,
        normalisation=-log_det / (math.prod(dataset.shape) * math.log(2)),
        kind=f"bound ({time}{mass}{given})",
        num_examples=len(indices),
        num_times=num_times if num_steps is None else min(num_times, num_steps),
    )


@torch.no_grad()
def profile(run: Run, dataset: Dataset, *, num_bins: int = 24, num_examples: int = 256, seed: int = 0) -> Profile:
    r"""The diffusion term of test examples in equal intervals of time, one network call per example in each."""
    indices = dataset.test[:num_examples]
    device = run.denoiser.device
    x, cond = dataset.encoded(indices).to(device), dataset.cond(indices) if run.config.data.conditional else None
    edges = torch.linspace(0, 1, num_bins + 1, dtype=torch.float64)
    noise = PerSample([(seed << 32) + i for i in range(len(indices))])
    bits, errors = [], []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        t = low + (high - low) * noise.uniform(x.new_empty(len(x), 1))[:, 0]
        nats = objective.loss(
            run.denoiser, x, t=t, eps=noise.normal(x), cond=None if cond is None else cond.to(device)
        ) * (high - low)
        mean, error = mean_and_error(nats / (x[0].numel() * math.log(2)))
        bits.append(mean)
        errors.append(error)
    return Profile(run.denoiser.schedule.gamma(edges).cpu().numpy(), np.array(bits), np.array(errors))
