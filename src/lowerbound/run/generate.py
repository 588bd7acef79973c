"""Samples of a run, batch by batch, each a function of its seed alone."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from lowerbound.brownian import BrownianPath
from lowerbound.denoiser import Denoiser
from lowerbound.rng import Noise, PerSample
from lowerbound.run.opened import Run
from lowerbound.sampling.plan import Plan
from lowerbound.settings import check_count, check_seed
from lowerbound.training.parallel.processes import ALONE, Processes


@torch.no_grad()
def generate(
    run: Run,
    num_samples: int,
    plan: Plan | None = None,
    *,
    seed: int = 0,
    cond: Tensor | None = None,
    brownian: bool = False,
    batch_size: int = 64,
    processes: Processes = ALONE,
    progress: Callable[[int], object] = lambda steps: None,
) -> np.ndarray:
    """Draw samples in the units and type of the stored data, (num_samples, *shape).

    Sample i depends on (seed, i) and its condition only, not on the batches, on how many are drawn, or on the process that
    draws it.

    Arguments:
        run: the model.
        num_samples: how many.
        plan: the stepping rule and its steps, of a diffusion model; the default ones if None.
        seed: of all of them.
        cond: a condition for each sample, labels or vectors of shape (num_samples, ...), or None.
        brownian: whether the noise of a stochastic sampler follows one path for each sample, which does not change when the
            grid is refined (`BrownianPath`).
        batch_size: it changes nothing but speed and memory.
        processes: that draw together, each whole batches; every one of them gets all samples.
        progress: called with 1 after each step of a batch.

    Raises:
        InputError: if a number is no whole one from 1, or the seed none from 0.
    """
    check_count(num_samples, "num_samples")
    check_count(batch_size, "batch_size")
    check_seed(seed)

    def drawn(first: int) -> np.ndarray:
        numbers = range(first, min(first + batch_size, num_samples))
        model = run.model.given(None if cond is None else cond[first : first + batch_size].to(run.device))
        return run.decode(model.sample(len(numbers), _noise(run, numbers, seed, brownian), plan, progress))

    return np.concatenate(processes.by_turns(range(0, num_samples, batch_size), drawn))


@contextmanager
def network_calls(denoiser: Denoiser) -> Generator[list[int]]:
    """How many examples each call of what a denoiser asks had, as long as the context lasts."""
    calls: list[int] = []
    hooks = [
        piece.register_forward_pre_hook(lambda module, arguments: calls.append(len(arguments[0])))
        for piece in denoiser.underlying
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def states(
    run: Run,
    num_samples: int,
    plan: Plan | None = None,
    *,
    seed: int = 0,
    cond: Tensor | None = None,
    brownian: bool = False,
    num_states: int | None = None,
    progress: Callable[[int], object] = lambda steps: None,
) -> Iterator[tuple[float, np.ndarray]]:
    """The way of the same samples from noise to data as it is gone: pairs of t and the states $x_t$ in the units of the
    stored data. A model without steps has the samples alone.

    Arguments:
        num_states: how many, evenly spread over the steps, the first and the last among them; all if None or if there are
            fewer.
        progress: called with 1 after each step.
        (the rest as in `generate`)
    """
    plan = plan or run.model.plan()
    times = [0.0] if plan is None else [*plan.times.tolist(), 0.0]
    num_states = min(num_states or len(times), len(times))
    chosen = set(torch.linspace(0, len(times) - 1, num_states).round().long().tolist())
    model = run.model.given(None if cond is None else cond.to(run.device))
    way = model.trajectory(num_samples, _noise(run, range(num_samples), seed, brownian), plan)
    for step, (t, x) in enumerate(zip(times, way, strict=True)):
        progress(1)
        if step in chosen:
            yield t, run.decode(x)


def _noise(run: Run, numbers: range, seed: int, brownian: bool) -> Noise:
    """Of samples with these numbers."""
    seeds = [(seed << 32) + i for i in numbers]
    if not brownian:
        return PerSample(seeds)
    schedule = run.denoiser.schedule
    return BrownianPath(seeds, schedule.gamma_min, schedule.gamma_max)
