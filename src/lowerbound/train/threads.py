"""How many of torch's threads a training takes: as many as make its steps fastest, measured along the way.

Threads wait for one another at every operation. Beside other busy processes, one that has to wait for its processor holds up
all the others, and a step on two threads can take many times what it takes on one.
"""

import statistics
from collections import deque

import torch

MEMORY = 9
"""How many of the last steps say what a step costs."""
TRIAL_SHARE = 0.05
"""The share of the time that trials of other numbers take, about."""
GAIN = 0.9
"""What a step on another number of threads must take of the present one's time to be preferred."""


class ThreadChoice:
    """The number of threads, from one to torch's own, by trials of the next smaller and the next larger power of two.

    A trial is two steps on another number, of which the second counts. Those that lose are repeated the more seldom the
    slower they are.
    """

    def __init__(self):
        self.most = self.chosen = torch.get_num_threads()
        self._recent: deque[float] = deque(maxlen=MEMORY)
        self._since_trial = 0.0
        self._trial_cost = 0.0
        self._trial: list[float] | None = None
        self._tried_more = True

    def took(self, seconds: float) -> None:
        """A step has taken so long; the next one runs on as many threads as are set now."""
        if self._trial is not None:
            self._trial.append(seconds)
            if len(self._trial) == 2:
                self._judge(self._trial)
            return
        self._recent.append(seconds)
        self._since_trial += seconds
        if len(self._recent) >= 3 and self._since_trial * TRIAL_SHARE >= self._trial_cost:
            self._begin_trial()

    def release(self) -> None:
        """Give torch all its threads back."""
        torch.set_num_threads(self.most)

    def _begin_trial(self) -> None:
        fewer, more = max(1, self.chosen // 2), min(self.most, 2 * self.chosen)
        others = [number for number in (more, fewer) if number != self.chosen]
        if not others:
            return
        # in turn, where there are both
        tried = others[self._tried_more % len(others)]
        self._tried_more = not self._tried_more
        self._trial = []
        torch.set_num_threads(tried)

    def _judge(self, trial: list[float]) -> None:
        tried = torch.get_num_threads()
        if trial[1] < GAIN * statistics.median(self._recent):
            self.chosen = tried
            self._recent.clear()
        torch.set_num_threads(self.chosen)
        self._trial, self._trial_cost, self._since_trial = None, sum(trial), 0.0
