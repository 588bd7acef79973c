"""Where one trained model stands, whatever its kind: its likelihood, its samples, and what both cost."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.likelihood import completed
from lowerbound.evaluate.quality import Quality
from lowerbound.likelihood import mean_and_error
from lowerbound.models import Effort
from lowerbound.models.base import LikelihoodKind
from lowerbound.records import Figure
from lowerbound.rounding import figure_text
from lowerbound.run import Run
from lowerbound.score import score


@dataclass(frozen=True)
class Standing:
    """What is known of one model.

    Arguments:
        model: its name.
        likelihood: whether `bits` is exact, a bound, or not there.
        kind: what `bits` is, in words.
        bits: bits/dim of the test examples with the standard error over them; None without a likelihood.
        num_examples: how many test examples.
        quality: of its samples.
        seconds_per_sample: that they took.
        num_parameters: how many numbers were trained.
        steps, seconds: of its training.
    """

    model: str
    likelihood: LikelihoodKind
    kind: str
    bits: Figure | None
    num_examples: int
    quality: Quality
    seconds_per_sample: float
    num_parameters: int
    steps: int
    seconds: float

    @property
    def bits_text(self) -> str:
        """The figure, or that there is none."""
        return "none" if self.bits is None else figure_text(*self.bits)

    @property
    def likelihood_text(self) -> str:
        """The figure with its unit and what it is, or that there is none."""
        return "no likelihood" if self.bits is None else f"{self.bits_text} bits/dim ({self.likelihood})"


def standing(
    run: Run,
    dataset: Dataset,
    judge: Judge,
    *,
    num_examples: int | None = None,
    num_samples: int = 500,
    seed: int = 0,
    scored: Callable[[int], object] = lambda examples: None,
    drawn: Callable[[int], object] = lambda units: None,
) -> tuple[Standing, np.ndarray | None, np.ndarray]:
    """Where a run stands, bits/dim of each test example (None without a likelihood), and its samples as they are stored.

    Arguments:
        run: the model.
        dataset: its data.
        judge: what its samples are compared with.
        num_examples: of the test split, from its start; all by default.
        num_samples: how many are drawn.
        seed: of times, noise and samples.
        scored, drawn: show progress, in examples and in whatever the drawing counts.
    """
    indices, likelihood = dataset.test[:num_examples], run.model.likelihood
    bits, kind = None, "none"
    if likelihood != "none":
        cond = dataset.cond(indices) if run.config.data.conditional else None
        effort = completed(run, dataset, len(indices), Effort())
        if effort.num_draws is not None:  # half of an evaluation's: several models are waiting
            effort = replace(effort, num_draws=max(4, effort.num_draws // 2))
        given = {"cond": cond, "numbers": indices, "seed": seed, "progress": scored}
        scores = score(run, dataset.examples[indices], effort, **given)
        bits, kind = scores.bits_per_dim, scores.kind
    began = time.perf_counter()
    samples, _ = draw(run, dataset, num_samples, seed=seed, progress=drawn)
    seconds = time.perf_counter() - began
    found = Standing(
        model=run.config.model.name,
        likelihood=likelihood,
        kind=kind,
        bits=None if bits is None else mean_and_error(torch.from_numpy(bits)),
        num_examples=len(indices),
        quality=judge.quality(samples),
        seconds_per_sample=seconds / num_samples,
        num_parameters=run.num_parameters,
        steps=int(run.metadata.get("step", 0)),
        seconds=float(run.metadata.get("seconds", 0.0)),
    )
    return found, bits, samples
