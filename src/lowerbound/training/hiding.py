r"""Training on parts of examples, so that a model knows the density of any part.

Of a share of the examples, k of the D entries are left to be seen, k even from 1 to D - 1 and the k of them at random: the
network, which is told which are there, learns $E[x_S | x_{S,t}]$ of every subset S, and the bound of $x_S$ alone is one on
$\log p(x_S)$.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.blocks import Blocks, layout, of_entries
from lowerbound.rng import Noise


def hide(
    x: Float[Tensor, "batch *shape"], share: float, noise: Noise, blocks: Blocks | None = None
) -> Float[Tensor, "batch *shape"]:
    """Examples of which random entries are NaN, as what is missing is; at least one of an example stays.

    Arguments:
        x: examples, (B, *shape), NaN where an entry is missing already.
        share: the probability that anything of an example is hidden.
        noise: where it comes from.
        blocks: of entries that are there or hidden together; None: each by itself.
    """
    values = x if blocks is None else x[:, layout(blocks, x.device).first]
    num_values = values[0].numel()
    chosen, size = noise.uniform(x.new_empty(len(x), 2)).unbind(1)
    places = noise.uniform(torch.empty_like(values)).masked_fill(values.isnan(), 2).flatten(1)
    num_kept = 1 + (size * (num_values - 1)).floor()
    kept = places.argsort(1).argsort(1) < torch.where(chosen < share, num_kept, num_values)[:, None]
    kept = kept.reshape(values.shape)
    if blocks is not None:
        kept = of_entries(kept, blocks)
    return x.masked_fill(~kept, math.nan)


def seen_share(share: float) -> float:
    """The mean share of entries that are left to be seen, of examples of many entries."""
    return 1 - share / 2
