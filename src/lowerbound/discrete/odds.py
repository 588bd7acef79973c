r"""Odds of the levels of discrete data that a whole example shares.

The pixels of a drawing that was scaled have few greys, or greys that lie on a lattice, which ones by how much it was scaled.
A normal distribution on the levels knows of none. What all of a noisy example says of it, the histogram h, gives M tables of
odds $t_m(k)$, and what surrounds an entry says how much of each holds there:

$$P(k | x_t) \propto e^{-(k - m')^2 / 2 \tau'^2 + \sum_m c_m t_m(k)}, \qquad t = W_2\, \mathrm{silu}(W_1 \log(1 + h)),$$

with the normal of `LevelDenoiser` as it is without them. Its mean is taken over the levels within `REACH` of m', and its
distance from the normal's own mean on the same levels is told in full where $\tau'$ is narrow, less where it covers
more levels than `WIDE`, and not at all where it covers many, where odds of single levels say nothing.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lowerbound.levels import check_counted, histogram, places
from lowerbound.settings import check_least

REACH = 8
"""Levels on either side of a normal's mean that are looked at."""
WIDE = 3.0
"""The standard deviation, in levels, at which odds of levels count 1/e."""
HIDDEN = 64
_NARROWEST = 1e-2  # of a variance in squared levels: there all of a normal's mass is on one level
_NOWHERE = -1e4  # a log odds that leaves nothing, and of which no infinity comes
_SPREAD = 0.05  # of the last layer's weights: of zeros times coefficients of zero nothing could be learned


class LevelOdds(nn.Module):
    r"""$t_m(k)$ of each channel of an example, and the mean that they make of a normal on the levels.

    Arguments:
        num_tables: M, at least 1.
        shape: the shape of one example: (D,), all entries of one channel, or (C, *spatial).
        num_levels: K, at most `levels.MOST_COUNTED`.

    Raises:
        InputError: `num_tables` or `num_levels` out of range.
    """

    def __init__(self, num_tables: int, shape: tuple[int, ...], num_levels: int) -> None:
        super().__init__()
        check_least(1, num_tables=num_tables)
        self.num_tables = num_tables
        self.num_channels = 1 if len(shape) == 1 else shape[0]
        self.num_levels = check_counted(num_levels)
        num_counts = self.num_channels * num_levels
        self.told = nn.Sequential(nn.Linear(num_counts, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, num_tables * num_counts))
        last = self.told[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=_SPREAD)
        nn.init.zeros_(last.bias)

    def tables(
        self, position: Float[Tensor, "batch *shape"], observed: Bool[Tensor, "batch *shape"] | None = None
    ) -> Float[Tensor, "tables batch channels levels"]:
        r"""$t_m(k)$ of noisy entries at a position, in levels; those that are missing do not count."""
        first = self.told[0]
        assert isinstance(first, nn.Linear)
        counted = None if observed is None else self._by_channel(observed)
        counts = histogram(places(self._by_channel(position), self.num_levels), self.num_levels, counted)
        told = self.told(torch.log1p(counts).flatten(1).to(first.weight.dtype)).to(position.dtype)
        return told.unflatten(1, (self.num_tables, self.num_channels, self.num_levels)).movedim(1, 0)

    def shift(
        self,
        tables: Float[Tensor, "tables batch channels levels"],
        shares: Float[Tensor, "tables batch *shape"],
        centre: Float[Tensor, "batch *shape"],
        variance: Float[Tensor, "batch *shape"],
    ) -> Float[Tensor, "batch *shape"]:
        r"""How far the odds move the mean of the normal on the levels, in levels.

        Arguments:
            tables: $t_m(k)$.
            shares: $c_m$ of each entry.
            centre: m', in levels.
            variance: $\tau'^2$, in squared levels, positive.
        """
        middle = self._by_channel(centre.clamp(0, self.num_levels - 1))
        steps = torch.arange(-REACH, REACH + 1, device=centre.device)
        nearest = middle.detach().round()
        levels = nearest.long()[..., None] + steps
        among = levels.clamp(0, self.num_levels - 1)
        apart = steps - (middle - nearest)[..., None]
        precision = 1 / self._by_channel(variance).clamp(min=_NARROWEST)[..., None]
        log_normal = (apart.square() * (-precision / 2)).masked_fill(levels != among, _NOWHERE)
        log_shares = log_normal
        for table, share in zip(tables, shares, strict=True):
            told = table.gather(2, among.flatten(2)).view(levels.shape)
            log_shares = torch.addcmul(log_shares, told, self._by_channel(share)[..., None])
        moved = (log_shares.softmax(-1) - log_normal.softmax(-1)) @ steps.to(centre.dtype)
        return moved.view(centre.shape) * torch.exp(-variance / WIDE**2)

    def _by_channel(self, entries: Tensor) -> Tensor:
        """(batch, channels, entries) of a batch of examples."""
        # not len: in an exported graph that would be a constant
        return entries.reshape(entries.shape[0], self.num_channels, -1)
