"""The parts of a U-Net, each written once for one, two and three spatial dimensions."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.nn.embeddings import over_space

GROUP_WIDTH = 8
"""Channels that share a mean and a variance in a normalisation, where it divides their number."""


def convolution(
    num_dims: int, channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, zero: bool = False
) -> nn.Module:
    """A convolution of odd kernel that makes ceil(n / stride) of n positions, with zero weights if so wanted."""
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[num_dims - 1]
    layer = kind(channels, out_channels, kernel, stride=stride, padding=kernel // 2)
    if zero:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    return layer


def normalisation(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """Group normalisation within each example, so that no example depends on its batch."""
    groups = channels // GROUP_WIDTH if channels % GROUP_WIDTH == 0 else 1
    return nn.GroupNorm(groups, channels, affine=affine)


class ResidualBlock(nn.Module):
    r"""$h + C_2\,\mathrm{silu}((1 + s)\,\mathrm{norm}(C_1\,\mathrm{silu}(\mathrm{norm}(h))) + b)$, $h$ before training.

    The scale s and the shift b of each channel are linear in the embedding (Dhariwal & Nichol, arXiv 2105.05233,
    section 3); C_1 and C_2 are convolutions.
    """

    def __init__(self, num_dims: int, width: int, embedding_width: int) -> None:
        super().__init__()
        self.norm_in = normalisation(width)
        self.conv_in = convolution(num_dims, width, width)
        self.modulate = nn.Linear(embedding_width, 2 * width)
        self.norm_out = normalisation(width, affine=False)
        self.conv_out = convolution(num_dims, width, width, zero=True)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        inner = self.conv_in(functional.silu(self.norm_in(hidden)))
        scale, shift = over_space(self.modulate(embedding), hidden).chunk(2, dim=1)
        inner = torch.addcmul(shift, self.norm_out(inner), 1 + scale)
        return hidden + self.conv_out(functional.silu(inner))


class AttentionBlock(nn.Module):
    """Self-attention over all positions, added to its input; nothing is added before training.

    It has as many heads as divide the width evenly and are `head_width` channels or more each, at least one.
    """

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.num_heads = max(heads for heads in range(1, max(1, width // head_width) + 1) if width % heads == 0)
        self.norm = normalisation(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor) -> Tensor:
        positions = self.norm(hidden).flatten(2).transpose(1, 2)
        query, key, value = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in self.query_key_value(positions).chunk(3, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return hidden + self.out(mixed).transpose(1, 2).reshape(hidden.shape)
