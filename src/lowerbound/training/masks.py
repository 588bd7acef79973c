r"""Which entries of a window are given to a model in training, so that it learns every conditional at once.

A quarter of the windows each: nothing is given, so that the model stays one of the whole window; all but the horizon, as
for a forecast; entries at random, of a share that is uniform in [0, 1]; all but one stretch of time, in some of the
channels. The loss is of what is not given, so that its expectation is the bound of a conditional,
$-\log p(x_{rest} | x_{given})$ (after Tashiro et al. 2021, "CSDI", arXiv 2107.03502, section 4.3).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lowerbound.blocks import Blocks, layout, of_entries
from lowerbound.rng import Noise

KINDS = ("nothing", "forecast", "entries", "stretch")


def known_entries(
    x: Float[Tensor, "batch entries length"], horizon: int, noise: Noise, blocks: Blocks | None = None
) -> Bool[Tensor, "batch entries length"]:
    """Which entries are given; never one that is missing, nor all that are there.

    Arguments:
        x: windows, NaN where an entry is missing.
        horizon: of a forecast; 0: a stretch at the end, of any length.
        noise: where the choice comes from.
        blocks: of entries that are given or not together; None: each channel has one.
    """
    if blocks is not None:
        return of_entries(known_entries(x[:, layout(blocks, x.device).first], horizon, noise), blocks)
    num, channels, length = x.shape
    numbers = noise.uniform(x.new_empty(num, 4 + channels))
    kind, share, begin, extent, coins = numbers.split((1, 1, 1, 1, channels), 1)
    places = torch.arange(length).to(x)
    kind, extent = (kind * len(KINDS)).long()[..., None], 1 + (extent * (length - 1)).floor()
    horizons = torch.full_like(extent, horizon) if horizon else extent
    forecast = (places < length - horizons)[:, None].expand(x.shape)
    entries = noise.uniform(x) < share[..., None]
    begin = (begin * (length - extent + 1)).floor()
    outside = ((places < begin) | (places >= begin + extent))[:, None]
    spared = (coins > 0.5) & (coins > coins.amin(1, keepdim=True))  # not all channels
    stretch = outside | spared[..., None]
    nothing = torch.zeros_like(entries)
    is_present = ~x.isnan()
    known = torch.stack([nothing, forecast, entries, stretch]).take_along_dim(kind[None], 0)[0] & is_present
    is_whole = (known == is_present).flatten(1).all(1)
    return known & ~is_whole[:, None, None]
