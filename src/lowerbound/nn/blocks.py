"""The parts of networks, each written once for one, two and three spatial dimensions, the simplest for vectors too."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.nn.embeddings import over_space

GROUP_WIDTH = 8
"""Channels that share a mean and a variance in a normalisation, where it divides their number."""


def convolution(
    num_dims: int, channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, periodic: Sequence[int] = ()
) -> nn.Module:
    """A convolution of odd kernel that makes ceil(n / stride) of n positions, or of vectors a linear layer.

    Beyond the ends of an axis it sees zeros, or, of the `periodic` spatial axes, the other end.
    """
    if num_dims == 0:
        return nn.Linear(channels, out_channels)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[num_dims - 1]
    if not periodic or kernel == 1:
        return kind(channels, out_channels, kernel, stride=stride, padding=kernel // 2)
    padding = [0 if axis in periodic else kernel // 2 for axis in range(num_dims)]
    layer = kind(channels, out_channels, kernel, stride=stride, padding=tuple(padding))  # pyrefly: ignore[bad-argument-type]
    return nn.Sequential(Wrapped(num_dims, periodic, kernel // 2), layer)


class Wrapped(nn.Module):
    """An array with some positions of the other end put before and behind its periodic axes."""

    def __init__(self, num_dims: int, periodic: Sequence[int], width: int) -> None:
        super().__init__()
        # torch counts from the last axis
        self.padding = [width * (axis in periodic) for axis in reversed(range(num_dims)) for _ in range(2)]

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.pad(hidden, self.padding, mode="circular")


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer, made to return zero before training."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def halvings(spatial: Sequence[int], longest: int) -> list[tuple[int, ...]]:
    """The spatial sizes from the full one down, each half of the one before, until no side is longer than `longest`."""
    sizes = [tuple(spatial)]
    while max(sizes[-1], default=0) > longest:
        sizes.append(tuple(math.ceil(size / 2) for size in sizes[-1]))
    return sizes


def normalisation(num_dims: int, channels: int, *, affine: bool = True) -> nn.Module:
    """Normalisation within each example, of groups of channels or of a vector: no example depends on its batch."""
    if num_dims == 0:
        return nn.LayerNorm(channels)
    groups = channels // GROUP_WIDTH if channels % GROUP_WIDTH == 0 else 1
    return nn.GroupNorm(groups, channels, affine=affine)


def descent(num_dims: int, widths: Sequence[int], depth: int, block: Callable[[int], nn.Module]) -> nn.Sequential:
    """As many blocks at each resolution, high to low, of these widths, with convolutions of stride two between them."""
    layers = [block(widths[0]) for _ in range(depth)]
    for above, width in pairwise(widths):
        layers += [convolution(num_dims, above, width, stride=2), *(block(width) for _ in range(depth))]
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    r"""$h + C_2\,\mathrm{silu}((1 + s)\,\mathrm{norm}(C_1\,\mathrm{silu}(\mathrm{norm}(h))) + b)$, $h$ before training.

    The scale s and the shift b of each channel are linear in the embedding (Dhariwal & Nichol, arXiv 2105.05233,
    section 3), and if it is `pooled` in the mean over all positions of what C_1 sees as well; C_1 and C_2 are
    convolutions.
    """

    def __init__(
        self, num_dims: int, width: int, embedding_width: int, periodic: Sequence[int] = (), *, pooled: bool = False
    ) -> None:
        super().__init__()
        self.norm_in = normalisation(num_dims, width)
        self.conv_in = convolution(num_dims, width, width, periodic=periodic)
        self.modulate = nn.Linear(embedding_width, 2 * width)
        self.pool = zeroed(nn.Linear(width, 2 * width)) if pooled else None
        self.norm_out = normalisation(num_dims, width, affine=False)
        self.conv_out = zeroed(convolution(num_dims, width, width, periodic=periodic))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        inner = functional.silu(self.norm_in(hidden))
        modulation = self.modulate(embedding)
        if self.pool is not None:
            modulation = modulation + self.pool(inner.flatten(2).mean(2))
        inner = self.conv_in(inner)
        scale, shift = over_space(modulation, hidden).chunk(2, dim=1)
        inner = torch.addcmul(shift, self.norm_out(inner), 1 + scale)
        return hidden + self.conv_out(functional.silu(inner))


class AttentionBlock(nn.Module):
    """Self-attention over all positions, added to its input; nothing is added before training.

    It has as many heads as divide the width evenly and are `head_width` channels or more each, at least one.
    """

    def __init__(self, num_dims: int, width: int, head_width: int) -> None:
        super().__init__()
        self.num_heads = max(heads for heads in range(1, max(1, width // head_width) + 1) if width % heads == 0)
        self.norm = normalisation(num_dims, width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        positions = self.norm(hidden).flatten(2).transpose(1, 2)
        query, key, value = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in self.query_key_value(positions).chunk(3, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return hidden + self.out(mixed).transpose(1, 2).reshape(hidden.shape)


class FullyConnectedBlock(nn.Module):
    r"""$h + W_2\,\mathrm{silu}((1 + s)\,W_1\,\mathrm{norm}(h) + b)$ of all channels of all positions together, $h$ before
    training; the scale s and the shift b are linear in the embedding.

    Convolutions do the same everywhere, and attention whatever the order of positions: this is what knows that something
    stands in the middle, or upright.

    Arguments:
        spatial: the sizes of the spatial axes, which it is made for.
        width: channels of each position.
        hidden_width: rows of $W_1$.
        embedding_width: of the embedding.
    """

    def __init__(self, spatial: Sequence[int], width: int, hidden_width: int, embedding_width: int) -> None:
        super().__init__()
        num_values = width * math.prod(spatial)
        self.norm = normalisation(len(spatial), width)
        self.layer_in = nn.Linear(num_values, hidden_width)
        self.modulate = zeroed(nn.Linear(embedding_width, 2 * hidden_width))
        self.layer_out = zeroed(nn.Linear(hidden_width, num_values))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding).chunk(2, dim=1)
        inner = torch.addcmul(shift, self.layer_in(self.norm(hidden).flatten(1)), 1 + scale)
        return hidden + self.layer_out(functional.silu(inner)).view_as(hidden)
