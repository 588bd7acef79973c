"""How many of torch's threads a training takes: as many as make its steps fastest, measured along the way.

Threads wait for one another at every operation. Beside other busy processes, one that has to wait for its processor holds up
all the others, and a step on two threads can take many times what it takes on one.
"""

import statistics
from collections import deque

import torch

MEMORY = 9
"""How many of the last steps say what a step costs."""
FEWEST = 3
"""How many steps on a number of threads come before a trial of another one."""
TRIAL_SHARE = 0.05
"""The share of the time that trials of another number take, about."""
GAIN = 0.9
"""What a step on another number of threads must take of the present one's time to be preferred."""


class ThreadChoice:
    """The number of threads, from one to torch's own, by trials of the next smaller and the next larger power of two.

    A trial is two steps on another number, of which the second counts. It is repeated the more seldom the longer it took.
    """

    def __init__(self):
        self.most = self.chosen = torch.get_num_threads()
        self._recent: deque[float] = deque(maxlen=MEMORY)
        self._waited: dict[int, float] = {}
        self._costs: dict[int, float] = {}
        self._trial: list[float] | None = None

    def took(self, seconds: float) -> None:
        """A step has taken so long; the next one runs on as many threads as are set now."""
        if self._trial is not None:
            self._trial.append(seconds)
            if len(self._trial) == 2:
                self._judge(self._trial)
            return
        self._recent.append(seconds)
        for number in self._waited:
            self._waited[number] += seconds
        neighbours = {max(1, self.chosen // 2), min(self.most, 2 * self.chosen)} - {self.chosen}
        due = [number for number in neighbours if self._is_due(number)]
        if due and len(self._recent) >= FEWEST:
            self._trial = []
            torch.set_num_threads(due[0])

    def release(self) -> None:
        """Give torch all its threads back."""
        torch.set_num_threads(self.most)

    def _is_due(self, number: int) -> bool:
        return number not in self._costs or self._waited[number] * TRIAL_SHARE >= self._costs[number]

    def _judge(self, trial: list[float]) -> None:
        tried = torch.get_num_threads()
        self._waited[tried], self._costs[tried], self._trial = 0.0, sum(trial), None
        if trial[1] < GAIN * statistics.median(self._recent):
            self._waited[self.chosen], self._costs[self.chosen] = 0.0, 2 * self._recent[-1]
            self.chosen = tried
            self._recent.clear()
        torch.set_num_threads(self.chosen)
