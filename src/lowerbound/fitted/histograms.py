r"""Kinds of discrete examples, each with a histogram of levels of its own, for what noise leaves to be told of a whole one.

The pixels of a drawing that was scaled have few greys, or greys that lie on a lattice, which ones by how much it was scaled.
Of an example of the kind c an entry is at level k with the chance $b_k + \theta_{ck}$, where b is what all kinds have in
common, an empty background, and of a noisy entry at p, in levels, with noise of the width w,

$$q_c(p) = \sum_k (b_k + \theta_{ck})\, N(p; k, w^2 + \tfrac16), \qquad P(c | x_t) \propto w_c \prod_i q_c(p_i),
\qquad \theta_k(x_t) = \sum_c P(c | x_t)\, \theta_{ck} .$$

All entries of a channel are counted at once, one between two levels in parts at both, which adds 1/6 to its variance. Each
tells little, and hundreds of them nearly everything: where noise is as wide as a lattice it is still plain which one it is.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lowerbound.elementary import Scalar
from lowerbound.errors import InputError
from lowerbound.fitted.mixture import constant, unit_matrix
from lowerbound.levels import check_counted, histogram, places
from lowerbound.shapes import PerExample

BY_PARTS = 1 / 6
"""The variance, in squared levels, of an entry that is counted in parts at two levels, on average."""
_RAREST = 1e-7  # chance of an entry at any place, which no kind excludes
_AT_A_TIME = 2**23  # entries of the matrices that spread levels by noise


class FittedHistograms(nn.Module):
    r"""At most K kinds of examples (formulas in the module's docstring); of one with equal chances before `fit`.

    Arguments:
        num_kinds: K, at least 1.
        num_channels: C, of an example.
        num_levels: L, at most `levels.MOST_COUNTED`.

    Attributes:
        weights: $w_c$, (K,), 0 for a kind that is not used.
        common: b, (C, L).
        chances: $\theta$, (K, C, L).

    Raises:
        InputError: for no kinds, or a number of levels out of range.
    """

    def __init__(self, num_kinds: int, num_channels: int, num_levels: int):
        super().__init__()
        if num_kinds < 1:
            raise InputError(f"{num_kinds} kinds of examples: give at least 1")
        self.num_levels = check_counted(num_levels)
        self.weights = constant(unit_matrix(1, num_kinds)[0])
        self.common = constant(torch.zeros(num_channels, num_levels, dtype=torch.float64))
        self.chances = constant(torch.full((num_kinds, num_channels, num_levels), 1 / num_levels, dtype=torch.float64))

    @torch.no_grad()
    def fit(
        self,
        weights: Float[Tensor, "num_used"],
        common: Float[Tensor, "channels levels"],
        chances: Float[Tensor, "num_used channels levels"],
    ) -> "FittedHistograms":
        """Become K kinds or fewer."""
        self.weights.zero_()[: len(weights)] = weights
        self.common.copy_(common)
        self.chances.copy_((1 - common.sum(1, keepdim=True)) / self.num_levels)[: len(chances)] = chances
        return self

    def kinds(
        self,
        position: Float[Tensor, "batch channels entries"],
        width: Scalar,
        counted: Bool[Tensor, "batch channels entries"] | None = None,
    ) -> Float[Tensor, "batch num_kinds"]:
        r"""$P(c | x_t)$.

        Arguments:
            position: of the noisy entries, in levels.
            width: w, of their noise, in levels: (B,), or one number.
            counted: False where an entry is missing; None: all count.
        """
        counts = histogram(places(position, self.num_levels), self.num_levels, counted)
        variance = torch.as_tensor(width, dtype=counts.dtype, device=counts.device).reshape(-1).square() + BY_PARTS
        if torch.compiler.is_exporting():  # in a graph the size of a batch is not known
            log_q = self._log_q(variance)
        else:
            size = max(1, _AT_A_TIME // self.num_levels**2)
            log_q = torch.cat([self._log_q(part) for part in variance.split(size)])
        # sums of hundreds of logarithms, thousands of nats, whose differences count
        told = torch.einsum("bcl,bkcl->bk", counts.double(), log_q.double().expand(counts.shape[0], -1, -1, -1))
        return (self.weights.log() + told).softmax(1).to(position.dtype)

    def levels(self, kinds: Float[Tensor, "batch num_kinds"]) -> Float[Tensor, "batch channels levels"]:
        r"""$\theta_k(x_t)$: the chances of levels that are not common to all kinds.

        Arguments:
            kinds: $P(c | x_t)$.
        """
        return torch.einsum("bk,kcl->bcl", kinds, self.chances.detach().to(kinds.dtype))

    def _log_q(self, variance: PerExample) -> Float[Tensor, "batch num_kinds channels levels"]:
        """At each level."""
        num_levels = self.num_levels
        level = torch.arange(num_levels, device=variance.device)
        density = torch.exp(-level.square() / (2 * variance[:, None])) / (2 * torch.pi * variance[:, None]).sqrt()
        # of each pair of levels, which their distance tells
        apart = (level[:, None] - level).abs().flatten()
        spread = density.index_select(1, apart).view(-1, num_levels, num_levels)
        chances = (self.common + self.chances).detach().to(density.dtype)
        return ((chances.flatten(0, 1) @ spread).unflatten(1, chances.shape[:2]) + _RAREST).log()
