"""Whether what a trainer holds is fit to be kept: looked at before anything is written over the last good state."""

import math

import torch

from lowerbound.train.loop import DivergenceError, Trainer

FAR = 1000.0
"""A loss that is larger than the one before by so many times its size, or by so many bits/dim, is that of a model which is
lost: ten times as much happens in training that recovers."""


class Watch:
    """Compares a trainer with what it was when it was last found good.

    Arguments:
        trainer: what is watched, at a state that is known to be good: untrained, or restored.

    Raises:
        DivergenceError: if that state is not good.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.loss = math.nan
        self.check()

    def check(self) -> None:
        """Look at the trainer as it is now, which is good from now on.

        Raises:
            DivergenceError: if a number that would be saved is not finite, or the loss of the same examples under the same
                noise is not, or far above what it was.
        """
        after = f"after step {self.trainer.step}"
        tensors, _ = self.trainer.state()
        for group, named in tensors.items():
            for name, tensor in named.items():
                if not torch.isfinite(tensor).all():
                    raise DivergenceError(f"{after} {name} ({group}) holds values that are not finite")
        loss = self.trainer.probe()
        # whatever is compared with NaN, the first loss, is not larger
        if not math.isfinite(loss) or loss - self.loss > FAR * max(1.0, abs(self.loss)):
            before = "" if math.isnan(self.loss) else f", where it was {self.loss:.4g} before"
            raise DivergenceError(f"{after} the loss of the same examples is {loss:.4g}{before}")
        self.loss = loss
