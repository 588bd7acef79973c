r"""The U-Nets of ADM and of the score SDEs, which differ in details alone; built to be given the weights of others.

Both are DDPM's: residual blocks on the way down, each of whose outputs is kept, two in the middle with attention between
them, and blocks on the way up that take what was kept beside their input. In a block

$$h' = C_2\,\mathrm{silu}(\mathrm{norm}(C_1\,\mathrm{silu}(\mathrm{norm}(h))) \circ e), \qquad
h \leftarrow (S h + h') / c,$$

where the embedding e of the time scales and shifts what was normalised or is added before (`Style.is_scaled`), S is the
identity or a convolution, and c is 1 or $\sqrt 2$ (`Style.is_halved`). ADM: Dhariwal & Nichol 2021, arXiv 2105.05233,
section 3; Nichol & Dhariwal 2021, arXiv 2102.09672, appendix A. DDPM++ and NCSN++: Song et al. 2021, arXiv 2011.13456,
appendix H. Both as one: Karras et al. 2022, arXiv 2206.00364, appendix F.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.imports.conventions import labels


@dataclass(frozen=True)
class Style:
    """In what the two families differ.

    Arguments:
        num_groups: of channels in a normalisation, of as many channels.
        eps: what is added to a variance there.
        is_scaled: whether the embedding scales and shifts, rather than being added.
        is_halved: whether a sum of two is divided by the root of two.
        taps: of the filter with which a block halves or doubles its resolution; () for a convolution of its own in the
            place of such a block.
        projects: whether a block that does so has a convolution in its shortcut even where the channels stay.
        num_heads: of attention over as many channels.
        is_time_first: whether labels are embedded apart and added to what the two layers make of the time, not before.
        attends_once: whether on the way up only the last block of a resolution attends.
        entry: how the image itself enters below the full resolution: "" for not at all, "skip" or "residual".
        exits: whether every resolution gives an image, which are added, or only the full one.
    """

    num_groups: Callable[[int], int]
    eps: float
    is_scaled: bool
    is_halved: bool
    taps: tuple[float, ...]
    projects: bool
    num_heads: Callable[[int], int]
    is_time_first: bool
    attends_once: bool
    entry: str = ""
    exits: bool = False

    def norm(self, channels: int) -> nn.GroupNorm:
        return nn.GroupNorm(self.num_groups(channels), channels, eps=self.eps)

    def sum(self, one: Tensor, other: Tensor) -> Tensor:
        return (one + other) / math.sqrt(2) if self.is_halved else one + other


ADM = Style(
    num_groups=lambda channels: 32,
    eps=1e-5,
    is_scaled=True,
    is_halved=False,
    taps=(1, 1),
    projects=False,
    num_heads=lambda channels: channels // 64,
    is_time_first=True,
    attends_once=False,
)
SCORE_SDE = Style(
    num_groups=lambda channels: min(channels // 4, 32),
    eps=1e-6,
    is_scaled=False,
    is_halved=True,
    taps=(1, 1),
    projects=True,
    num_heads=lambda channels: 1,
    is_time_first=False,
    attends_once=True,
)


def resampled(x: Tensor, direction: str, taps: Sequence[float], padding: int | None = None) -> Tensor:
    """Images at half the resolution (down) or twice it (up), by a separable filter of an even number of taps.

    Arguments:
        padding: with zeros; as much as keeps an even size even if not given.
    """
    taps_1d = torch.as_tensor(taps, dtype=x.dtype, device=x.device) / sum(taps)
    channels, padding = x.shape[1], len(taps) // 2 - 1 if padding is None else padding
    kernel = torch.outer(taps_1d, taps_1d).expand(channels, 1, -1, -1)
    if direction == "down":
        return functional.conv2d(x, kernel, stride=2, padding=padding, groups=channels)
    return functional.conv_transpose2d(x, 4 * kernel, stride=2, padding=padding, groups=channels)


class Attention(nn.Module):
    """Self-attention over all positions, added to its input."""

    def __init__(self, style: Style, channels: int):
        super().__init__()
        self.style = style
        self.num_heads = style.num_heads(channels)
        self.norm = style.norm(channels)
        self.query, self.key, self.value, self.out = (nn.Conv1d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        positions = self.norm(x).flatten(2)
        query, key, value = (
            layer(positions).unflatten(1, (self.num_heads, -1)).transpose(2, 3)
            for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.style.sum(x, self.out(mixed.transpose(2, 3).flatten(1, 2)).view_as(x))


class Block(nn.Module):
    """A residual block, which may halve or double the resolution, with attention behind it or not."""

    def __init__(
        self,
        style: Style,
        channels: int,
        out_channels: int,
        embedding_width: int,
        *,
        attends: bool = False,
        direction: str = "",
    ):
        super().__init__()
        self.style, self.direction = style, direction
        self.norm_in = style.norm(channels)
        self.conv_in = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.modulate = nn.Linear(embedding_width, out_channels * (1 + style.is_scaled))
        self.norm_out = style.norm(out_channels)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        is_projected = channels != out_channels or (style.projects and direction)
        self.shortcut = nn.Conv2d(channels, out_channels, 1) if is_projected else nn.Identity()
        self.attention = Attention(style, out_channels) if attends else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        inner = functional.silu(self.norm_in(x))
        if self.direction:
            inner, x = (resampled(each, self.direction, self.style.taps) for each in (inner, x))
        inner, change = self.conv_in(inner), self.modulate(embedding)[:, :, None, None]
        if self.style.is_scaled:
            scale, shift = change.chunk(2, 1)
            inner = self.norm_out(inner) * (1 + scale) + shift
        else:
            inner = self.norm_out(inner + change)
        return self.attention(self.style.sum(self.shortcut(x), self.conv_out(functional.silu(inner))))


class Resample(nn.Module):
    """Half or twice the resolution by a convolution of its own."""

    def __init__(self, channels: int, direction: str):
        super().__init__()
        self.direction = direction
        self.conv = nn.Conv2d(channels, channels, 3, stride=2 if direction == "down" else 1, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.conv(resampled(x, "up", (1, 1)) if self.direction == "up" else x)


class Exit(nn.Module):
    """The image that a resolution gives."""

    def __init__(self, style: Style, channels: int, out_channels: int):
        super().__init__()
        self.norm = style.norm(channels)
        self.conv = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.silu(self.norm(x)))


class UNet(nn.Module):
    r"""A U-Net $(x, \text{time}, \text{labels}) \mapsto$ image.

    Arguments:
        style: of its parts.
        channels, out_channels: of the image and of the output.
        widths: channels at each resolution from the full one down.
        num_blocks: at each resolution on the way down; one more on the way up.
        attention: numbers of the resolutions with attention, 0 the full one.
        features: of the time, (B,).
        embedding_width: of what is made of these.
        num_classes: of labels; 0 for none.
        has_null: whether an image may have no label, which adds nothing.
        first_width: channels of the first layer.
    """

    def __init__(
        self,
        style: Style,
        channels: int,
        out_channels: int,
        widths: Sequence[int],
        num_blocks: int,
        attention: set[int],
        features: "Sines | Fourier",
        embedding_width: int,
        *,
        num_classes: int = 0,
        has_null: bool = False,
        first_width: int,
    ):
        super().__init__()
        self.style, self.num_classes, self.has_null = style, num_classes, has_null
        self.features, num_features = features, features.num_features
        self.embed = nn.ModuleList(
            [nn.Linear(num_features, embedding_width), nn.Linear(embedding_width, embedding_width)]
        )
        self.label = self.label_bias = None
        if num_classes:
            # numbers drawn at random would make torch import its compiler where a network is built without any
            self.label = nn.Parameter(
                torch.zeros(num_classes, embedding_width if style.is_time_first else num_features)
            )
            self.label_bias = None if style.is_time_first else nn.Parameter(torch.zeros(num_features))

        def block(inputs: int, outputs: int, attends: bool = False, direction: str = "") -> Block:
            return Block(style, inputs, outputs, embedding_width, attends=attends, direction=direction)

        def resample(width: int, direction: str) -> nn.Module:
            return block(width, width, direction=direction) if style.taps else Resample(width, direction)

        self.into = nn.Conv2d(channels, first_width, 3, padding=1)
        self.down, self.entries, kept = nn.ModuleList(), nn.ModuleDict(), [first_width]
        width, image = first_width, channels
        for level, wide in enumerate(widths):
            if level:
                if style.entry:
                    kernel, padding = (3, len(style.taps) // 2) if style.entry == "residual" else (1, 0)
                    self.entries[str(len(self.down))] = nn.Conv2d(image, width, kernel, padding=padding)
                    image = width if style.entry == "residual" else image
                self.down.append(resample(width, "down"))
                kept.append(width)
            for _ in range(num_blocks):
                self.down.append(block(width, wide, level in attention))
                width = wide
                kept.append(width)
        self.middle = nn.ModuleList([block(width, width, True), block(width, width)])
        self.up, self.exits = nn.ModuleList(), nn.ModuleDict()
        for level, wide in reversed(list(enumerate(widths))):
            for number in range(num_blocks + 1):
                attends = level in attention and (number == num_blocks or not style.attends_once)
                self.up.append(block(width + kept.pop(), wide, attends))
                width = wide
            if style.exits or not level:
                self.exits[str(len(self.up) - 1)] = Exit(style, width, out_channels)
            if level:
                self.up.append(resample(width, "up"))

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        embedding = self._embedding(time, labels(x, cond, self.num_classes, -1 if self.has_null else None))
        image, x = x, self.into(x)
        kept = [x]
        for number, block in enumerate(self.down):
            x = block(x, embedding)
            if str(number) in self.entries:
                image, x = self._entered(image, x, self.entries[str(number)])
            kept.append(x)
        for block in self.middle:
            x = block(x, embedding)
        output = None
        for number, block in enumerate(self.up):
            is_resampling = not isinstance(block, Block) or block.direction
            x = block(x if is_resampling else torch.cat([x, kept.pop()], 1), embedding)
            if str(number) in self.exits:
                own = self.exits[str(number)](x)
                output = own if output is None else resampled(output, "up", self.style.taps) + own
        assert output is not None
        return output

    def _entered(self, image: Tensor, x: Tensor, layer: nn.Module) -> tuple[Tensor, Tensor]:
        """The image at half its resolution, and the state with what the layer makes of it."""
        if self.style.entry == "skip":
            image = resampled(image, "down", self.style.taps)
            return image, x + layer(image)
        # the layer sees the image in full, and what it makes of it beyond its edges is halved with the rest
        x = self.style.sum(x, resampled(layer(image), "down", self.style.taps, padding=0))
        return x, x

    def _embedding(self, time: Tensor, classes: Tensor | None) -> Tensor:
        first, second = self.embed
        features, of_labels = self.features(time), 0.0
        if classes is not None and self.label is not None:
            of_labels = self.label[classes.clamp(min=0)] * (classes >= 0)[:, None]
        if self.style.is_time_first:
            return functional.silu(second(functional.silu(first(features))) + of_labels)
        if self.label_bias is not None:
            of_labels = of_labels + self.label_bias
        return functional.silu(second(functional.silu(first(features + of_labels))))


class Sines(nn.Module):
    r"""$\cos \omega_i t, \sin \omega_i t$ with $\omega_i = 10^{-4 i / n}$, i = 0 ... , n of half the features.

    Arguments:
        num_features: an even number.
        reaches_end: whether n is one less, so that the last frequency is $10^{-4}$.
        sines_first: which half comes first.
    """

    def __init__(self, num_features: int, *, reaches_end: bool = False, sines_first: bool = False):
        super().__init__()
        self.num_features, self.num_waves = num_features, num_features // 2
        self.reaches_end, self.sines_first = reaches_end, sines_first

    def forward(self, time: Tensor) -> Tensor:
        exponents = torch.arange(self.num_waves, dtype=torch.float32, device=time.device) / (
            self.num_waves - self.reaches_end
        )
        return waves(time, torch.exp(-math.log(10_000) * exponents), self.sines_first)


class Fourier(nn.Module):
    """Sines and cosines of time at frequencies that were drawn at random, and come with the weights.

    Arguments:
        num_features: an even number.
    """

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features
        self.frequencies = nn.Parameter(torch.zeros(num_features // 2), requires_grad=False)

    def forward(self, time: Tensor) -> Tensor:
        return waves(time, 2 * math.pi * self.frequencies, True)


def waves(time: Tensor, frequencies: Tensor, sines_first: bool) -> Tensor:
    """Sines and cosines of each time, (B,), at each frequency."""
    phases = time[:, None] * frequencies
    both = (phases.sin(), phases.cos()) if sines_first else (phases.cos(), phases.sin())
    return torch.cat(both, 1)
