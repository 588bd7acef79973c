"""How good samples of a run are: their features against those of training examples, beside as many held-out ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lowerbound.data import Dataset
from lowerbound.denoiser import Denoiser
from lowerbound.evaluate.features import FeatureSpace
from lowerbound.evaluate.finding import Finding, Severity
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.quality import Quality, quality
from lowerbound.evaluate.report import Table
from lowerbound.rounding import figure_text
from lowerbound.run import Run
from lowerbound.run.generate import generate, network_calls
from lowerbound.samplers.plan import Plan

NUM_REFERENCES = 5000
"""Training examples that samples are compared with, at most."""
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
        return self.space(self.dataset.spec.encoding.encode(samples[: len(self.held_out)]))

    def quality(self, samples: np.ndarray) -> Quality:
        """Of samples, (K, *shape), as they are stored."""
        return quality(self.features(samples), self.references, seed=self.seed)

    def floor(self) -> Quality:
        """Of the held-out examples."""
        return quality(self.held_out, self.references, seed=self.seed)


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

    def tables(self) -> list[Table]:
        return [Table(self.caption, self.header, tuple(self.rows()))]

    def findings(self) -> list[Finding]:
        """One sentence on the distance, one on samples that are no data, one on data that no sample is like."""
        (mine, error), (real, real_error) = self.samples.frechet, self.held_out.frechet
        figures = (
            f"the Frechet distance to the training data is {figure_text(mine, error)}, that of as many held-out examples "
            f"{figure_text(real, real_error)}"
        )
        return [
            self._finding(
                self._gap("frechet"),
                f"Samples differ from the data: {figures}.",
                f"Samples perhaps differ from the data: {figures}, {self._gap('frechet'):.1f} standard errors more.",
                f"Not told apart from held-out data by the Frechet distance: {figures}.",
            ),
            self._balls(
                ("precision", "density"),
                "Samples that are like no data",
                "Perhaps samples that are like no data",
                "No samples seen that are like no data",
            ),
            self._balls(
                ("recall", "coverage"),
                "Data that no sample is like",
                "Perhaps data that no sample is like",
                "No data seen that no sample is like",
            ),
        ]

    def _balls(self, names: tuple[str, str], sure: str, hint: str, fine: str) -> Finding:
        figures = " and ".join(
            f"{name} {figure_text(*getattr(self.samples, name))} against {figure_text(*getattr(self.held_out, name))}"
            for name in names
        )
        z = max(-self._gap(name) for name in names)
        return self._finding(
            z, *(f"{verdict}: {figures} of as many held-out examples." for verdict in (sure, hint, fine))
        )

    @staticmethod
    def _finding(z: float, sure: str, hint: str, fine: str) -> Finding:
        """By how many standard errors z the samples are worse."""
        severity = Severity.of(z)
        return Finding(severity, {Severity.SERIOUS: sure, Severity.CHANGE: hint}.get(severity, fine))

    def _gap(self, name: str) -> float:
        """Samples less held-out examples, in standard errors."""
        mine, real = getattr(self.samples, name), getattr(self.held_out, name)
        difference, error = mine[0] - real[0], math.hypot(mine[1], real[1])
        if error > 0:
            return difference / error
        return math.copysign(math.inf, difference) if difference else 0.0


def draw(
    run: Run,
    dataset: Dataset,
    num_samples: int,
    plan: Plan | None = None,
    *,
    denoiser: Denoiser | None = None,
    seed: int = 0,
    progress: Callable[[int], object] = lambda steps: None,
) -> tuple[np.ndarray, float | None]:
    """Samples, given the training examples' conditions in a conditional run, and the network calls that each took of a
    diffusion model.

    Arguments:
        run: the model.
        dataset: its data.
        num_samples: how many.
        plan: the stepping rule and its steps; the default ones if None.
        denoiser: what takes the place of the run's own, guided say; it calls the run's own.
        seed, progress: as in `generate`.
    """
    cond = dataset.cond(np.resize(dataset.train, num_samples)) if run.config.data.conditional else None
    drawn = run if denoiser is None else run.around(denoiser)
    given = {"seed": seed, "cond": cond, "progress": progress}
    if not run.is_denoiser:
        return generate(run, num_samples, **given), None
    with network_calls(run.denoiser) as calls:
        samples = generate(drawn, num_samples, plan, **given)
    return samples, sum(calls) / num_samples
