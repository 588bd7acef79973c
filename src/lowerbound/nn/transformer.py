r"""A transformer over tokens: patches of images, signals and volumes, stretches of series, columns of tables.

Its layers are those of DiT (Peebles & Xie 2023, arXiv 2212.09748, adaLN-Zero): attention and a perceptron, each between a
scale and a shift before it and a gate behind it, all linear in the embedding of gamma and the condition and zero before
training. Queries and keys are normalised (Dehghani et al. 2023, arXiv 2302.05442, section 2), so that attention cannot grow
without bound.
"""

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.arguments import check_axes
from lowerbound.errors import InputError
from lowerbound.nn.blocks import zeroed
from lowerbound.nn.embeddings import constant
from lowerbound.nn.modulated import Inputs, ModulatedNetwork
from lowerbound.nn.patched import from_patches, to_patches
from lowerbound.settings import check_least

EXPANSION = 4
"""Hidden units of a layer's perceptron for each channel of a token."""


class Layer(nn.Module):
    r"""$h' = h + g_1\,\mathrm{attention}((1 + s_1)\,\mathrm{norm}(h) + b_1)$, then the same of $h'$ with a perceptron.

    Arguments:
        width: of a token.
        head_width: the fewest channels of an attention head.
        embedding_width: of the embedding, in which g, s and b are linear.
    """

    def __init__(self, width: int, head_width: int, embedding_width: int) -> None:
        super().__init__()
        self.num_heads = max(heads for heads in range(1, max(1, width // head_width) + 1) if width % heads == 0)
        self.modulate = zeroed(nn.Linear(embedding_width, 6 * width))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.norm_query = nn.RMSNorm(width // self.num_heads)
        self.norm_key = nn.RMSNorm(width // self.num_heads)
        self.mix = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, EXPANSION * width), nn.SiLU(), nn.Linear(EXPANSION * width, width)
        )

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        scale, shift, gate, scale_after, shift_after, gate_after = self.modulate(embedding)[:, None].chunk(6, dim=2)
        hidden = hidden + gate * self._attention(torch.addcmul(shift, self.norm(hidden), 1 + scale))
        inner = torch.addcmul(shift_after, self.norm(hidden), 1 + scale_after)
        return hidden + gate_after * self.perceptron(inner)

    def _attention(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in self.query_key_value(tokens).chunk(3, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(self.norm_query(query), self.norm_key(key), value)
        return self.mix(mixed.transpose(1, 2).flatten(2))


class FromPatches(nn.Module):
    """Tokens of an array's patches, whose places are told by learned vectors: (B, C, *spatial) -> (B, tokens, width)."""

    def __init__(self, channels: int, spatial: Sequence[int], patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(channels * patch ** len(spatial), width)
        num_tokens = math.prod(math.ceil(size / patch) for size in spatial)
        self.places = nn.Parameter(torch.randn(num_tokens, width) * 0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.project(to_patches(inputs, self.patch).flatten(2).transpose(1, 2)) + self.places


class ToPatches(nn.Module):
    """The way back of `FromPatches`."""

    def __init__(self, width: int, channels: int, spatial: Sequence[int], patch: int) -> None:
        super().__init__()
        self.patch, self.spatial = patch, torch.Size(spatial)
        self.project = nn.Linear(width, channels * patch ** len(spatial))

    def forward(self, tokens: Tensor) -> Tensor:
        counts = [math.ceil(size / self.patch) for size in self.spatial]
        return from_patches(self.project(tokens).transpose(1, 2).unflatten(2, counts), self.patch, self.spatial)


class FromColumns(nn.Module):
    """Tokens of the columns of a row, each of one entry or of several, such as the indicators of categories, and each with
    weights of its own: (B, K D) -> (B, columns, width), D entries of which each has K features."""

    columns: Tensor

    def __init__(self, features: int, columns: Sequence[int], width: int) -> None:
        super().__init__()
        num_entries = sum(columns)
        self.weight = nn.Parameter(torch.randn(num_entries, features, width) / math.sqrt(features))
        self.places = nn.Parameter(torch.randn(len(columns), width) * 0.5)
        members = (_owners(columns) == torch.arange(len(columns), device="cpu")[:, None]).float()
        self.register_buffer("columns", constant(members), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        entries = inputs.unflatten(1, (-1, len(self.weight)))
        return self.columns @ torch.einsum("bkd,dkw->bdw", entries, self.weight) + self.places


class ToColumns(nn.Module):
    """The way back of `FromColumns`: (B, columns, width) -> (B, K D), each entry from its column's token."""

    columns: Tensor

    def __init__(self, width: int, features: int, columns: Sequence[int]) -> None:
        super().__init__()
        num_entries = sum(columns)
        self.weight = nn.Parameter(torch.randn(num_entries, width, features) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(features, num_entries))
        self.register_buffer("columns", constant(_owners(columns)), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return (torch.einsum("bdw,dwk->bkd", tokens[:, self.columns], self.weight) + self.bias).flatten(1)


def _owners(columns: Sequence[int]) -> Tensor:
    """The column of each entry."""
    return torch.arange(len(columns), device="cpu").repeat_interleave(torch.tensor(columns, device="cpu"))


class Transformer(ModulatedNetwork):
    """A transformer over arrays of one shape, (C, *spatial), or vectors (D,), modulated by gamma and a condition.

    It returns zero before training.

    Arguments:
        shape: of an example.
        out_channels: channels of the output, or its features, a multiple of D; as many as x has if not given.
        width: of each token.
        depth: number of layers.
        head_width: the fewest channels of an attention head.
        patch: positions along each spatial axis that make one token.
        columns: entries of each column of vectors, in order; one each if None.
        inputs: what it is shown beside x and gamma: `fourier_frequencies`, `spikes`, `num_classes`,
            `num_condition_features`, `num_changes`, `num_given` (not of vectors), `num_kinds`, `takes_observed`
            (`nn.Inputs`).

    Raises:
        InputError: an impossible size, or (on call) an x or a condition that is not what was declared.
    """

    def __init__(
        self,
        shape: Sequence[int],
        out_channels: int | None = None,
        *,
        width: int = 64,
        depth: int = 4,
        head_width: int = 16,
        patch: int = 1,
        columns: Sequence[int] | None = None,
        **inputs: Unpack[Inputs],
    ) -> None:
        check_axes(shape)
        check_least(1, width=width, patch=patch, head_width=head_width)
        check_least(0, depth=depth)
        channels, *spatial = shape
        outputs = channels if out_channels is None else out_channels
        columns = [1] * channels if columns is None else list(columns)
        num_given = inputs.get("num_given", 0)
        if not spatial and (sum(columns) != channels or outputs % channels or patch != 1 or num_given):
            raise InputError(
                f"shape={tuple(shape)}, columns={tuple(columns)}, out_channels={outputs}, patch={patch}, "
                f"num_given={num_given}: of vectors the columns make up all entries, each has as many outputs as any "
                "other, and there are no patches and no conditions along them"
            )
        super().__init__(channels, width, **inputs)
        self.shape = tuple(shape)
        self.trunk = nn.ModuleList(Layer(width, head_width, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        if spatial:
            self.into = FromPatches(self.num_inputs, spatial, patch, width)
            self.out = zeroed(ToPatches(width, outputs, spatial, patch))
        else:
            self.into = FromColumns(self.num_inputs // channels, columns, width)
            self.out = zeroed(ToColumns(width, outputs // channels, columns))

    def check(self, x: Tensor) -> None:
        if x.shape[1:] != self.shape:
            raise InputError(
                f"x has shape {tuple(x.shape)}: this network takes (batch, {', '.join(map(str, self.shape))})"
            )
