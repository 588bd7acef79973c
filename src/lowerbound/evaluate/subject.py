"""What an evaluation is of: the model, the data, what is asked for, and how fast the network is."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lowerbound.data import Dataset
from lowerbound.evaluate.part import Pace
from lowerbound.evaluate.settings import Settings
from lowerbound.run import Run
from lowerbound.scoring import score

QUICK_SECONDS = 15.0
"""For bits/dim, and again for the picture, where only a quick look is asked for."""


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
    """

    run: Run
    dataset: Dataset
    settings: Settings
    folder: Path
    own: bool
    pace: Pace

    @property
    def affordable(self) -> float:
        """Network calls for one example each that a quick look has time for."""
        return QUICK_SECONDS / self.pace.per_call if self.pace.known else 256.0

    @property
    def incomparable(self) -> str | None:
        """Why samples, which are complete, can't be compared with the data; None if they can."""
        if not self.dataset.spec.has_missing:
            return None
        return f"samples are complete, and entries of {self.dataset.spec.name} are missing: the two can't be compared"

    def probe(self) -> None:
        """Measure how fast the network is, on a few test examples; it also finds out settings that the run can't have.

        Raises:
            InputError: for such settings.
        """
        run, settings = self.run, self.settings
        if run.model.likelihood == "none":
            return
        if run.is_denoiser:
            settings.flow.dequantizer_of(run)
        importance = 1 if run.is_denoiser else settings.effort.importance
        effort = replace(settings.effort, num_draws=1, importance=importance)

        def calls(num: int) -> float:
            which = np.resize(self.dataset.test, num)
            score(run, self.dataset.examples[which], effort, numbers=which)
            return float(num * importance)

        self.pace.probe(calls)
