r"""One likelihood per example, in the units of the stored data: the bound of each, or its density under the flow.

The terms are those of `likelihood`; what is added is that an example's figure depends on its number and the seed alone,
whatever the batch, and that each network call's draw of the diffusion term is kept, so that every example has an error
of its own. The n calls of an example go one to each of n equal parts of time (or of the chain's steps), at the same
place within each: $t_k = (k + p) / n$. The places of examples i = 0, 1, 2, ... are $p_i = (u + i \varphi) \bmod 1$ with
the golden ratio $\varphi$, u drawn from the seed: uniform for each, evenly spread over any run of them (Weyl 1916), so that
their mean has little error from the choice of times.

From the draws $d_1 .. d_n$ of one example, in the order of time, the variance of their mean is estimated by
$\frac{1}{2 n (n - 1)} \sum_k (d_{k+1} - d_k)^2$ (von Neumann et al. 1941): the differences of neighbours hold the noise of
both and little of the trend, which equal parts take out of the mean.

The probability flow is another model of the same network (`density`). Of discrete data its figure is a bound too, by noise
within the levels (`dequantization`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from lowerbound.data import Examples, Levels
from lowerbound.data.encoding import check_finite
from lowerbound.errors import InputError
from lowerbound.likelihood import check_likelihood, elbo
from lowerbound.likelihood.density import log_prob
from lowerbound.likelihood.dequantization import (
    Dequantizer,
    TruncatedNormalDequantizer,
    UniformDequantizer,
    discrete_log_prob,
)
from lowerbound.rng import PerSample
from lowerbound.run import Run

GOLDEN = (math.sqrt(5) - 1) / 2
ENTRIES = 65_536
"""About how many entries of one example go through the network where the number of calls is not given."""
ENTRIES_AT_ONCE = 32_768
"""About how many entries go through the flow at a time where the batch size is not given: 40 images of 28 x 28."""
DEQUANTIZERS: dict[str, type[Dequantizer]] = {
    "truncated-normal": TruncatedNormalDequantizer,
    "uniform": UniformDequantizer,
}

Vector = Float[np.ndarray, " num_examples"]


@dataclass(frozen=True)
class Scores:
    """The bound of each example, an array (N,) per figure; all but the nats are in bits per dimension.

    Arguments:
        nats: the bound on log p of the example as it is stored.
        bits_per_dim: -nats / (D ln 2), the sum of the next four.
        reconstruction, prior, diffusion: the three terms, each as what it adds.
        normalisation: what the stored units add to the model's; zero for discrete data.
        diffusion_error: standard error of the diffusion term over its network calls; NaN for a single one.
        kind: what the number is, in words.
        num_calls: network calls per example for the diffusion term.
    """

    nats: Vector
    bits_per_dim: Vector
    reconstruction: Vector
    prior: Vector
    diffusion: Vector
    normalisation: float
    diffusion_error: Vector
    kind: str
    num_calls: int


@dataclass(frozen=True)
class Flow:
    """How the probability flow is followed.

    Arguments:
        tolerance: of the solver, in units of the noise and in nats per dimension, for a step.
        num_probes: of an estimated trace, above 16 dimensions; if None one, or two where several draws within the levels
            need their weights from other probes than their values.
        dequantizer: of discrete data, one of `DEQUANTIZERS`; if None the first.
        num_importance: K, of discrete data, draws within the levels of each example.

    Raises:
        InputError: if a number is out of range, or there is no such dequantiser.
    """

    tolerance: float = 1e-4
    num_probes: int | None = None
    dequantizer: str | None = None
    num_importance: int = 1

    def __post_init__(self) -> None:
        least = 4 * torch.finfo(torch.float32).eps
        if not least <= self.tolerance < 1:
            raise InputError(
                f"tolerance is {self.tolerance}: it must be below 1 and, in single precision, {least:.1g} or more"
            )
        if self.num_importance < 1:
            raise InputError(f"num_importance is {self.num_importance}: it starts at 1")
        if self.num_probes is not None and self.num_probes < 1:
            raise InputError(f"num_probes is {self.num_probes}: it starts at 1")
        if self.dequantizer is not None and self.dequantizer not in DEQUANTIZERS:
            raise InputError(f"unknown dequantiser {self.dequantizer!r}: choose one of {', '.join(DEQUANTIZERS)}")

    def dequantizer_of(self, run: Run) -> Dequantizer | None:
        """The dequantiser of a run's data; None if they are continuous.

        Raises:
            InputError: if one is asked for where there is nothing to dequantise, or the run has no likelihood.
        """
        check_likelihood(run.denoiser)
        num_levels = run.data.encoding.num_levels
        if num_levels is not None:
            return DEQUANTIZERS[self.dequantizer or next(iter(DEQUANTIZERS))](num_levels)
        if self.dequantizer is not None or self.num_importance > 1:
            raise InputError(
                f"the data of the run in {run.folder.path} are continuous: there are no levels to draw in, so leave out "
                "the dequantiser and the number of importance samples"
            )
        return None


@dataclass(frozen=True)
class DensityScores:
    """The figure of each example under the probability flow, an array (N,) each.

    Arguments:
        nats: log p of the example as it is stored; of discrete data, the bound on it.
        bits_per_dim: -nats / (D ln 2).
        standard_error: of the probes, in bits per dimension: zero for an exact trace, NaN for a single probe.
        num_calls: network calls of each example.
        kind: what the number is: `density (ODE)`, or `bound (ODE, dequantised, K=...)`.
        settings: how it was computed: tolerance, trace, dequantiser, condition.
    """

    nats: Vector
    bits_per_dim: Vector
    standard_error: Vector
    num_calls: Int[np.ndarray, " num_examples"]
    kind: str
    settings: str


@torch.no_grad()
def score(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"],
    *,
    cond: Num[Tensor, "num_examples ..."] | None = None,
    numbers: Num[np.ndarray, " num_examples"] | None = None,
    num_steps: int | None = None,
    num_times: int | None = None,
    reverse: str = "lower",
    batch_size: int = 128,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> Scores:
    """The bound of each example.

    Arguments:
        run: the model.
        raw: examples as they are stored, channels first, (N, *shape); one is enough.
        cond: their conditions (see `conditions`), or None: no condition.
        numbers: of the examples, by which an example has the same times and noise in any company; 0 .. N - 1 if None.
        num_steps: T of a chain of T steps, equally spaced in time; None: continuous time.
        num_times: network calls per example for the diffusion term; if None 16 to 256, the more the smaller an example
            is; never more than the chain's steps.
        reverse: the chain's reverse variance (`reverse.reverse_variance`).
        batch_size: it changes nothing but speed and memory.
        seed: of times and noise.
        progress: called with the number of examples after each batch.

    Raises:
        InputError: if the run has no likelihood, the examples are not what it takes, or a number is out of range.
    """
    for name, value in (("num_steps", num_steps), ("num_times", num_times), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: it starts at 1")
    check_likelihood(run.denoiser)
    assert run.decoder is not None
    check_examples(run, raw)
    num_dims = math.prod(run.data.shape)
    num_times = num_times or max(16, min(256, ENTRIES // num_dims))
    num_times = num_times if num_steps is None else min(num_times, num_steps)
    chain = None if num_steps is None else torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    start = np.random.default_rng(seed & (1 << 64) - 1).random()
    parts = []
    for x, given, noise, which in _batches(run, raw, cond, numbers, batch_size, seed):
        place = torch.from_numpy((start + which * GOLDEN) % 1)
        settings = {"noise": noise, "num_times": num_times, "place": place, "reverse": reverse, "cond": given}
        bound = elbo(run.denoiser, run.decoder, x, chain, **settings)
        assert bound.draws is not None
        terms = [bound.reconstruction, bound.prior, bound.diffusion, _error_of_mean(bound.draws)]
        parts.append(torch.stack([term.cpu().double() for term in terms]).numpy())
        progress(len(x))
    to_bits = 1 / (num_dims * math.log(2))
    reconstruction, prior, diffusion, error = np.concatenate(parts, 1)
    nats = reconstruction - prior - diffusion + run.data.encoding.log_det(run.data.shape)
    return Scores(
        nats=nats,
        bits_per_dim=-nats * to_bits,
        reconstruction=-reconstruction * to_bits,
        prior=prior * to_bits,
        diffusion=diffusion * to_bits,
        normalisation=-run.data.encoding.log_det(run.data.shape) * to_bits,
        diffusion_error=error * to_bits,
        kind=_kind(run, num_steps, reverse, cond is not None),
        num_calls=num_times,
    )


@torch.no_grad()
def score_density(
    run: Run,
    raw: Num[np.ndarray, "num_examples *shape"],
    flow: Flow | None = None,
    *,
    cond: Num[Tensor, "num_examples ..."] | None = None,
    numbers: Num[np.ndarray, " num_examples"] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Callable[[int], object] = lambda examples: None,
) -> DensityScores:
    """The density of each example under the probability flow; of discrete data, a bound on its probability.

    Arguments:
        run: the model.
        raw, cond, numbers, seed, progress: as for `score`; the seed is that of the probes and of the noise within levels.
        flow: how the flow is followed; the defaults of `Flow` if None.
        batch_size: it changes nothing but speed and memory; as many as `ENTRIES_AT_ONCE` allows if None.

    Raises:
        InputError: as for `score`, if `flow` does not fit the run, or the flow cannot be followed.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: it starts at 1")
    flow = flow or Flow()
    dequantizer = flow.dequantizer_of(run)
    check_examples(run, raw)
    num_dims = math.prod(run.data.shape)
    batch_size = batch_size or max(1, ENTRIES_AT_ONCE // num_dims)
    num_probes = flow.num_probes or min(flow.num_importance, 2)
    found = []
    for x, given, noise, _ in _batches(run, raw, cond, numbers, batch_size, seed):
        how = {"noise": noise, "num_probes": num_probes, "tolerance": flow.tolerance, "cond": given}
        if dequantizer is None:
            found.append(log_prob(run.denoiser, x, **how))
        else:
            found.append(discrete_log_prob(run.denoiser, x, dequantizer, num_importance=flow.num_importance, **how))
        progress(len(x))
    to_bits = 1 / (num_dims * math.log(2))
    nats, error, num_calls = (
        torch.cat([getattr(density, name) for density in found]).cpu().numpy()
        for name in ("nats", "standard_error", "num_calls")
    )
    nats = nats.astype(np.float64) + run.data.encoding.log_det(run.data.shape)
    return DensityScores(
        nats=nats,
        bits_per_dim=-nats * to_bits,
        standard_error=error.astype(np.float64) * to_bits,
        num_calls=num_calls,
        kind=found[0].kind,
        settings=found[0].settings + _condition(run, cond is not None),
    )


def conditions(run: Run, examples: Examples, indices: np.ndarray) -> Tensor | None:
    """The conditions of examples as a run knows them: of a run that has any, where the data have them too; else None.

    Raises:
        InputError: for a class that the run does not know, or vectors of another length.
    """
    if not run.config.data.conditional:
        return None
    num_features = run.data.num_condition_features
    if num_features:
        if examples.conditions is None:
            return None
        if examples.conditions.shape[1] != num_features:
            raise InputError(
                f"{examples.name} has condition vectors of {examples.conditions.shape[1]} features; the run in "
                f"{run.folder.path} takes {num_features}"
            )
        return torch.from_numpy(examples.conditions[indices])
    if examples.labels is None:
        return None
    present, positions = np.unique(examples.labels[indices], return_inverse=True)
    return run.labels([examples.class_names[k] for k in present])[torch.from_numpy(positions)]


def check_examples(run: Run, raw: Num[np.ndarray, "num_examples *any"], name: str = "the data") -> None:
    """Refuse examples that are not what a run takes, saying what that is, by an InputError."""
    encoding, shape = run.data.encoding, run.data.shape
    discrete = isinstance(encoding, Levels)
    low, high = (encoding.offset, encoding.offset + encoding.num_levels - 1) if discrete else (-math.inf, math.inf)
    values = f"integers from {low} to {high}" if discrete else "finite floats"
    takes = f"the run in {run.folder.path} takes examples of shape {shape}, channels first, of {values}"
    if raw.shape[1:] != shape or not len(raw):
        raise InputError(f"{name}: {len(raw)} examples of shape {raw.shape[1:]}; {takes}")
    if raw.dtype.kind not in ("iub" if discrete else "f"):
        raise InputError(f"{name}: values of type {raw.dtype}; {takes}")
    try:
        check_finite(raw)
    except InputError as error:
        raise InputError(f"{name}: {error}; {takes}") from error
    if raw.min() < low or raw.max() > high:
        raise InputError(f"{name}: values from {raw.min()} to {raw.max()}; {takes}")


def _batches(
    run: Run,
    raw: np.ndarray,
    cond: Tensor | None,
    numbers: np.ndarray | None,
    batch_size: int,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor | None, PerSample, np.ndarray]]:
    """Batch by batch the examples, their conditions, their noise and their numbers, by which each has its own."""
    numbers = np.arange(len(raw)) if numbers is None else numbers
    device = run.denoiser.device
    for first in range(0, len(raw), batch_size):
        part = slice(first, first + batch_size)
        x = run.encode(np.ascontiguousarray(raw[part])).to(device)
        given = None if cond is None else cond[part].to(device)
        yield x, given, PerSample([(seed << 32) + int(i) for i in numbers[part]]), numbers[part]


def _error_of_mean(draws: Tensor) -> Tensor:
    num_calls = draws.shape[1]
    if num_calls == 1:
        return torch.full_like(draws[:, 0], math.nan)
    return (draws.diff(dim=1).square().sum(1) / (2 * num_calls * (num_calls - 1))).sqrt()


def _kind(run: Run, num_steps: int | None, reverse: str, given: bool) -> str:
    time = "continuous time" if num_steps is None else f"{num_steps} step{'s' * (num_steps > 1)}"
    variance = "" if reverse == "lower" else f", {reverse} reverse variance"
    mass = "" if run.data.encoding.num_levels else ", of the density"
    return f"bound ({time}{variance}{mass}{_condition(run, given)})"


def _condition(run: Run, given: bool) -> str:
    if not run.config.data.conditional:
        return ""
    return ", given its condition" if given else ", given no condition"
