"""What a network is shown of an entry's value: whether it agrees with frequent ones, with those on its row or column, and
with those of the whole example.

Convolutions of x carry no value so precisely that another, ten positions on, could be compared to it, and no histogram.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.errors import InputError
from lowerbound.levels import check_counted, histogram, interpolated, places
from lowerbound.nn.embeddings import constant, over_space
from lowerbound.settings import check_least
from lowerbound.shapes import PerExample, Spatial

FINEST = 6
"""Bins of the finest noise whose entries are told apart in the width of a level; a schedule's data end is there."""
BINS = 2
"""Of a histogram, in the width of the noise."""
REACH = 5
"""Widths of the noise from which on an entry agrees with no other, and beyond the data to which its histogram goes."""


def _with_its_noise(x: Spatial, gamma: PerExample, sigma_data: float) -> tuple[Tensor, Tensor]:
    """What the network sees, x, in units of the data again, and the standard deviation r of its noise."""
    width = over_space(torch.exp(gamma / 2)[:, None], x)
    return x * torch.sqrt(sigma_data**2 + width**2), width


class SpikeFeatures(nn.Module):
    r"""$e^{-(y - c_j)^2 / 2 r^2}$ with $y = x \sqrt{\sigma_d^2 + r^2}$, $r = e^{\gamma / 2}$: how well each noisy entry
    agrees with one of a few values $c_j$ that are far more frequent than those around them.

    They show at once what Fourier features have to be combined for: an empty background, saturation, the few greys of one
    picture among others.

    Arguments:
        centres: c, in units of the data, J of them.
        sigma_data: $\sigma_d$, by which the denoiser scales what the network sees.
    """

    centres: Tensor

    def __init__(self, centres: Sequence[float], sigma_data: float = 1.0) -> None:
        super().__init__()
        self.num_features = len(centres)
        self.sigma_data = sigma_data
        self.register_buffer("centres", constant(torch.tensor(centres, device="cpu")), persistent=False)

    def forward(self, x: Spatial, gamma: PerExample) -> Float[Tensor, "batch features *spatial"]:
        y, width = _with_its_noise(x, gamma, self.sigma_data)
        return torch.cat(
            [torch.exp(-(((y - centre) / width) ** 2 / 2).clamp(max=30)) for centre in self.centres], dim=1
        )


class LineFeatures(nn.Module):
    r"""How many entries of its row, of its column or along any other axis agree with a noisy entry, and what they say:

    $$\log (1 + n_i), \quad \frac{1}{1 + n_i} \sum_{j \ne i} w_{ij} \frac{y_j - y_i}{r}, \qquad
    n_i = \sum_{j \ne i} w_{ij}, \quad w_{ij} = e^{-(y_i - y_j)^2 / 4 r^2},$$

    with $y = x \sqrt{\sigma_d^2 + r^2}$, $r = e^{\gamma / 2}$, over the entries j of the same channel on the line through i.
    Two of the same value differ by noise of the variance $2 r^2$ alone, so that the second feature is how far the mean of
    all that agree, i among them, is from $y_i$, in units of the noise.

    Pictures that were scaled have the same greys along a row or a column, for an edge covers as much of each pixel there.
    Channels of a convolution do not carry a value so precisely that another, ten positions on, could be compared to it.

    Arguments:
        num_dims: spatial dimensions, 1 or more: two features for each.
        sigma_data: $\sigma_d$, by which the denoiser scales what the network sees.

    Raises:
        InputError: `num_dims` below 1, or (on call) an x of fewer spatial dimensions.
    """

    def __init__(self, num_dims: int, sigma_data: float = 1.0) -> None:
        super().__init__()
        check_least(1, num_dims=num_dims)
        self.num_dims = num_dims
        self.num_features = 2 * num_dims
        self.sigma_data = sigma_data

    def forward(self, x: Spatial, gamma: PerExample) -> Float[Tensor, "batch features *spatial"]:
        if x.ndim < 2 + self.num_dims:
            raise InputError(
                f"x has shape {tuple(x.shape)}: lines along {self.num_dims} axes are of (batch, channels, *spatial) with as "
                "many spatial dimensions or more"
            )
        y, width = _with_its_noise(x, gamma, self.sigma_data)
        return torch.cat(
            [feature for axis in range(self.num_dims) for feature in _agreement(y / width, 2 + axis)], dim=1
        )


def _agreement(y: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Both features along one axis, of y in units of the noise: shift by shift, for all pairs would fill the memory."""
    count, apart = torch.zeros_like(y), torch.zeros_like(y)
    for offset in range(1, y.shape[axis]):
        difference = y.roll(-offset, axis) - y
        weight = torch.exp(-(difference.square() / 4).clamp(max=30))
        count = count + weight
        apart = apart + weight * difference
    return torch.log1p(count), apart / (1 + count)


class ValueFeatures(nn.Module):
    r"""How many entries of the whole example agree with a noisy entry, and what they say:

    $$\tfrac12 \log (1 + n_i), \quad \frac{1}{1 + n_i} \sum_{j \ne i} w_{ij} \frac{y_j - y_i}{r},$$

    with n, w, y and r of `LineFeatures`, over all other entries j of the same channel. By histograms in units of the noise,
    an entry between two bins in parts in both, which takes as many operations as there are entries and bins.

    A drawing that was scaled has few greys, or greys that lie on a lattice.

    Arguments:
        num_levels: K, at most `levels.MOST_COUNTED`. Noise finer than the `FINEST`th part of a level counts as that.
        sigma_data: $\sigma_d$, by which the denoiser scales what the network sees.

    Raises:
        InputError: `num_levels` out of range.
    """

    num_features = 2

    def __init__(self, num_levels: int, sigma_data: float = 1.0) -> None:
        super().__init__()
        self.num_levels = check_counted(num_levels)
        self.sigma_data = sigma_data
        self.num_bins = BINS * (FINEST * num_levels + 2 * REACH) + 2

    def forward(
        self, x: Spatial, gamma: PerExample, observed: Bool[Tensor, "batch channels *spatial"] | None = None
    ) -> Float[Tensor, "batch features *spatial"]:
        y, width = _with_its_noise(x, gamma, self.sigma_data)
        width = width.clamp(min=2 / (FINEST * self.num_levels))
        entries = places((((y + 1) / width + REACH) * BINS).flatten(2), self.num_bins)
        counts = histogram(entries, self.num_bins, None if observed is None else observed.flatten(2))
        beyond = functional.pad(counts, (REACH * BINS, REACH * BINS))
        num_agreeing, apart = torch.zeros_like(counts), torch.zeros_like(counts)
        for place in range(2 * REACH * BINS + 1):
            offset = place / BINS - REACH
            share = math.exp(-(offset**2) / 4) * beyond[..., place : place + self.num_bins]
            num_agreeing, apart = num_agreeing + share, apart + offset * share
        # what the entry itself adds to the first, of the second it adds nothing
        part = entries.part
        own = (1 - part).square() + part.square() + 2 * part * (1 - part) * math.exp(-1 / (4 * BINS**2))
        if observed is not None:
            own = own * observed.flatten(2)
        others = interpolated(num_agreeing, entries) - own
        told = interpolated(apart, entries) / (1 + others)
        return torch.cat([torch.log1p(others).reshape(x.shape) / 2, told.reshape(x.shape)], dim=1)
