"""How good samples of a run are: their features against those of training examples, beside as many held-out ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.denoiser import Denoiser
from lowerbound.evaluate.features import FeatureSpace
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.quality import Quality, Split, quality
from lowerbound.run import Run
from lowerbound.run.generate import generate, network_calls
from lowerbound.sampling.plan import Plan
from lowerbound.shapes import Examples
from lowerbound.training.parallel.processes import ALONE, Processes

NUM_REFERENCES = 5000
"""Training examples that samples are compared with, at most."""


def num_compared(dataset: Dataset, num_samples: int) -> tuple[int, int]:
    """How many training and how many held-out examples a judge of so many samples looks at."""
    num_held_out = len(dataset.test) + len(dataset.validation)
    return min(NUM_REFERENCES, len(dataset.train)), min(num_samples, num_held_out)


@dataclass(frozen=True, eq=False)
class Judge:
    """What samples of a data set are compared with.

    Arguments:
        dataset: the data.
        space: of their features.
        references: features of training examples, in random order, (M, F).
        held_out: features of examples of the test and validation splits, (N, F).
        seed: of the order of examples, and of the errors.
    """

    dataset: Dataset
    space: FeatureSpace
    references: np.ndarray
    held_out: np.ndarray
    seed: int = 0

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        space: FeatureSpace,
        num_samples: int,
        seed: int = 0,
        progress: Callable[[int], object] = lambda examples: None,
    ) -> "Judge":
        """One that compares `num_samples` samples, or as many as there are held-out examples."""
        rng = np.random.default_rng(seed)
        num_references, num_held_out = num_compared(dataset, num_samples)
        train = rng.permutation(dataset.train)[:num_references]
        held_out = rng.permutation(np.concatenate([dataset.test, dataset.validation]))[:num_held_out]
        references, others = (space.of_examples(dataset, indices, progress) for indices in (train, held_out))
        return cls(dataset, space, references, others, seed)

    def features(self, x: Examples) -> np.ndarray:
        """Features of as many of the samples, encoded, as there are held-out examples."""
        return self.space(x[: len(self.held_out)])

    def quality(self, x: Examples) -> Quality:
        """Of samples, encoded."""
        return self._quality(self.features(x))

    def floor(self) -> Quality:
        """Of the held-out examples."""
        return self._quality(self.held_out)

    def _quality(self, values: np.ndarray) -> Quality:
        found = quality(Split(values, 0, self.seed), self._split)
        return replace(found, is_inception=self.space.is_inception)

    @cached_property
    def _split(self) -> Split:
        """The references, with what all figures take of them alone."""
        return Split(self.references, 1, self.seed)


@dataclass(frozen=True)
class SampleQuality(Figures):
    """The figures of samples beside those of as many held-out examples.

    Arguments:
        samples, held_out: against the same training examples.
        space: what was compared, in words, with its hash.
        sampler: what drew the samples.
        num_calls: network calls per sample; None of a model that has no calls to choose.
    """

    samples: Quality
    held_out: Quality
    space: str
    sampler: str
    num_calls: float | None


@dataclass(frozen=True)
class Samples(Figures):
    """Samples that were drawn.

    Arguments:
        num_samples: how many.
        sampler: by which.
        num_calls: network calls per sample; None of a model that has no calls to choose.
        seconds: per sample.
    """

    num_samples: int
    sampler: str
    num_calls: float | None
    seconds: float


def draw(
    run: Run,
    dataset: Dataset,
    num_samples: int,
    plan: Plan | None = None,
    *,
    denoiser: Denoiser | None = None,
    seed: int = 0,
    processes: Processes = ALONE,
    progress: Callable[[int], object] = lambda steps: None,
) -> tuple[np.ndarray, float | None]:
    """Samples, given the training examples' conditions in a conditional run, and the network calls that each took of a
    diffusion model.

    Arguments:
        run: the model.
        dataset: its data.
        num_samples: how many.
        plan: the stepping rule and its steps; the default ones if None.
        denoiser: what takes the place of the run's own, guided say.
        seed, processes, progress: as in `generate`.
    """
    settings = {"seed": seed, "processes": processes, "progress": progress}
    cond = None
    if run.config.data.conditional:
        cond = dataset.cond(np.resize(dataset.some("train", num_samples), num_samples))
    if not run.is_denoiser:
        return generate(run, num_samples, cond=cond, **settings), None
    drawing_run = run if denoiser is None else run.around(denoiser)
    with network_calls(drawing_run.denoiser) as calls:
        samples = generate(drawing_run, num_samples, plan, cond=cond, **settings)
    return samples, processes.sum(torch.tensor(float(sum(calls)))).item() / num_samples
