"""A classifier of noisy data: vectors, signals, images and volumes."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.arguments import check_axes
from lowerbound.errors import InputError
from lowerbound.nn.blocks import ResidualBlock, convolution, halvings, normalisation
from lowerbound.nn.embeddings import GammaFeatures
from lowerbound.nn.mlp import ResidualLayer
from lowerbound.settings import check_least
from lowerbound.shapes import PerExample, Spatial

SMALLEST = 4
"""A resolution is halved until its longest side is no longer than this."""
WIDEST = 4
"""The most channels, in multiples of the width."""
VECTOR_LAYERS = 3
"""Residual layers for vectors."""


class Classifier(nn.Module):
    """(x, gamma) -> the logits of the classes.

    Signals, images and volumes go through a residual block at each resolution, down to a few positions, over which the
    channels are averaged: spatial sizes are free. Vectors go through residual layers.

    Arguments:
        shape: of one example, (D,) or (C, *spatial).
        num_classes: K, at least 2.
        width: channels at full resolution, or hidden width for vectors.

    Attributes:
        num_features: of what `features` gives.

    Raises:
        InputError: an impossible size, or (on call) an x that is not what was declared.
    """

    def __init__(self, shape: Sequence[int], num_classes: int, *, width: int = 32) -> None:
        super().__init__()
        check_axes(shape)
        check_least(1, width=width)
        check_least(2, num_classes=num_classes)
        self.num_channels, self.num_dims = shape[0], len(shape) - 1
        embedding_width = 4 * width if self.num_dims else width
        self.gamma_features = GammaFeatures()
        self.gamma_embedding = nn.Sequential(nn.Linear(self.gamma_features.num_features, embedding_width), nn.SiLU())
        widths = [width * min(2**k, WIDEST) for k in range(len(halvings(shape[1:], SMALLEST)))]
        self.into = convolution(self.num_dims, self.num_channels, width)
        if self.num_dims:
            self.blocks = nn.ModuleList(
                ResidualBlock(self.num_dims, stage_width, embedding_width) for stage_width in widths
            )
        else:
            self.blocks = nn.ModuleList(ResidualLayer(width) for _ in range(VECTOR_LAYERS))
        self.downs = nn.ModuleList(convolution(self.num_dims, *neighbours, stride=2) for neighbours in pairwise(widths))
        self.norm = normalisation(self.num_dims, widths[-1])
        self.num_features = widths[-1]
        self.head = nn.Linear(self.num_features, num_classes)

    def forward(self, x: Spatial, gamma: PerExample) -> Float[Tensor, "batch classes"]:
        """The logits.

        Arguments:
            x: (B, *shape), of about unit variance.
            gamma: (B,), the negative log signal-to-noise ratio, resolved from -20 to 20.
        """
        return self.head(self.features(x, gamma))

    def features(self, x: Spatial, gamma: PerExample) -> Float[Tensor, "batch features"]:
        """What the logits are a linear function of, (B, num_features): channels averaged over all positions."""
        if x.ndim != 2 + self.num_dims or x.shape[1] != self.num_channels:
            raise InputError(
                f"x has shape {tuple(x.shape)}: this classifier takes (batch, {self.num_channels}, *spatial) with "
                f"{self.num_dims} spatial dimensions"
            )
        embedding = self.gamma_embedding(self.gamma_features(gamma))
        hidden = self.into(x)
        for k, block in enumerate(self.blocks):
            hidden = block(hidden, embedding)
            if k < len(self.downs):
                hidden = self.downs[k](hidden)
        hidden = functional.silu(self.norm(hidden))
        return hidden.flatten(2).mean(2) if self.num_dims else hidden
