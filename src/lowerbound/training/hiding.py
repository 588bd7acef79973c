r"""Training on parts of examples, so that a model knows the density of any part.

Of a share of the examples, k of the D entries are left to be seen, k even from 1 to D - 1 and the k of them at random: the
network, which is told which are there, learns $E[x_S | x_{S,t}]$ of every subset S, and the bound of $x_S$ alone is one on
$\log p(x_S)$.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.rng import Noise


def hide(x: Float[Tensor, "batch *shape"], share: float, noise: Noise) -> Float[Tensor, "batch *shape"]:
    """Examples of which random entries are NaN, as what is missing is; at least one of an example stays.

    Arguments:
        x: examples, (B, *shape), NaN where an entry is missing already.
        share: the probability that anything of an example is hidden.
        noise: where it comes from.
    """
    num_entries = x[0].numel()
    chosen, size = noise.uniform(x.new_empty(len(x), 2)).unbind(1)
    places = noise.uniform(torch.empty_like(x)).masked_fill(x.isnan(), 2).flatten(1)
    num_kept = 1 + (size * (num_entries - 1)).floor()
    kept = places.argsort(1).argsort(1) < torch.where(chosen < share, num_kept, num_entries)[:, None]
    return x.masked_fill(~kept.reshape(x.shape), math.nan)


def seen_share(share: float) -> float:
    """The mean share of entries that are left to be seen, of examples of many entries."""
    return 1 - share / 2
