"""What a timed run may spend on measurements and pictures along the way, so that they never eat up its training."""

import time
from collections.abc import Generator
from contextlib import contextmanager


class Allowance:
    """A share of a run's time; a run of given steps has no limit.

    Arguments:
        seconds: what there is to spend; None: no limit.
    """

    def __init__(self, seconds: float | None):
        self.seconds = seconds
        self.spent = 0.0
        self._costs: dict[str, float] = {}

    def affords(self, name: str, expected: float, progress: float) -> bool:
        """Whether something may be done now, after a share of the run, if it is to be done once more at the end.

        Arguments:
            name: of what is done, whose cost is remembered.
            expected: what it costs, seconds, as long as it has not been done yet.
            progress: how much of the run is done, 0 to 1.
        """
        if self.seconds is None or progress >= 1:
            return True
        cost = self._costs.get(name, expected)
        return self.spent + cost <= min(progress * self.seconds, self.seconds - cost)

    @contextmanager
    def spending(self, name: str) -> Generator[None]:
        """While entered, something is done that costs time."""
        began = time.monotonic()
        yield
        self._costs[name] = time.monotonic() - began
        self.spent += self._costs[name]
