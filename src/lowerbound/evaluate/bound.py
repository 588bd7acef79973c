"""The bound on held-out data: its three terms with standard errors, and where along the noise it comes from."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.elementary import expand
from lowerbound.evaluate.part import BITS, BITS_HEADER, Figures
from lowerbound.evaluate.report import Table
from lowerbound.likelihood import check_likelihood, end_terms, mean_and_error
from lowerbound.records import Figure
from lowerbound.rng import PerSample
from lowerbound.rounding import figure_text
from lowerbound.run import Run
from lowerbound.schedule import Level
from lowerbound.score import score

ENTRIES = 32_000_000
"""About how many entries of examples go through the network where the number of calls is not given."""
REFERENCES = 4096
"""How many training examples say what the data's range is."""


@dataclass(frozen=True)
class HeldOutBound(Figures):
    """The bound on the test examples, in bits per dimension of the data as they are stored.

    Arguments:
        total: the sum of the next four, with the standard error over examples.
        reconstruction, prior, diffusion: the three terms, each as what it adds.
        normalisation: what the stored units add to the model's; zero for discrete data.
        kind: what the number is, in words.
        num_examples: how many test examples.
        num_times: network calls per example.
        of: the examples that these were drawn from, in words; empty: all that there are, or the first of them.
    """

    total: Figure
    reconstruction: Figure
    prior: Figure
    diffusion: Figure
    normalisation: float
    kind: str
    num_examples: int
    num_times: int
    of: str = ""

    def tables(self) -> list[Table]:
        terms = [
            ("  reconstruction", figure_text(*self.reconstruction), "of the data from the least noisy latent"),
            ("  prior", figure_text(*self.prior), "of the noisiest latent against the standard normal"),
            ("  diffusion", figure_text(*self.diffusion), "of all steps between them"),
        ]
        if self.normalisation:
            terms.append(("  normalisation", figure_text(self.normalisation), "the units of the stored data"))
        examples = f"{self.num_examples:,} example{'s' * (self.num_examples > 1)}{self.of}"
        total = f"{self.kind}, {examples}, {self.num_times} call{'s' * (self.num_times > 1)} each"
        return [Table(BITS, BITS_HEADER, (("test", figure_text(*self.total), total), *terms), main=0)]


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
        """The standard error of each, (K,)."""
        return self.draws.std(0, ddof=1) / len(self.draws) ** 0.5


def held_out_bound(
    run: Run,
    dataset: Dataset,
    *,
    num_steps: int | None = None,
    num_times: int | None = None,
    num_examples: int | None = None,
    indices: np.ndarray | None = None,
    reverse: str = "lower",
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> HeldOutBound:
    """The bound on the test split: the mean of its examples' scores.

    Arguments:
        run: the model.
        dataset: its data.
        num_steps: T of a chain of T steps, equally spaced in time; None: continuous time.
        num_times: network calls per example; by default 4 to 256, the more the fewer and smaller the examples are.
        num_examples: of the test split, from its start; all by default.
        indices: the examples themselves, in the place of these.
        reverse: the chain's reverse variance.
        batch_size: it changes nothing but speed and memory.
        seed: of times and noise.
        progress: called with the number of examples after each batch.
    """
    indices = dataset.test[:num_examples] if indices is None else indices
    scores = score(
        run,
        dataset.examples[indices],
        cond=dataset.cond(indices) if run.config.data.conditional else None,
        numbers=indices,
        num_steps=num_steps,
        num_times=num_times or default_num_times(dataset, len(indices)),
        reverse=reverse,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    total, reconstruction, prior, diffusion = (
        mean_and_error(torch.from_numpy(bits))
        for bits in (scores.bits_per_dim, scores.reconstruction, scores.prior, scores.diffusion)
    )
    return HeldOutBound(
        total=total,
        reconstruction=reconstruction,
        prior=prior,
        diffusion=diffusion,
        normalisation=scores.normalisation,
        kind=scores.kind,
        num_examples=len(indices),
        num_times=scores.num_calls,
    )


def default_num_times(dataset: Dataset, num_examples: int) -> int:
    """Network calls for each example of a bound where their number is not given."""
    return max(4, min(256, ENTRIES // (num_examples * math.prod(dataset.shape))))


@torch.no_grad()
def profile(
    run: Run,
    dataset: Dataset,
    *,
    split: str = "test",
    num_bins: int = 24,
    num_examples: int = 256,
    seed: int = 0,
    progress: Callable[[int], object] = lambda intervals: None,
) -> Profile:
    r"""The denoiser's error on examples of a split, by noise level.

    The diffusion term is an integral over $\gamma$ (VDM, equation 17), $\frac12 \int E\|\epsilon - \hat\epsilon\|^2
    d\gamma$, so no slope of the schedule enters.

    Arguments:
        run: the model.
        dataset: its data.
        split: which examples.
        num_bins: K, network calls per example.
        num_examples: of the split, from its start.
        seed: of noise levels and noise.
        progress: called with 1 after each interval.
    """
    indices = dataset.indices(split)[:num_examples]
    schedule, scaling = run.denoiser.schedule, run.denoiser.schedule.scaling
    x = dataset.encoded(indices).to(run.device)
    cond = dataset.cond(indices) if run.config.data.conditional else None
    denoiser = run.denoiser.given(None if cond is None else cond.to(x.device))
    low, high = (end.to(x) for end in _range(dataset))
    noise = PerSample([(seed << 32) + int(i) for i in indices])
    check_likelihood(denoiser)
    assert run.decoder is not None
    reconstruction, prior = end_terms(denoiser, run.decoder, x, noise=noise)
    edges = np.linspace(schedule.gamma_min, schedule.gamma_max, num_bins + 1)
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
        columns.append([gamma, *(value.flatten(1).mean(1) for value in values)])
        progress(1)
    levels, draws, products, squares, outside = (
        torch.stack(column, 1).cpu().double().numpy() for column in zip(*columns, strict=True)
    )
    to_bits = 1 / (x[0].numel() * math.log(2))
    lost, told = (term.cpu().double().numpy() * to_bits for term in (-reconstruction, prior))
    return Profile(edges, levels, draws, products, squares, outside, lost, told)


def _range(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the largest value of each channel in the training data, a hundredth of their distance beyond."""
    x = dataset.encoded(dataset.train[:REFERENCES])
    axes = (0, *range(2, x.ndim))
    low, high = x.amin(axes, keepdim=True)[0], x.amax(axes, keepdim=True)[0]
    return low - (high - low) / 100, high + (high - low) / 100
