"""Early stopping: whether held-out bits/dim have stopped falling.

The same examples are measured each time with the same times and noise. So what a measurement has gained over the best one
is the mean of the examples' differences, whose standard error is far smaller than that of either. A new best counts where
the gain is more than `ERRORS` of it; less may add up until it does, since the best one stays what later ones are compared
with.
"""

import torch
from torch import Tensor

from lowerbound.words.counts import counted

ERRORS = 2.0
"""Standard errors of a gain, above which it is more than noise."""


class Patience:
    """How many measurements have brought nothing new.

    Arguments:
        most: the number after which training stops.

    Attributes:
        best: bits/dim of each example at the best measurement, (N,); empty before the first.
        num_vain: how many measurements there were since.
    """

    def __init__(self, most: int):
        self.most = most
        self.best = torch.zeros(0, dtype=torch.float64)
        self.num_vain = 0

    @property
    def is_over(self) -> bool:
        """Whether training stops."""
        return self.num_vain >= self.most

    @property
    def reason(self) -> str:
        """Why, in words."""
        return (
            f"the last {counted(self.num_vain, 'measurement')} of held-out bits/dim brought no new best "
            f"by more than {ERRORS:g} standard errors"
        )

    def take(self, bits: Tensor) -> None:
        """Take in a measurement, bits/dim of each example, (N,)."""
        if self.best.shape != bits.shape or _is_below(bits, self.best):
            self.best, self.num_vain = bits.clone(), 0
        else:
            self.num_vain += 1

    def renew(self) -> None:
        """Begin to count again, from the best measurement so far."""
        self.num_vain = 0

    def state_dict(self) -> dict[str, Tensor]:
        """All that `load_state_dict` needs."""
        return {"best": self.best, "num_vain": torch.tensor(self.num_vain)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict`."""
        self.best, self.num_vain = state["best"].double().cpu().reshape(-1), int(state["num_vain"])


def _is_below(bits: Tensor, best: Tensor) -> bool:
    """Whether the mean is smaller by more than noise."""
    gain = best - bits
    error = gain.std().item() / len(gain) ** 0.5 if len(gain) > 1 else 0.0
    return gain.mean().item() > ERRORS * error
