r"""Bits-back coding through a chain of latents.

A code that draws $z_1, ..., z_K$ from bits that lie on the stack anyway, under $q(z_k | z_{k-1})$, and pushes x and the
latents under the model, has made the stack longer by

$$-\log_2 \frac{p(x, z_1, ..., z_K)}{q(z_1, ..., z_K | x)},$$

of which the expectation is the chain's bound (Hinton & van Camp 1993; Townsend, Bird & Barber 2019, arXiv 1901.04866). The
decoder, who has found x, knows q, and pushes the latents back: it gets the bits that they were drawn from. Each latent is
pushed as soon as the next one is drawn (Bit-Swap; Kingma, Abbeel & Ho 2019, arXiv 1905.06845), so that the bits on loan at
a time are those of two latents, however long the chain is.

Latents lie on a grid, and normals are the masses of its bins, which makes no KL larger. What it costs is that the mean of
the next latent is rounded, which adds a uniform error of variance $\delta^2 / 12$ to the next normal's: with `BINS` bins to
the smallest standard deviation half a percent of it, and $10^{-5}$ nats, as much as all other rounding together.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.codec.stack import Binned, Stack
from lowerbound.encoder import Normal
from lowerbound.levels import level_centres
from lowerbound.models.hierarchical import DiffusionHierarchy, Hierarchy

BINS = 4
"""Bins to the smallest standard deviation of a latent."""
LEARNED_STEP = 2.0**-8
"""The grid of latents whose widths are a network's, of a prior of standard deviation one."""
TABLE = 1 << 22
"""About how many masses are computed at a time."""

Levels = Int[np.ndarray, "batch *shape"]
"""x, as indices of levels."""


class Chain:
    """The code of a model that is a chain of latents.

    Arguments:
        hierarchy: the model, in double precision.
        shape: of an example.
        num_levels: K of the data.
        device: where it is.
    """

    def __init__(self, hierarchy: Hierarchy, shape: tuple[int, ...], num_levels: int, device: torch.device):
        self.hierarchy, self.shape, self.num_levels, self.device = hierarchy, shape, num_levels, device
        self.steps = grid_steps(hierarchy)

    def push(self, stack: Stack, levels: Levels) -> None:
        """Push a batch of examples."""
        chain, below = self.hierarchy, level_centres(torch.from_numpy(levels), self.num_levels).double().to(self.device)
        drawn = None
        for level in range(1, chain.num_latents + 1):
            q = chain.encode(below, level)
            places = stack.draw(self._binned(q, level), level)
            above = self._latent(places, q, level)
            if drawn is None:
                self._push_data(stack, levels, above)
            else:
                stack.push_normal(drawn, self._binned(chain.decode(above, level - 1), level - 1, tails=True))
            below, drawn = above, places
        assert drawn is not None
        stack.push_normal(drawn, self._binned(chain.prior(below), chain.num_latents, tails=True))

    def pop(self, stack: Stack, batch: int) -> Levels:
        """Pop the batch of so many examples that was pushed last."""
        chain, top = self.hierarchy, self.hierarchy.num_latents
        prior = chain.prior(torch.zeros(batch, *chain.top_shape, dtype=torch.float64, device=self.device))
        places = stack.pop_normal(self._binned(prior, top, tails=True))
        above = self._latent(places, prior, top)
        for level in range(top, 1, -1):
            p = chain.decode(above, level - 1)
            below_places = stack.pop_normal(self._binned(p, level - 1, tails=True))
            below = self._latent(below_places, p, level - 1)
            stack.undraw(places, self._binned(chain.encode(below, level), level), level)
            places, above = below_places, below
        levels = self._pop_data(stack, above)
        x = level_centres(torch.from_numpy(levels), self.num_levels).double().to(self.device)
        stack.undraw(places, self._binned(chain.encode(x, 1), 1), 1)
        return levels

    def _push_data(self, stack: Stack, levels: Levels, first: Tensor) -> None:
        symbols, masses = levels.ravel(), self.hierarchy.log_masses(first, self.num_levels)
        for part in reversed(parts(len(symbols), self.num_levels)):
            stack.push_rows(symbols[part], to_numpy(masses(part)))

    def _pop_data(self, stack: Stack, first: Tensor) -> Levels:
        masses = self.hierarchy.log_masses(first, self.num_levels)
        num_entries = len(first) * math.prod(self.shape)
        symbols = [stack.pop_rows(to_numpy(masses(part))) for part in parts(num_entries, self.num_levels)]
        return np.concatenate(symbols).reshape(len(first), *self.shape)

    def _binned(self, normal: Normal, level: int, *, tails: bool = False) -> Binned:
        std = normal.variance**0.5
        return Binned(
            to_numpy(normal.mean).ravel(),
            to_numpy(std.broadcast_to(normal.mean.shape)).ravel() if isinstance(std, Tensor) else std,
            self.steps[level - 1],
            tails=tails,
        )

    def _latent(self, places: np.ndarray, normal: Normal, level: int) -> Float[Tensor, "batch *latents"]:
        """The latents at places on their grid."""
        values = torch.from_numpy(self.steps[level - 1] * places)
        return values.reshape(normal.mean.shape).to(self.device)


def grid_steps(hierarchy: Hierarchy) -> list[float]:
    """The step of each latent's grid: a part of the smaller of the standard deviations that it is drawn and pushed by."""
    if not isinstance(hierarchy, DiffusionHierarchy):
        return [LEARNED_STEP] * hierarchy.num_latents
    top, origin = hierarchy.num_latents, torch.zeros(1, 1, dtype=torch.float64)
    drawn = [hierarchy.encode(origin, level).variance for level in range(1, top + 1)]
    pushed = [hierarchy.encode_back(origin, origin, level).variance for level in range(1, top)]
    pushed.append(hierarchy.prior(origin).variance)
    return [math.sqrt(min(pair)) / BINS for pair in zip(drawn, pushed, strict=True)]


def parts(num_entries: int, num_levels: int) -> list[slice]:
    """All entries, so few at a time that the tables of their levels are no burden."""
    size = max(1, TABLE // num_levels)
    return [slice(first, first + size) for first in range(0, num_entries, size)]


def to_numpy(values: Tensor) -> np.ndarray:
    """Values in double precision, on the CPU."""
    return values.double().cpu().numpy()
