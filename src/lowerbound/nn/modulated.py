"""A network whose layers the noise level and a condition modulate, and all that it can be shown beside x."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypedDict

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.errors import InputError
from lowerbound.nn.agreement import LineFeatures, SpikeFeatures, ValueFeatures
from lowerbound.nn.embeddings import Condition, FourierFeatures, GammaFeatures
from lowerbound.shapes import PerExample, Spatial


class Inputs(TypedDict, total=False):
    """What a network is shown beside x and gamma, by keyword; nothing of what is left out.

    Arguments:
        fourier_frequencies: in cycles per unit of x: sines and cosines of x enter beside x (`FourierFeatures`). `octaves(K)`
            suit K levels on [-1, 1] and are worth much in likelihood.
        spikes: features of frequent values that enter beside x.
        lines: features of what agrees with each entry on its row, its column or along any other axis.
        values: features of what agrees with each entry in the whole example.
        num_classes: of labels 0 .. num_classes - 1 as condition.
        num_condition_features: length F of vectors as condition.
        num_changes: how many numbers behind a condition say how an example was changed in training (`Condition`).
        num_given: channels of a condition along x, such as entries of x that are known, NaN where nothing is given.
        num_kinds: of examples, whose chances modulate the layers; 0 for a network that is not told of them.
        takes_observed: whether it is told which entries of x are there, by as many further inputs as x has channels.
    """

    fourier_frequencies: Sequence[float]
    spikes: SpikeFeatures | None
    lines: LineFeatures | None
    values: ValueFeatures | None
    num_classes: int
    num_condition_features: int
    num_changes: int
    num_given: int
    num_kinds: int
    takes_observed: bool


class ModulatedNetwork(nn.Module, ABC):
    """A network of x whose layers gamma and a condition modulate; it returns zero before training.

    Arguments:
        channels: of x.
        embedding_width: of the embedding of gamma and the condition.
        fourier_frequencies, spikes, lines, values, num_classes, num_condition_features, num_changes, num_given,
            num_kinds, takes_observed: as of `Inputs`.

    Attributes:
        num_inputs: channels of what the first layer takes.
        into, trunk, norm, out: the first layer, those after it, and the normalisation before the last one.
    """

    into: nn.Module
    trunk: nn.Module
    norm: nn.Module
    out: nn.Module

    def __init__(
        self,
        channels: int,
        embedding_width: int,
        *,
        fourier_frequencies: Sequence[float] = (),
        spikes: SpikeFeatures | None = None,
        lines: LineFeatures | None = None,
        values: ValueFeatures | None = None,
        num_classes: int = 0,
        num_condition_features: int = 0,
        num_changes: int = 0,
        num_given: int = 0,
        num_kinds: int = 0,
        takes_observed: bool = False,
    ) -> None:
        super().__init__()
        if num_given and (num_classes or num_condition_features or num_changes):
            raise InputError(
                f"num_given={num_given} with num_classes={num_classes}, num_condition_features={num_condition_features} "
                f"and num_changes={num_changes}: a condition is of one kind"
            )
        self.num_given = num_given
        self.features = FourierFeatures(channels, fourier_frequencies, embedding_width)
        self.spikes = spikes
        self.lines = lines
        self.values = values
        self.gamma_features = GammaFeatures()
        self.gamma_embedding = nn.Sequential(
            nn.Linear(self.gamma_features.num_features, embedding_width),
            nn.SiLU(),
            nn.Linear(embedding_width, embedding_width),
        )
        self.condition = Condition(
            embedding_width, num_classes=num_classes, num_features=num_condition_features, num_changes=num_changes
        )
        self.num_kinds = num_kinds
        self.kinds_embedding = None
        if num_kinds:
            self.kinds_embedding = nn.Sequential(
                nn.Linear(num_kinds, embedding_width), nn.SiLU(), nn.Linear(embedding_width, embedding_width)
            )
        self.takes_observed, self.takes_kinds = takes_observed, num_kinds > 0
        num_shown = sum(shown.num_features for shown in (spikes, lines, values) if shown is not None)
        self.num_inputs = self.features.num_features + (num_shown + takes_observed) * channels + 2 * num_given

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Refuse an x of another shape by an InputError."""

    def modulated(self, hidden: Tensor, embedding: Float[Tensor, "batch width"]) -> Tensor:
        """The layers between the first and the last, modulated by the embedding: the trunk's, one after the other."""
        for layer in self.trunk.children():
            hidden = layer(hidden, embedding)
        return hidden

    def forward(
        self,
        x: Spatial,
        gamma: PerExample,
        cond: Tensor | None = None,
        observed: Bool[Tensor, "batch channels *spatial"] | None = None,
        kinds: Float[Tensor, "batch num_kinds"] | None = None,
    ) -> Float[Tensor, "batch out_channels *spatial"]:
        """Return the network's output for x at noise level gamma.

        Arguments:
            x: (B, C, *spatial), or vectors (B, D), of about unit variance.
            gamma: (B,), the negative log signal-to-noise ratio, resolved from -20 to 20.
            cond: labels (B,) of int64 with -1 for null, or vectors (B, F) with a row of NaN for null, or what is given along
                x, (B, num_given, *spatial), with NaN for every entry that is not; `None`: all null.
            observed: of the shape of x, False where an entry is missing and x is 0; None: all are there. For networks that
                take it.
            kinds: the chances of each kind of examples; None: none is told. For networks that take them.
        """
        if observed is not None and not self.takes_observed:
            raise InputError("observed was given to a network without it: build it with takes_observed=True")
        self.check(x)
        along, cond = (cond, None) if self.num_given else (None, cond)
        embedding = self.gamma_embedding(self.gamma_features(gamma)) + self.condition(cond, gamma)
        if kinds is not None:
            if self.kinds_embedding is None:
                raise InputError("kinds were given to a network without them: build it with num_kinds")
            # where one is certain its entry is as large as an input of unit mean square makes it
            embedding = embedding + self.kinds_embedding(math.sqrt(self.num_kinds) * kinds)
        embedding = functional.silu(embedding)
        inputs = self.features(x, gamma, embedding)
        for shown in (self.spikes, self.lines):
            if shown is not None:
                inputs = torch.cat([inputs, shown(x, gamma)], dim=1)
        if self.values is not None:
            inputs = torch.cat([inputs, self.values(x, gamma, observed)], dim=1)
        if self.takes_observed:
            presence = torch.ones_like(x) if observed is None else observed.to(x.dtype)
            inputs = torch.cat([inputs, presence], dim=1)
        if self.num_given:
            inputs = torch.cat([inputs, *self._along(along, x)], dim=1)
        return self.out(functional.silu(self.norm(self.modulated(self.into(inputs), embedding))))

    def _along(self, along: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is given along x, zero where nothing is, and where something is."""
        shape = (x.shape[0], self.num_given, *x.shape[2:])  # not len: in an exported graph that would be a constant
        if along is None:
            nothing = x.new_zeros(shape)
            return nothing, nothing
        if along.shape != shape or not along.is_floating_point():
            raise InputError(
                f"cond has shape {tuple(along.shape)} and dtype {str(along.dtype).removeprefix('torch.')}: this network "
                f"takes floats of shape {shape}, NaN where nothing is given"
            )
        is_present = ~along.isnan()
        return torch.where(is_present, along, 0).to(x.dtype), is_present.to(x.dtype)
