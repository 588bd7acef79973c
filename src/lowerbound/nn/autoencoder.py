"""Networks between examples and vectors: an encoder makes a vector of an example, a decoder an array of a vector.

Those for vectors are the same residual multilayer perceptron in both directions. Those for signals, images and volumes halve
the resolution (or double it) until its longest side is at most `SMALLEST`, with residual blocks at every resolution but the
full one, where blocks would cost most and, in a code that is a short vector, bring least.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.arguments import check_axes
from lowerbound.nn.blocks import convolution, descent, halvings, normalisation, zeroed
from lowerbound.settings import check_least
from lowerbound.shapes import Spatial

SMALLEST = 7
"""A resolution is halved until its longest side is no longer than this."""
WIDEST = 2
"""The most channels, in multiples of the width."""


class Layer(nn.Module):
    r"""$h + W_2\, \mathrm{silu}(W_1 \mathrm{norm}(h))$, the identity before training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.out(functional.silu(self.into(self.norm(hidden))))


class Block(nn.Module):
    r"""$h + C_2\, \mathrm{silu}(\mathrm{norm}(C_1\, \mathrm{silu}(\mathrm{norm}(h))))$, the identity before training."""

    def __init__(self, num_dims: int, width: int) -> None:
        super().__init__()
        self.norm_in = normalisation(num_dims, width)
        self.conv_in = convolution(num_dims, width, width)
        self.norm_out = normalisation(num_dims, width)
        self.conv_out = zeroed(convolution(num_dims, width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.conv_in(functional.silu(self.norm_in(hidden)))
        return hidden + self.conv_out(functional.silu(self.norm_out(inner)))


class Perceptron(nn.Module):
    """A residual multilayer perceptron between vectors.

    Nothing is normalised but the input of each layer: what a norm at the end would take away, how long the hidden vector is,
    is what a decoder of short codes learns by (with it, training stays for long where the code says nothing).

    Arguments:
        num_features: of the input.
        out_features: of the output.
        width: of each hidden layer.
        depth: number of residual layers.

    Raises:
        InputError: an impossible size.
    """

    def __init__(self, num_features: int, out_features: int, *, width: int, depth: int) -> None:
        super().__init__()
        check_least(1, width=width)
        check_least(0, depth=depth)
        self.into = nn.Linear(num_features, width)
        self.trunk = nn.Sequential(*(Layer(width) for _ in range(depth)))
        self.out = nn.Linear(width, out_features)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch out_features"]:
        """(B, num_features) -> (B, out_features)."""
        return self.out(functional.silu(self.trunk(self.into(x))))


class Affine(nn.Module):
    r"""$(W x + b, s)$: an affine map of a vector, beside numbers that do not depend on it.

    Arguments:
        num_features: of the input.
        out_features: of $W x + b$.
        num_constants: 1 or as many as `out_features`: the entries of s, zero before training, one being repeated
            for all. 0: there is no s.
    """

    def __init__(self, num_features: int, out_features: int, *, num_constants: int) -> None:
        super().__init__()
        self.map = nn.Linear(num_features, out_features)
        self.constants = nn.Parameter(torch.zeros(num_constants)) if num_constants else None

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch out_features"]:
        """(B, num_features) -> (B, out_features), or twice as many with the constants."""
        mapped = self.map(x)
        return mapped if self.constants is None else torch.cat([mapped, self.constants.expand_as(mapped)], 1)


class ConvolutionalEncoder(nn.Module):
    """From a signal, an image or a volume to a vector.

    Arguments:
        shape: of one example, (C, *spatial), of one to three spatial dimensions of any size.
        out_features: of the output.
        width: channels of the highest resolution that has blocks; lower ones have `WIDEST` times as many.
        depth: residual blocks at each resolution.

    Raises:
        InputError: an impossible size.
    """

    def __init__(self, shape: Sequence[int], out_features: int, *, width: int, depth: int) -> None:
        super().__init__()
        num_dims, sizes, widths = _pyramid(shape, width, depth)
        self.into = convolution(num_dims, shape[0], width, stride=1 if sizes[0] == tuple(shape[1:]) else 2)
        self.trunk = descent(num_dims, widths, depth, partial(Block, num_dims))
        self.norm = normalisation(num_dims, widths[-1])
        self.out = nn.Linear(widths[-1] * math.prod(sizes[-1]), out_features)

    def forward(self, x: Spatial) -> Float[Tensor, "batch out_features"]:
        """(B, C, *spatial) -> (B, out_features)."""
        return self.out(functional.silu(self.norm(self.trunk(self.into(x)))).flatten(1))


class ConvolutionalDecoder(nn.Module):
    """From a vector to a signal, an image or a volume; it returns zero before training.

    Arguments:
        num_features: of the input.
        shape: of the output, (C, *spatial), of one to three spatial dimensions of any size.
        width, depth: as in `ConvolutionalEncoder`.

    Raises:
        InputError: an impossible size.
    """

    def __init__(self, num_features: int, shape: Sequence[int], *, width: int, depth: int) -> None:
        super().__init__()
        num_dims, sizes, widths = _pyramid(shape, width, depth)
        self.lowest = (widths[-1], *sizes[-1])
        self.into = nn.Linear(num_features, math.prod(self.lowest))
        layers: list[nn.Module] = []
        for stage, stage_width in reversed(list(enumerate(widths))):
            if stage < len(widths) - 1:
                layers.append(Up(num_dims, widths[stage + 1], stage_width, sizes[stage]))
            layers += [Block(num_dims, stage_width) for _ in range(depth)]
        self.trunk = nn.Sequential(*layers)
        self.norm = normalisation(num_dims, width)
        if sizes[0] == tuple(shape[1:]):
            self.out = zeroed(convolution(num_dims, width, shape[0]))
        else:
            self.out = zeroed(Up(num_dims, width, shape[0], shape[1:]))

    def forward(self, z: Float[Tensor, "batch features"]) -> Spatial:
        """(B, num_features) -> (B, C, *spatial)."""
        hidden = self.trunk(self.into(z).unflatten(1, self.lowest))
        return self.out(functional.silu(self.norm(hidden)))


class Up(nn.Module):
    """A transposed convolution that doubles the resolution, cut to a size that is twice its input's or one less."""

    def __init__(self, num_dims: int, channels: int, out_channels: int, size: Sequence[int]) -> None:
        super().__init__()
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[num_dims - 1]
        self.layer = kind(channels, out_channels, 4, stride=2, padding=1)
        self.cut = (..., *(slice(length) for length in size))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.layer(hidden)[self.cut]


def _pyramid(shape: Sequence[int], width: int, depth: int) -> tuple[int, list[tuple[int, ...]], list[int]]:
    """The number of spatial dimensions, and the sizes and widths of the resolutions that have blocks, high to low."""
    check_axes(shape, least=2)
    check_least(1, width=width)
    check_least(0, depth=depth)
    sizes = halvings(shape[1:], SMALLEST)
    sizes = sizes[1:] or sizes
    return len(shape) - 1, sizes, [width * (WIDEST if stage else 1) for stage in range(len(sizes))]
