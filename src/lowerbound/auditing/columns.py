"""A proposal for masses of too many states to be listed: columns that are independent of each other."""

from dataclasses import dataclass

import numpy as np

from lowerbound.auditing.proposal import WIDE_SHARE
from lowerbound.auditing.subject import Figures, Points
from lowerbound.words.brief import Brief


@dataclass(frozen=True, eq=False, repr=False)
class Columns(Brief):
    """In each column a value as one of some points has it there, or one time in ten any that is possible.

    Arguments:
        points: (N, D).
        values: all that are possible, of each column.
    """

    points: Points
    values: tuple[np.ndarray, ...]

    def sample(self, num: int, seed: int) -> Points:
        """Draws, (num, D)."""
        rng = np.random.default_rng(seed)
        pairs = zip(self.points.T, self.values, strict=True)
        drawn = [
            np.where(rng.random(num) < WIDE_SHARE, rng.choice(values, num), rng.choice(seen, num))
            for seen, values in pairs
        ]
        return np.stack(drawn, 1)

    def log_prob(self, x: Points) -> Figures:
        """The log mass of each point, nats, (N,)."""
        log_q = np.zeros(len(x))
        for column, seen, values in zip(x.T, self.points.T, self.values, strict=True):
            distinct, counts = np.unique(seen, return_counts=True)
            index = np.searchsorted(distinct, column).clip(max=len(distinct) - 1)
            share = np.where(distinct[index] == column, counts[index] / len(seen), 0)
            log_q += np.log((1 - WIDE_SHARE) * share + WIDE_SHARE / len(values))
        return log_q
