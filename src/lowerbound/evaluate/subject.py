"""What an evaluation is of, and what several of its parts are made from, each made once."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.features import MAX_ENTRIES, FeatureClassifier, FeatureSpace, feature_classifier, feature_space
from lowerbound.evaluate.inception import inception_space
from lowerbound.evaluate.judge import Judge, num_compared
from lowerbound.evaluate.likelihood import scored
from lowerbound.evaluate.nearest import most_searched
from lowerbound.evaluate.part import Pace
from lowerbound.evaluate.settings import Settings
from lowerbound.run import Run
from lowerbound.run.autoguided import for_samples
from lowerbound.scoring import score
from lowerbound.training.parallel.processes import ALONE, Processes

QUICK_SECONDS = 15.0
"""For bits/dim, and again for the picture, where only a quick look is asked for."""
SAMPLES, EACH, FEATURES = "samples.npy", "bits.npy", "features.npy"
"""The files of the samples that were drawn, of the bits/dim of each example, and of the features of training and then of
held-out examples, where these take long."""
MOST_COMPARED = 20_000
"""Of a split, that samples stand beside."""
MOST_RANKED = 2_000
"""Of the test split, whose nearest training example is sought, as that of samples is."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What the parts of an evaluation are made from.

    Arguments:
        run: the model.
        dataset: what it is evaluated on.
        settings: what is asked for.
        folder: of the evaluation, where files of parts that are done lie.
        own: whether the data are the run's own; of others only bits/dim can be told.
        pace: of the network, measured.
        processes: that work on the parts that they share.
    """

    run: Run
    dataset: Dataset
    settings: Settings
    folder: Path
    own: bool
    pace: Pace
    processes: Processes = ALONE

    @property
    def affordable(self) -> float:
        """Network calls for one example each that a quick look has time for."""
        return QUICK_SECONDS / self.pace.per_call if self.pace.per_call else 256.0

    @property
    def incomparable(self) -> str | None:
        """Why samples, which are complete, can't be compared with the data; None if they can."""
        if not self.dataset.spec.has_missing:
            return None
        return f"samples are complete, and entries of {self.dataset.spec.name} are missing: the two can't be compared"

    @cached_property
    def drawn_from(self) -> Run:
        """The run as its samples are drawn."""
        return for_samples(self.run)

    @property
    def drawing(self) -> dict[str, object]:
        """What all that is said of samples depends on."""
        guided = self.drawn_from is not self.run
        return {"num": self.settings.num_samples, "seed": self.settings.seed, "guided": guided}

    @property
    def judging(self) -> dict[str, object]:
        """What all that is said of samples in the space of features depends on."""
        return self.drawing if self.settings.features == "own" else {**self.drawing, "features": self.space.hash}

    @cached_property
    def samples(self) -> Tensor:
        """The samples that were drawn, as the model has them."""
        return self.dataset.spec.encoding.encode(self._found(SAMPLES, "samples"))

    @property
    def bits(self) -> np.ndarray:
        """The bits/dim of each example, as they were found."""
        return self._found(EACH, "bits/dim of the examples")

    @cached_property
    def ranked(self) -> np.ndarray:
        """The test examples whose nearest training example is sought, by their indices."""
        return self.dataset.some("test", MOST_RANKED, MAX_ENTRIES)

    @cached_property
    def references(self) -> np.ndarray:
        """The training examples among which it is sought: all, or as many as take about a minute."""
        num_queries = self.settings.num_samples + len(self.ranked)
        return np.sort(self.dataset.some("train", most_searched(num_queries, math.prod(self.dataset.shape))))

    @cached_property
    def tested(self) -> np.ndarray:
        """The test examples that samples stand beside, by their indices."""
        return self.dataset.some("test", MOST_COMPARED, MAX_ENTRIES)

    @cached_property
    def test(self) -> Tensor:
        """Test examples, as the model has them."""
        return self.dataset.encoded(self.tested)

    @cached_property
    def classifier(self) -> FeatureClassifier | None:
        """Of the data, if they have labels."""
        return feature_classifier(self.dataset, self.run.folder.path)

    @cached_property
    def space(self) -> FeatureSpace:
        """In which samples are compared with the data."""
        if self.settings.features == "inception":
            return inception_space(self.dataset.spec, self.settings.inception_weights, self.run.device)
        return feature_space(self.dataset, self.classifier)

    @cached_property
    def judge(self) -> Judge:
        """What samples are compared with."""
        if self.settings.features == "own":
            return Judge.of(self.dataset, self.space, self.settings.num_samples, self.settings.seed)
        features = self._found(FEATURES, "features of the data").astype(np.float64)
        num_references, _ = num_compared(self.dataset, self.settings.num_samples)
        return Judge(self.dataset, self.space, features[:num_references], features[num_references:], self.settings.seed)

    def probe(self) -> None:
        """Measure how fast the network is, on a few test examples; it also finds out settings that the run can't have.

        Raises:
            InputError: for such settings.
        """
        run, effort = self.run, replace(self.settings.effort, num_draws=1)
        if run.model.likelihood == "none":
            return
        if run.is_denoiser:
            self.settings.flow.dequantizer_of(run)
            effort = replace(effort, importance=1)

        def calls(num_examples: int) -> float:
            indices = np.resize(self.dataset.some("test", num_examples), num_examples)
            score(run, self.dataset.examples[indices], effort, **scored(run, self.dataset, indices, self.settings.seed))
            return float(num_examples * effort.importance)

        self.pace.probe(calls)
        # what a quick look takes depends on it, and is the same for all
        self.pace.calls, self.pace.seconds = self.processes.by_first(lambda: (self.pace.calls, self.pace.seconds))

    def _found(self, file: str, what: str) -> np.ndarray:
        """What another part has left in the folder."""
        try:
            return np.load(self.folder / file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"there are no {what} to look at: {error}") from error
