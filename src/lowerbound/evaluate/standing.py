"""Where one trained model stands, whatever its kind: its likelihood, its samples, and what both cost."""

import time
from dataclasses import dataclass

import numpy as np

from lowerbound.data import Dataset
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.likelihood import held_out_likelihood
from lowerbound.evaluate.part import Progress
from lowerbound.evaluate.quality import Quality
from lowerbound.models.base import LikelihoodKind
from lowerbound.records import Measured
from lowerbound.run import Run


@dataclass(frozen=True)
class Asked:
    """How much is asked of each model.

    Arguments:
        num_examples: of the test split, from its start.
        num_samples: how many are drawn.
        seed: of training, times, noise and samples.
    """

    num_examples: int = 1000
    num_samples: int = 500
    seed: int = 0


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
    bits: Measured | None
    num_examples: int
    quality: Quality
    seconds_per_sample: float
    num_parameters: int
    steps: int
    seconds: float


def standing(
    run: Run,
    dataset: Dataset,
    judge: Judge,
    asked: Asked,
    *,
    scored: Progress = lambda examples: None,
    drawn: Progress = lambda units: None,
) -> tuple[Standing, np.ndarray | None, np.ndarray]:
    """Where a run stands, bits/dim of each test example (None without a likelihood), and its samples as they are stored.

    Arguments:
        run: the model.
        dataset: its data.
        judge: what its samples are compared with.
        asked: how many examples and samples, and the seed.
        scored, drawn: show progress, in examples and in whatever the drawing counts.
    """
    indices, likelihood = dataset.test[: asked.num_examples], run.model.likelihood
    bits, total, kind = None, None, "none"
    if likelihood != "none":
        found, bits = held_out_likelihood(run, dataset, indices, seed=asked.seed, progress=scored)
        total, kind = found.total, found.kind
    began = time.perf_counter()
    samples, _ = draw(run, dataset, asked.num_samples, seed=asked.seed, progress=drawn)
    seconds = time.perf_counter() - began
    found = Standing(
        model=run.config.model.name,
        likelihood=likelihood,
        kind=kind,
        bits=total,
        num_examples=len(indices),
        quality=judge.quality(dataset.spec.encoding.encode(samples)),
        seconds_per_sample=seconds / asked.num_samples,
        num_parameters=run.num_parameters,
        steps=int(run.metadata.get("step", 0)),
        seconds=float(run.metadata.get("seconds", 0.0)),
    )
    return found, bits, samples
