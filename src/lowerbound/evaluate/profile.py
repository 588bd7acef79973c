"""Where along the noise the bound comes from, on held-out data."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.elementary import expand, present, sum_dims
from lowerbound.likelihood import check_likelihood, end_terms
from lowerbound.machine.processor import at_once
from lowerbound.rng import PerSample
from lowerbound.run import Run
from lowerbound.schedule import Level

REFERENCES, ENTRIES = 4096, 1 << 24
"""How many training examples, and how many entries of them at most, say what the data's range is."""


@dataclass(frozen=True)
class Profile:
    r"""What the denoiser's error is by noise level: one network call per example in each of K equal intervals of $\gamma$.

    Arguments:
        gamma: the intervals' edges, (K + 1,).
        levels: the $\gamma$ of each call, (N, K), uniform in its interval.
        draws: bits/dim that each call finds for its interval, (N, K); their mean over examples sums to the diffusion term.
        products: $\epsilon \cdot \hat\epsilon / D$ of each call, (N, K).
        squares: $\|\hat\epsilon\|^2 / D$ of each call, (N, K).
        outside: share of the entries of $\hat x$ that lie outside the training data's range, of each call, (N, K).
        reconstruction, prior: the bound's other terms, bits/dim of each example, (N,).
    """

    gamma: np.ndarray
    levels: np.ndarray
    draws: np.ndarray
    products: np.ndarray
    squares: np.ndarray
    outside: np.ndarray
    reconstruction: np.ndarray
    prior: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        """Bits/dim of each interval, (K,)."""
        return self.draws.mean(0)

    @property
    def errors(self) -> np.ndarray:
        """The standard error of each, (K,); NaN, not known, of a single example."""
        num = len(self.draws)
        return self.draws.std(0, ddof=1) / num**0.5 if num > 1 else np.full(self.draws.shape[1:], np.nan)


@torch.no_grad()
def profile(
    run: Run,
    dataset: Dataset,
    *,
    split: str = "test",
    num_bins: int = 24,
    num_examples: int = 256,
    seed: int = 0,
    progress: Callable[[int], object] = lambda calls: None,
) -> Profile:
    r"""The denoiser's error on examples of a split, by noise level.

    The diffusion term is an integral over $\gamma$ (VDM, equation 17), $\frac12 \int E\|\epsilon - \hat\epsilon\|^2
    d\gamma$, so no slope of the schedule enters.

    Arguments:
        run: the model.
        dataset: its data.
        split: which examples.
        num_bins: K, network calls per example.
        num_examples: of the split.
        seed: of noise levels and noise.
        progress: called after each interval with the number of examples whose error there is known.
    """
    indices, span = dataset.some(split, num_examples), _range(dataset)
    size = at_once(dataset.spec.num_dims)
    edges = np.linspace(run.denoiser.schedule.gamma_min, run.denoiser.schedule.gamma_max, num_bins + 1)
    parts = [
        _of_examples(run, dataset, indices[first : first + size], edges, span, seed, progress)
        for first in range(0, len(indices), size)
    ]
    return Profile(edges, *(np.concatenate(each) for each in zip(*parts, strict=True)))


def _of_examples(
    run: Run,
    dataset: Dataset,
    indices: np.ndarray,
    edges: np.ndarray,
    span: tuple[torch.Tensor, torch.Tensor],
    seed: int,
    progress: Callable[[int], object],
) -> list[np.ndarray]:
    """What a `Profile` says of some examples, after its edges; each has noise of its own, whichever others are beside it."""
    schedule, scaling = run.denoiser.schedule, run.denoiser.schedule.scaling
    x = dataset.encoded(indices).to(run.device)
    cond = dataset.cond(indices) if run.config.data.conditional else None
    observed = dataset.spec.observed(x)
    denoiser = run.denoiser.given(None if cond is None else cond.to(x.device), observed)
    x = present(x, observed)
    low, high = (end.to(x) for end in span)
    noise = PerSample([(seed << 32) + int(i) for i in indices])
    check_likelihood(denoiser)
    decoder = run.diffusion.decoder
    assert decoder is not None
    num_dims = decoder.count_dims(x, observed)
    reconstruction, prior = end_terms(denoiser, decoder, x, noise=noise)
    columns: list[list[torch.Tensor]] = []
    for start, stop in itertools.pairwise(edges.tolist()):
        gamma = start + (stop - start) * noise.uniform(x.new_empty(len(x), 1))[:, 0]
        level = Level(schedule.inverse(gamma), gamma, scaling.alpha(gamma), scaling.sigma(gamma))
        eps = noise.normal(x)
        prediction = denoiser(expand(level.alpha, x) * x + expand(level.sigma, x) * eps, level)
        eps_hat = prediction.eps
        values = (
            0.5 * (stop - start) / math.log(2) * (eps - eps_hat) ** 2,
            eps * eps_hat,
            eps_hat**2,
            ((prediction.x < low) | (prediction.x > high)).to(x.dtype),
        )
        columns.append([gamma, *(sum_dims(present(value, observed)) / num_dims for value in values)])
        progress(len(x))
    by_interval = (torch.stack(column, 1).cpu().double().numpy() for column in zip(*columns, strict=True))
    to_bits = 1 / (num_dims.cpu().double().numpy() * math.log(2))
    return [*by_interval, *(term.cpu().double().numpy() * to_bits for term in (-reconstruction, prior))]


def _range(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the largest value of each channel in the training data, a hundredth of their distance beyond."""
    x = dataset.encoded(dataset.some("train", REFERENCES, ENTRIES))
    axes = (0, *range(2, x.ndim))
    low = x.nan_to_num(math.inf).amin(axes, keepdim=True)[0]
    high = x.nan_to_num(-math.inf).amax(axes, keepdim=True)[0]
    return low - (high - low) / 100, high + (high - low) / 100
