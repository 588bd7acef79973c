r"""The two networks of a GAN: from latents to examples, and from an example to one number.

Signals, images and volumes are made from a few positions upwards and judged downwards to a few, with all residual blocks
below full resolution, where convolutions cost little. Nothing is normalised over a batch, so that no example depends on
those beside it, and nothing at all within the discriminator, whose gradient in x is differentiated again.
"""

import math
from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.arguments import check_axes
from lowerbound.nn.blocks import convolution, descent, halvings, normalisation, zeroed
from lowerbound.settings import check_least
from lowerbound.shapes import Examples, PerExample

SMALLEST = 4
"""A resolution is halved until its longest side is no longer than this."""
WIDEST = 4
"""The most channels, in multiples of the width."""
SLOPE = 0.2
"""Of the activation below zero."""


class Generator(nn.Module):
    r"""z -> x, of any real values.

    Arguments:
        shape: of one example, (D,) or (C, *spatial).
        latent_dims: entries of z.
        width: channels at half resolution, twice and four times as many below it; hidden width for vectors.
        depth: residual blocks at each resolution, or residual layers for vectors.

    Raises:
        InputError: an impossible size.
    """

    def __init__(self, shape: Sequence[int], latent_dims: int, *, width: int, depth: int) -> None:
        super().__init__()
        check_least(1, latent_dims=latent_dims)
        num_dims, sizes, widths = _pyramid(shape, width, depth)
        lowest = (widths[-1], *sizes[-1])
        self.into = nn.Sequential(nn.Linear(latent_dims, math.prod(lowest)), nn.Unflatten(1, lowest))
        stages: list[nn.Module] = []
        for k in reversed(range(len(widths))):
            stages += [Residual(num_dims, widths[k], normalised=True) for _ in range(depth)]
            if k > 0:
                stages += [nn.Upsample(sizes[k]), convolution(num_dims, widths[k], widths[k - 1])]
        self.trunk = nn.Sequential(*stages)
        self.norm = normalisation(num_dims, width)
        self.resize = nn.Upsample(sizes[0]) if num_dims else nn.Identity()
        self.out = convolution(num_dims, width, shape[0])

    def forward(self, z: Float[Tensor, "batch latent_dims"]) -> Examples:
        """Examples from latents of about unit variance."""
        hidden = _activate(self.norm(self.trunk(self.into(z))))
        return self.out(self.resize(hidden))


class Discriminator(nn.Module):
    r"""x -> one number each.

    Arguments:
        shape: of one example, (D,) or (C, *spatial).
        width: channels at half resolution, twice and four times as many below it; hidden width for vectors.
        depth: residual blocks at each resolution, or residual layers for vectors.

    Raises:
        InputError: an impossible size.
    """

    def __init__(self, shape: Sequence[int], *, width: int, depth: int) -> None:
        super().__init__()
        num_dims, sizes, widths = _pyramid(shape, width, depth)
        self.into = convolution(num_dims, shape[0], width, stride=1 if len(sizes) == 1 else 2)
        self.trunk = descent(num_dims, widths, depth, partial(Residual, num_dims, normalised=False))
        self.out = nn.Linear(widths[-1] * math.prod(sizes[-1]), 1)

    def forward(self, x: Examples) -> PerExample:
        """A number for each example, of about unit variance."""
        return self.out(_activate(self.trunk(self.into(x))).flatten(1))[:, 0]


class Residual(nn.Module):
    """Two convolutions, or linear layers, added to their input; nothing is added before training."""

    def __init__(self, num_dims: int, width: int, *, normalised: bool) -> None:
        super().__init__()
        self.norm = normalisation(num_dims, width) if normalised else nn.Identity()
        self.into = convolution(num_dims, width, width)
        self.out = zeroed(convolution(num_dims, width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.out(_activate(self.into(_activate(self.norm(hidden)))))


def _activate(hidden: Tensor) -> Tensor:
    return functional.leaky_relu(hidden, SLOPE)


def _pyramid(shape: Sequence[int], width: int, depth: int) -> tuple[int, list[tuple[int, ...]], list[int]]:
    """The number of spatial dimensions, the sizes of the resolutions, and the widths of those that have blocks, high to low;
    the highest has none where there are others."""
    check_axes(shape)
    check_least(1, width=width)
    check_least(0, depth=depth)
    sizes = halvings(shape[1:], SMALLEST)
    return len(shape) - 1, sizes, [width * min(2**k, WIDEST) for k in range(max(1, len(sizes) - 1))]
