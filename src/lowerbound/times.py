r"""Times drawn where the loss is large: importance sampling of the bound's integral.

$$E_{t \sim U(0, 1)}[L(t)] = E_{t \sim p}\left[\frac{L(t)}{p(t)}\right], \qquad p(t) \propto \sqrt{E[L(t)^2]}$$

has the least variance of all p (Nichol & Dhariwal 2021, equation 18). Here p is constant on parts of [0, 1] and follows a
running mean of squared losses. To draw from it through its inverse distribution function keeps evenly spread numbers evenly
spread.

Where two networks share the levels, each learns from its own alone: how many of a batch are on either side is then fixed,
and within each p is as above.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.shapes import PerExample

_ENOUGH = 10  # losses seen in every part before p departs from uniform, as published
_UNIFORM = 0.01  # share of p that stays uniform: no part is ever forgotten
_MEMORY = 0.9  # of the running mean, per loss


def antithetic_times(offset: Float[Tensor, ""], batch_size: int) -> PerExample:
    r"""$t_i = (u + i/B) \bmod 1$: a uniform time for each example, evenly spread over the batch (VDM, appendix I.1).

    Arguments:
        offset: u in [0, 1], one for the batch.
        batch_size: B, the number of examples of the whole batch, whatever part of it is worked on at a time.
    """
    return (offset + torch.arange(batch_size, device=offset.device, dtype=offset.dtype) / batch_size) % 1


class ImportanceTimes(nn.Module):
    """A density p over times that learns from the losses it is shown.

    Arguments:
        num_parts: of [0, 1], on each of which p is constant; of equal length on either side of the split.
        split: a time that is a boundary of parts; 1 for none.
        share: the probability of all times above it.

    Raises:
        InputError: if the split or the share is out of range.
    """

    second_moment: Tensor
    num_seen: Tensor
    widths: Tensor
    is_above: Tensor

    def __init__(self, num_parts: int = 64, split: float = 1.0, share: float = 0.0):
        super().__init__()
        if not (0 < split <= 1 and 0 <= share < 1 and (split == 1) == (share == 0)):
            raise InputError(
                f"a share of {share} of the times above {split}: give a time and a share between 0 and 1, or neither"
            )
        num_above = num_parts // 2 if share else 0
        self.register_buffer("second_moment", torch.zeros(num_parts, dtype=torch.float64))
        self.register_buffer("num_seen", torch.zeros(num_parts, dtype=torch.int64))
        is_above = torch.arange(num_parts) >= num_parts - num_above
        self.register_buffer("is_above", is_above, persistent=False)
        below, above = split / (num_parts - num_above), (1 - split) / max(1, num_above)
        widths = torch.full((num_parts,), below, dtype=torch.float64).masked_fill(is_above, above)
        self.register_buffer("widths", widths, persistent=False)
        self.share = share

    def density(self) -> Float[Tensor, "num_parts"]:
        """p on each part; its mean over [0, 1] is 1."""
        root = self.second_moment.sqrt()
        mass = self.widths.clone()
        for side, share in ((~self.is_above, 1 - self.share), (self.is_above, self.share)):
            if bool((self.num_seen[side] >= _ENOUGH).all()) and bool(root[side].any()):
                mass[side] *= _UNIFORM + (1 - _UNIFORM) * root[side] / root[side].mean()
            if share:
                mass[side] *= share / mass[side].sum()
        return mass / self.widths

    def forward(self, uniform: PerExample) -> tuple[PerExample, PerExample]:
        r"""Times and weights $1 / p(t)$, from numbers uniform in [0, 1)."""
        density = self.density()
        mass = density * self.widths
        ends = mass.cumsum(0)
        wanted = uniform.to(ends) * ends[-1]
        part = torch.searchsorted(ends, wanted, right=True).clamp(max=len(mass) - 1)
        within = ((wanted - ends[part]) / mass[part] + 1).clamp(0, 1)
        t = self.widths.cumsum(0)[part] - self.widths[part] * (1 - within)
        # as places, times stay below 1, which rounding to fewer digits might reach
        t = t.to(uniform.dtype).clamp(max=1 - torch.finfo(uniform.dtype).eps)
        return t, (1 / density[part]).to(uniform.dtype)

    @torch.no_grad()
    def update(self, t: PerExample, losses: PerExample) -> None:
        """Take in unweighted losses at times t."""
        ends = self.widths.cumsum(0)
        part = torch.searchsorted(ends, t.to(ends), right=True).clamp(max=len(ends) - 1)
        squares = losses.to(self.second_moment) ** 2
        count = torch.zeros_like(self.second_moment).index_add_(0, part, torch.ones_like(squares))
        total = torch.zeros_like(self.second_moment).index_add_(0, part, squares)
        mean = total / count.clamp(min=1)
        first = self.num_seen == 0
        memory = torch.where(first, torch.zeros_like(mean), torch.full_like(mean, _MEMORY) ** count)
        fresh = torch.where(count > 0, memory * self.second_moment + (1 - memory) * mean, self.second_moment)
        self.second_moment.copy_(fresh)
        self.num_seen += count.long()
