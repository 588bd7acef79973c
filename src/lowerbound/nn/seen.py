r"""Odds of the levels of an entry by how often each came before.

The pixels of a drawing that was scaled have few greys, and those of a row or a column often the same one. What came before
an entry says which: in all of its channel, $n_{0k}$ entries at level k, and on its line along axis i of the example,
$n_{ik}$. To the logits $l_k$ of a categorical distribution they add

$$\sum_i c_i \log(1 + n_{ik}) + \sum_m c_m t_m(k), \qquad t = W_2\, \mathrm{silu}(W_1 \log(1 + n_0)),$$

with coefficients c that the network says of each entry, as it says the logits, and M tables t that tell which levels go
together. A denoiser, which is shown all of an example at once, has its kind tell it (`discrete.odds`).
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.errors import InputError
from lowerbound.levels import check_counted, histogram, nearest_level, places
from lowerbound.settings import check_least
from lowerbound.shapes import Spatial

HIDDEN = 64
_SPREAD = 0.05  # of the last layer's weights: of zeros times coefficients of zero nothing could be learned

Counts = list[Float[Tensor, "batch levels ..."]]
"""How many entries at each level came before each entry: in all of its channel, and then on its line along each axis."""


class SeenLevels(nn.Module):
    r"""Adds to logits what the levels before an entry make likely.

    Arguments:
        num_tables: M, at least 1.
        shape: the shape of one example, (C, *spatial).
        num_levels: K, at most `levels.MOST_COUNTED`.

    Attributes:
        num_coefficients: of each entry, those of the counts first.

    Raises:
        InputError: `num_tables` or `num_levels` out of range, or the shape of a vector, which has no lines and no channels.
    """

    def __init__(self, num_tables: int, shape: tuple[int, ...], num_levels: int) -> None:
        super().__init__()
        check_least(1, num_tables=num_tables)
        if len(shape) == 1:
            raise InputError(
                "odds of levels by how often they came before are of signals, images and volumes: entries of a vector "
                "are of different things; leave odds out"
            )
        self.spatial = shape[1:]
        self.num_levels = check_counted(num_levels)
        self.num_tables = num_tables
        # a signal is one line
        self.num_lines = len(self.spatial) if len(self.spatial) > 1 else 0
        self.num_coefficients = 1 + self.num_lines + num_tables
        self.into = nn.Conv1d(num_levels, HIDDEN, 1)
        self.out = nn.Conv1d(num_tables * HIDDEN, num_levels, 1, bias=False)
        nn.init.normal_(self.out.weight, std=_SPREAD)

    def counts(self, x: Spatial) -> Counts:
        """Those of all entries at once."""
        levels = nearest_level(x, self.num_levels).long().unsqueeze(1)
        at = x.new_zeros(len(x), self.num_levels, *x.shape[1:]).scatter_(1, levels, 1)
        in_all = at.flatten(3).cumsum(3).view(at.shape) - at
        return [in_all, *(at.cumsum(3 + axis) - at for axis in range(self.num_lines))]

    def counts_at(self, x: Spatial, entry: int) -> Counts:
        """Those of one entry, of which only what comes before it in x is looked at.

        Arguments:
            x: examples, filled up to there.
            entry: its number in the order of `nn.causal`, position by position and channel by channel in each.
        """
        position, channel = divmod(entry, x.shape[1])
        own = x[:, channel]
        before = [own.flatten(1)[:, :position]]
        for axis in range(self.num_lines):
            line: list[Any] = list(np.unravel_index(position, self.spatial))
            line[axis] = slice(line[axis])
            before.append(own[:, *line])
        one_each = [1] * (len(self.spatial) + 1)
        entries = (places(nearest_level(values, self.num_levels), self.num_levels) for values in before)
        return [histogram(each, self.num_levels).unflatten(1, (-1, *one_each)) for each in entries]

    def forward(
        self,
        logits: Float[Tensor, "batch levels channels *spatial"],
        coefficients: Float[Tensor, "batch coefficients channels *spatial"],
        counts: Counts,
    ) -> Float[Tensor, "batch levels channels *spatial"]:
        """The logits with the odds.

        Arguments:
            logits: $l_k$.
            coefficients: c.
            counts: n.
        """
        logarithms = [torch.log1p(number) for number in counts]
        by_count, by_table = coefficients.tensor_split([len(counts)], dim=1)
        for logarithm, coefficient in zip(logarithms, by_count.unbind(1), strict=True):
            logits = torch.addcmul(logits, logarithm, coefficient.unsqueeze(1))
        # sum_m c_m W_m silu(...): of few hidden units, where each table would be as large as the logits
        hidden = functional.silu(self.into(logarithms[0].flatten(2)))
        weighted = (by_table.flatten(2).unsqueeze(2) * hidden.unsqueeze(1)).flatten(1, 2)
        return logits + self.out(weighted).view(logits.shape)
