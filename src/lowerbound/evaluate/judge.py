"""How good samples of a run are: their features against those of training examples, beside as many held-out ones."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lowerbound.data import Dataset
from lowerbound.denoiser import Denoiser
from lowerbound.evaluate.features import FeatureSpace
from lowerbound.evaluate.quality import Quality, quality
from lowerbound.evaluate.report import figure_text
from lowerbound.run import Run
from lowerbound.run.generate import Plan, generate, network_calls

NUM_REFERENCES = 5000
"""Training examples that samples are compared with, at most."""
SIGNIFICANT = 3.0
FIGURES = {
    "frechet": "Frechet distance",
    "kernel": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
"""The figures of `Quality` and what tables call them."""


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
    def of(cls, dataset: Dataset, space: FeatureSpace, num_samples: int, seed: int = 0) -> "Judge":
        """One that compares `num_samples` samples, or as many as there are held-out examples."""
        order = np.random.default_rng(seed)
        known = order.permutation(dataset.train)[:NUM_REFERENCES]
        held_out = order.permutation(np.concatenate([dataset.test, dataset.validation]))[:num_samples]
        return cls(dataset, space, space(dataset.encoded(known)), space(dataset.encoded(held_out)), seed)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Features of as many of the samples, (K, *shape) as they are stored, as there are held-out examples."""
        return self.space(self.dataset.encoding.encode(samples[: len(self.held_out)]))

    def quality(self, samples: np.ndarray) -> Quality:
        """Of samples, (K, *shape), as they are stored."""
        return quality(self.features(samples), self.references, seed=self.seed)

    def floor(self) -> Quality:
        """Of the held-out examples."""
        return quality(self.held_out, self.references, seed=self.seed)


@dataclass(frozen=True)
class SampleQuality:
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SampleQuality":
        """From what `dataclasses.asdict` gives, as JSON returns it; KeyError or TypeError if it is something else."""
        return cls(**{**values, **{name: read_quality(values[name]) for name in ("samples", "held_out")}})

    @property
    def caption(self) -> str:
        """What the figures are of."""
        calls = "" if self.num_calls is None else f", {self.num_calls:g} calls each"
        return f"Samples by {self.sampler}{calls}, against {self.samples.num_references:,} training examples in {self.space}"

    @property
    def header(self) -> tuple[str, str, str]:
        """Of the `rows`."""
        return "", f"{self.samples.num_samples:,} samples", f"{self.held_out.num_samples:,} held-out examples"

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, and each figure with its standard error of samples and of held-out examples."""
        return [
            (name, figure_text(*getattr(self.samples, key)), figure_text(*getattr(self.held_out, key)))
            for key, name in FIGURES.items()
        ]

    def findings(self) -> list[str]:
        """One sentence on the distance, one on samples that are no data, one on data that no sample is like."""
        sides = [found.frechet for found in (self.samples, self.held_out)]
        texts = [figure_text(*side) for side in sides]
        figures = (
            f"the Frechet distance to the training data is {texts[0]}, that of as many held-out examples {texts[1]}"
        )
        far = "Samples differ from the data" if self._gap("frechet") > SIGNIFICANT else "As near as held-out data"
        return [
            f"{far}: {figures}.",
            self._balls("precision", "density", "Samples that are like no data", "Samples lie among the data"),
            self._balls("recall", "coverage", "Data that no sample is like", "All data are covered"),
        ]

    def _balls(self, first: str, second: str, bad: str, good: str) -> str:
        figures = ", ".join(
            f"{name} {figure_text(*getattr(self.samples, name))} against {figure_text(*getattr(self.held_out, name))}"
            for name in (first, second)
        )
        lacking = min(self._gap(first), self._gap(second)) < -SIGNIFICANT
        return f"{bad if lacking else good}: {figures} of as many held-out examples."

    def _gap(self, name: str) -> float:
        """Samples less held-out examples, in standard errors."""
        mine, real = getattr(self.samples, name), getattr(self.held_out, name)
        error = math.hypot(mine[1], real[1])
        return (mine[0] - real[0]) / error if error > 0 else 0.0


def read_quality(values: Mapping[str, Any]) -> Quality:
    """A `Quality` from JSON's values; TypeError if they are something else."""
    figures: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Quality(**figures)


def draw(
    run: Run,
    dataset: Dataset,
    num_samples: int,
    plan: Plan,
    *,
    denoiser: Denoiser | None = None,
    seed: int = 0,
    progress: Callable[[int], object] = lambda steps: None,
) -> tuple[np.ndarray, float]:
    """Samples, given the training examples' conditions in a conditional run, and the network calls that each took.

    Arguments:
        run: the model.
        dataset: its data.
        num_samples: how many.
        plan: the stepping rule and its steps.
        denoiser: what takes the place of the run's own, guided say; it calls the run's own.
        seed, progress: as in `generate`.
    """
    cond = dataset.cond(np.resize(dataset.train, num_samples)) if run.config.data.conditional else None
    drawn = run if denoiser is None else replace(run, denoiser=denoiser)
    with network_calls(run.denoiser) as calls:
        samples = generate(drawn, num_samples, plan, seed=seed, cond=cond, progress=progress)
    return samples, sum(calls) / num_samples
