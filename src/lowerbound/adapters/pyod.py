"""PyOD: a diffusion model as a detector of outliers, whose score of a row is its -log p(x)."""

from typing import Any

import numpy as np
from pyod.models.base import BaseDetector

from lowerbound.estimator import DiffusionDensity


class DiffusionDetector(BaseDetector):
    """An outlier detector: a row is the more of an outlier, the lower its bound on log p(x).

    Arguments:
        contamination: the share of outliers expected among the rows to fit, above 0 and at most 0.5, by which the threshold
            is set.
        estimator: an unfitted `DiffusionDensity`; one with its own defaults if None.
    """

    def __init__(self, contamination: float = 0.1, estimator: DiffusionDensity | None = None):
        super().__init__(contamination=contamination)
        self.estimator = estimator

    def fit(self, X: Any, y: Any = None) -> "DiffusionDetector":
        """Train on rows, (N, D), outliers among them; y is ignored."""
        self._set_n_classes(y)
        self.estimator_ = (DiffusionDensity() if self.estimator is None else self.estimator).fit(X)
        self.decision_scores_ = self.decision_function(X)
        self._process_decision_scores()
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """-log p(x) of each row, (N,), nats: the larger, the more of an outlier."""
        return -self.estimator_.score_samples(X)

    def explain(self, X: Any) -> np.ndarray:
        """What each column adds to the score of each row, (N, D): rows add up to `decision_function`."""
        return -self.estimator_.score_samples(X, by="column")
