r"""Causal networks: at each entry of x the output depends on the entries before it, on all of them and on nothing else.

Entries are ordered as in memory, but with the channels of a position last: position by position in raster order, and
within a position channel by channel.

**Signals, images, volumes.** What comes before position p falls into as many parts as there are axes: part i holds the
positions that equal p along the axes before i, lie before it along i, and anywhere along the axes after i (of an image:
the rows above; the same row to the left). One stack of convolutions looks at each part. Along the axes before i its
kernels have size one, along axis i they reach backwards only, and along the axes after i both ways; its first convolution,
which takes x, starts one position back. A stack also takes what the stack before it says at the same position, so that
the last one has seen all parts: there is no blind spot. (The vertical and the horizontal stack of the gated PixelCNN, van
den Oord et al. 2016, arXiv 1606.05328, section 2.2, with any number of axes.) The channels of one position follow one
another in the output layer.

Normalisation over space would tell a position about later ones: features are normalised over the channels of each
position alone.

**Vectors.** A multilayer perceptron with masked weights: each hidden unit has a degree m and sees the first m entries, by
way of units of its own degree or less; entry d + 1 sees the units of degree d or less (MADE, Germain et al. 2015, arXiv
1502.03509). A normalisation over units would mix the degrees: there is none.

Drawing an entry needs the output there alone, given the entries before it. `fill` does this for all entries in turn. Of
convolutions it runs stack i once for each position along the axes up to i, over the slice that it looks at: so an image
costs about as many passes as it has rows.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.errors import InputError
from lowerbound.nn.blocks import convolution, zeroed
from lowerbound.nn.embeddings import constant
from lowerbound.settings import check_least
from lowerbound.shapes import Spatial

Draw = Callable[[Tensor], Tensor]
"""Values (B, 1, *) of one entry from the network's output (B, P, *) for it."""

Keep = Callable[[Tensor], Tensor]
"""What is left of hidden units (B, width, *) in training, where some are dropped at random."""

FIRST_KERNEL = 5
"""Positions that the first convolution of a stack sees along an axis that it sees both ways of."""


class CausalNetwork(nn.Module, ABC):
    """Makes P numbers of each entry of x from the entries before it.

    Arguments:
        frequencies: in cycles per unit of x: sines and cosines of x enter beside x, for fine structure.

    Attributes:
        num_features: F, for each entry of x.
    """

    frequencies: Tensor

    def __init__(self, frequencies: Sequence[float]):
        super().__init__()
        angular = 2 * math.pi * torch.tensor(frequencies, device="cpu")
        self.register_buffer("frequencies", constant(angular), persistent=False)
        self.num_features = 1 + 2 * len(frequencies)

    @abstractmethod
    def forward(self, x: Spatial, keep: Keep | None = None) -> Float[Tensor, "batch outputs *spatial"]:
        """The output for every entry at once, (B, P C, *spatial), those of one kind for all channels together.

        Arguments:
            x: (B, C, *spatial).
            keep: called for the hidden units of each residual layer or block; None keeps all.
        """

    @abstractmethod
    def fill(self, x: Spatial, draw: Draw) -> None:
        """Overwrite all entries of x, one after the other, by what is drawn given those before it.

        Arguments:
            x: (B, C, *spatial); what it holds does not matter.
            draw: called for each entry with the network's output for it, (B, P, *1); returns the values, (B, 1, *1).
        """

    def features(self, x: Tensor) -> Tensor:
        """x, its sines and cosines: (B, C, *) -> (B, C, F, *)."""
        phases = [frequency * x for frequency in self.frequencies]
        return torch.stack([x, *(phase.sin() for phase in phases), *(phase.cos() for phase in phases)], dim=2)


class CausalConvolution(nn.Module):
    """A convolution that looks backwards along one axis, both ways along those after it and nowhere along those before.

    Arguments:
        axis: the spatial axis i along which it is causal.
        reach: how many positions it sees along the axis.
        kernel: how many positions it sees along each later axis, odd.
        dilation: how far apart these positions are.
        strict: whether the nearest position along the axis is the one before, instead of the same one.
    """

    def __init__(
        self,
        num_dims: int,
        axis: int,
        channels: int,
        out_channels: int,
        *,
        reach: int,
        kernel: int,
        dilation: int = 1,
        strict: bool = False,
    ) -> None:
        super().__init__()
        kind = getattr(nn, f"Conv{num_dims}d")
        later = num_dims - axis - 1
        sizes = (*(1,) * axis, reach, *(kernel,) * later)
        padding = (*(0,) * (axis + 1), *(kernel // 2 * dilation,) * later)
        self.convolution = kind(channels, out_channels, sizes, padding=padding, dilation=dilation)
        # the last axis comes first in a list of paddings; a negative one takes the last position away
        self.padding = [*(0, 0) * later, (reach - 1) * dilation + strict, -int(strict)]

    def forward(self, hidden: Tensor) -> Tensor:
        return self.convolution(functional.pad(hidden, self.padding))


class GatedBlock(nn.Module):
    r"""$h + W (u \odot \mathrm{sigmoid}(v))$, $(u, v) = C\,\mathrm{norm}(h)$, C a causal convolution; $h$ at first."""

    def __init__(self, num_dims: int, axis: int, width: int, dilation: int) -> None:
        super().__init__()
        reach = 3 if axis == num_dims - 1 else 2
        self.into = CausalConvolution(num_dims, axis, width, 2 * width, reach=reach, kernel=3, dilation=dilation)
        self.out = zeroed(convolution(num_dims, width, width, kernel=1))

    def forward(self, hidden: Tensor, keep: Keep) -> Tensor:
        return hidden + self.out(keep(functional.glu(self.into(normalised(hidden)), dim=1)))


class CausalCNN(CausalNetwork):
    """A causal network over signals, images and volumes of any size; it returns zero before training.

    Arguments:
        channels: C of x.
        num_dims: spatial dimensions of x: 1, 2 or 3.
        num_outputs: P, numbers for each entry.
        width: channels of the hidden layers.
        depth: blocks of each stack.
        num_dilations: the blocks' dilations are 1, 2, 4 ..., this many, and again from 1.
        frequencies: in cycles per unit of x.

    Raises:
        InputError: an impossible size.
    """

    def __init__(
        self,
        channels: int,
        num_dims: int,
        num_outputs: int,
        *,
        width: int = 32,
        depth: int = 4,
        num_dilations: int = 1,
        frequencies: Sequence[float] = (),
    ) -> None:
        super().__init__(frequencies)
        if num_dims not in (1, 2, 3):
            raise InputError(f"a causal network in {num_dims} dimensions: there are 1 to 3")
        check_least(1, channels=channels, num_outputs=num_outputs, width=width, num_dilations=num_dilations)
        check_least(0, depth=depth)
        self.num_dims = num_dims
        dilations = [2 ** (block % num_dilations) for block in range(depth)]
        num_inputs = channels * self.num_features + 1
        self.into = nn.ModuleList(
            CausalConvolution(num_dims, axis, num_inputs, width, reach=3, kernel=FIRST_KERNEL, strict=True)
            for axis in range(num_dims)
        )
        self.trunk = nn.ModuleList(
            nn.ModuleList(GatedBlock(num_dims, axis, width, dilation) for dilation in dilations)
            for axis in range(num_dims)
        )
        self.earlier = nn.ModuleList(
            convolution(num_dims, channel * self.num_features, width, kernel=1) for channel in range(1, channels)
        )
        self.out = nn.ModuleList(zeroed(convolution(num_dims, width, num_outputs, kernel=1)) for _ in range(channels))

    def forward(self, x: Spatial, keep: Keep | None = None) -> Float[Tensor, "batch outputs *spatial"]:
        features, hidden = self.features(x), None
        for axis in range(self.num_dims):
            hidden = self._stack(axis, features, hidden, keep or whole)
        assert hidden is not None
        outputs = [self._output(channel, hidden, features) for channel in range(x.shape[1])]
        return torch.stack(outputs, dim=2).flatten(1, 2)

    def fill(self, x: Spatial, draw: Draw) -> None:
        self._fill(x, draw, 0, None)

    def _fill(self, x: Tensor, draw: Draw, axis: int, before: Tensor | None) -> None:
        """Fill a slice of one position along each axis before this one, given what the stack before it says there."""
        for position in range(x.shape[axis + 2]):
            section = x.narrow(axis + 2, position, 1)
            features = self.features(x.narrow(axis + 2, 0, position + 1))
            above = None if before is None else before.narrow(axis + 2, 0, position + 1)
            hidden = self._stack(axis, features, above, whole).narrow(axis + 2, position, 1)
            if axis + 1 < self.num_dims:
                self._fill(section, draw, axis + 1, hidden)
                continue
            for channel in range(x.shape[1]):
                section[:, channel : channel + 1] = draw(self._output(channel, hidden, self.features(section)))

    def _stack(self, axis: int, features: Tensor, before: Tensor | None, keep: Keep) -> Tensor:
        """What a stack says at each position of x about its part and those of the stacks before it."""
        # beyond the edges there are zeros: a channel of ones tells the two apart
        inputs = torch.cat([torch.ones_like(features[:, 0, :1]), features.flatten(1, 2)], dim=1)
        if self.num_dims == 2:
            inputs = inputs.contiguous(memory_format=torch.channels_last)  # faster on a CPU
        hidden = self.into[axis](inputs)
        if before is not None:
            hidden = hidden + before
        stack = self.trunk[axis]
        assert isinstance(stack, nn.ModuleList)
        for block in stack:
            hidden = block(hidden, keep)
        return hidden

    def _output(self, channel: int, hidden: Tensor, features: Tensor) -> Tensor:
        """The output for one channel of each position, (B, P, *spatial)."""
        if channel:
            hidden = hidden + self.earlier[channel - 1](features[:, :channel].flatten(1, 2))
        return self.out[channel](functional.silu(normalised(hidden)))


class MaskedLinear(nn.Linear):
    """A linear layer in which each unit sees some of the inputs.

    Arguments:
        seen: (out, in), whether the unit sees the input.
    """

    seen: Tensor

    def __init__(self, seen: Tensor):
        super().__init__(seen.shape[1], seen.shape[0])
        self.register_buffer("seen", seen, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight * self.seen, self.bias)


class MaskedLayer(nn.Module):
    r"""$h + W_2\, \mathrm{silu}(W_1\, \mathrm{silu}(h))$ with masked weights, $h$ before training."""

    def __init__(self, degrees: Tensor) -> None:
        super().__init__()
        seen = degrees[:, None] >= degrees
        self.into = MaskedLinear(seen)
        self.out = zeroed(MaskedLinear(seen))

    def forward(self, hidden: Tensor, keep: Keep) -> Tensor:
        return hidden + self.out(keep(functional.silu(self.into(functional.silu(hidden)))))


class CausalMLP(CausalNetwork):
    """A causal network over vectors; it returns zero before training.

    Arguments:
        num_entries: D of x.
        num_outputs: P, numbers for each entry.
        width: hidden units, at least D - 1, so that each entry has one that sees all entries before it.
        depth: number of residual layers.
        frequencies: in cycles per unit of x.

    Raises:
        InputError: an impossible size.
    """

    def __init__(
        self, num_entries: int, num_outputs: int, *, width: int = 256, depth: int = 4, frequencies: Sequence[float] = ()
    ) -> None:
        super().__init__(frequencies)
        check_least(1, num_entries=num_entries, num_outputs=num_outputs, width=width)
        check_least(0, depth=depth)
        if width < num_entries - 1:
            raise InputError(
                f"a causal network over {num_entries} entries of width {width}: it is at least {num_entries - 1}, one unit "
                "for each entry that others depend on"
            )
        entries = torch.arange(num_entries)
        # as many units of each degree from 1 to D - 1, as far as possible
        degrees = (1 + torch.arange(width) * (num_entries - 1) // width).clamp(max=num_entries - 1)
        self.into = MaskedLinear(degrees[:, None] > entries.repeat_interleave(self.num_features))
        self.trunk = nn.ModuleList(MaskedLayer(degrees) for _ in range(depth))
        self.out = zeroed(MaskedLinear(entries.repeat(num_outputs)[:, None] >= degrees))

    def forward(self, x: Spatial, keep: Keep | None = None) -> Float[Tensor, "batch outputs *spatial"]:
        hidden = self.into(self.features(x).flatten(1))
        for layer in self.trunk:
            hidden = layer(hidden, keep or whole)
        return self.out(functional.silu(hidden))

    def fill(self, x: Spatial, draw: Draw) -> None:
        for entry in range(x.shape[1]):
            x[:, entry : entry + 1] = draw(self(x).unflatten(1, (-1, x.shape[1]))[:, :, entry])


def whole(hidden: Tensor) -> Tensor:
    """All of it."""
    return hidden


def normalised(hidden: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the channels of each position."""
    return functional.layer_norm(hidden.movedim(1, -1), hidden.shape[1:2]).movedim(-1, 1)
