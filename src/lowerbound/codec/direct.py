"""The code of an autoregressive model: each entry under its distribution given those before it, in the model's own order.

The encoder goes through the entries as the decoder does, by the model's `filled`, so that the two ask it the same questions
in the same batches and get the same answers; one that asked for all at once would get other last digits.
"""

import numpy as np
import torch
from torch import Tensor

from lowerbound.codec.chain import Levels, to_numpy
from lowerbound.codec.stack import Stack
from lowerbound.levels import level_centres
from lowerbound.models import Autoregressive


class Direct:
    """The code of an autoregressive model.

    Arguments:
        model: in double precision.
        num_levels: K of the data.
    """

    def __init__(self, model: Autoregressive, num_levels: int):
        self.model, self.num_levels = model, num_levels

    def push(self, stack: Stack, levels: Levels) -> None:
        """Push a batch of examples."""
        batch = len(levels)
        # position by position, and channel by channel within each
        entries = iter(np.moveaxis(levels, 1, -1).reshape(batch, -1).T)
        answered: list[tuple[np.ndarray, Tensor]] = []

        def answer(parameters: Tensor) -> Tensor:
            answered.append((next(entries), parameters))
            return self._values(*answered[-1])

        self.model.filled(batch, answer)
        for symbols, parameters in reversed(answered):
            stack.push_rows(symbols, self._log_masses(parameters))

    def pop(self, stack: Stack, batch: int) -> Levels:
        """Pop the batch of so many examples that was pushed last."""
        popped: list[np.ndarray] = []

        def answer(parameters: Tensor) -> Tensor:
            popped.append(stack.pop_rows(self._log_masses(parameters)))
            return self._values(popped[-1], parameters)

        self.model.filled(batch, answer)
        channels, *spatial = self.model.shape
        return np.moveaxis(np.stack(popped, 1).reshape(batch, *spatial, channels), -1, 1)

    def _log_masses(self, parameters: Tensor) -> np.ndarray:
        return to_numpy(self.model.output.log_masses(parameters.flatten(1), self.num_levels))

    def _values(self, symbols: np.ndarray, parameters: Tensor) -> Tensor:
        values = level_centres(torch.from_numpy(symbols), self.num_levels).to(parameters)
        return values.reshape(len(symbols), 1, *[1] * (parameters.ndim - 2))
