r"""Odds of the levels of discrete data that a whole example shares.

A normal distribution on the levels does not know which of them an example has. Its kind does, as far as noise lets it be
told (`fitted.FittedHistograms`), and gives M tables of odds $t_m(k)$; what surrounds an entry says how much of each holds
there:

$$P(k | x_t) \propto e^{-(k - m')^2 / 2 \tau'^2 + \sum_m c_m t_m(k)}, \qquad t_m(k) = \sum_c P(c | x_t)\, T_{mck} \;
\Big[ + \log \frac{\theta_k(x_t)}{\bar\theta_k(x_t)} \;\text{for } m = 1 \Big],$$

with the normal of `LevelDenoiser` as it is without them, T learned, and $\bar\theta$ the mean of $\theta$ over the levels
within `REACH`: the first table begins as what the fitted histograms say beyond what is smooth. The mean of P is taken over
the levels within `REACH` of m', and its distance from the normal's own mean on the same levels is told in full where
$\tau'$ is narrow, less where it covers more levels than `WIDE`, and not at all where it covers many, where odds of single
levels say nothing.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

from lowerbound.elementary import Scalar
from lowerbound.fitted import FittedHistograms
from lowerbound.settings import check_least

REACH = 8
"""Levels on either side of a normal's mean that are looked at."""
WIDE = 3.0
"""The standard deviation, in levels, at which odds of levels count 1/e."""
_NARROWEST = 1e-2  # of a variance in squared levels: there all of a normal's mass is on one level
_NOWHERE = -1e4  # a log odds that leaves nothing, and of which no infinity comes
_SPREAD = 0.05  # of T: of zeros times coefficients of zero nothing could be learned
_RARE = 1e-3  # of an even share: the chance of a level that none of a kind's examples has


class LevelOdds(nn.Module):
    r"""$t_m(k)$ of each channel of an example, and the mean that they make of a normal on the levels.

    Arguments:
        num_tables: M, at least 1.
        num_kinds: K of examples, at least 1.
        shape: the shape of one example: (D,), all entries of one channel, or (C, *spatial).
        num_levels: L, at most `levels.MOST_COUNTED`.

    Attributes:
        histograms: of the kinds, to be fitted.

    Raises:
        InputError: `num_tables`, `num_kinds` or `num_levels` out of range.
    """

    def __init__(self, num_tables: int, num_kinds: int, shape: tuple[int, ...], num_levels: int) -> None:
        super().__init__()
        check_least(1, num_tables=num_tables)
        self.num_tables = num_tables
        self.num_channels = 1 if len(shape) == 1 else shape[0]
        self.num_levels = num_levels
        self.histograms = FittedHistograms(num_kinds, self.num_channels, num_levels)
        self.by_kind = nn.Linear(num_kinds, num_tables * self.num_channels * num_levels, bias=False)
        nn.init.normal_(self.by_kind.weight, std=_SPREAD)

    def kinds(
        self,
        position: Float[Tensor, "batch *shape"],
        width: Scalar,
        observed: Bool[Tensor, "batch *shape"] | None = None,
    ) -> Float[Tensor, "batch num_kinds"]:
        r"""$P(c | x_t)$ of noisy entries at a position under noise of a width, in levels; missing ones do not count."""
        counted = None if observed is None else self._by_channel(observed)
        return self.histograms.kinds(self._by_channel(position), width, counted)

    def tables(self, kinds: Float[Tensor, "batch num_kinds"]) -> Float[Tensor, "tables batch channels levels"]:
        r"""$t_m(k)$.

        Arguments:
            kinds: $P(c | x_t)$.
        """
        told = self.by_kind(kinds.to(self.by_kind.weight.dtype)).to(kinds.dtype)
        tables = told.unflatten(1, (self.num_tables, self.num_channels, self.num_levels)).movedim(1, 0)
        theta = self.histograms.levels(kinds)
        around = avg_pool1d(theta, 2 * REACH + 1, 1, REACH, count_include_pad=False)
        least = _RARE / self.num_levels
        beyond = ((theta + least) / (around + least)).log().masked_fill(self.histograms.common > 0, 0)
        return torch.cat([tables[:1] + beyond, tables[1:]])

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
