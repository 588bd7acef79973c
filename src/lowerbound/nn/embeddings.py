"""What turns a scalar, an input or a condition into features that a network can use.

A linear layer sees neither a noise level that runs over forty units nor the last bit of a pixel: both are spread over
sines and cosines first. Labels and vectors become one embedding, with a learned one for "not given".
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.settings import check_least
from lowerbound.shapes import PerExample, Spatial

GAMMA_SCALE = 20.0
"""The features of gamma resolve [-GAMMA_SCALE, GAMMA_SCALE] and stay bounded beyond it."""


def constant(values: Tensor) -> Tensor:
    """Return numbers that were computed on the CPU, where a module is being made.

    Arithmetic without numbers, on the meta device, would make torch import its compiler: a second of every command.
    """
    return torch.as_tensor(values.numpy())


def over_space(vector: Float[Tensor, "batch channels"], like: Tensor) -> Tensor:
    """Return the vector, (batch, channels), with as many trailing dimensions of size 1 as `like` has spatial ones."""
    return vector.reshape(*vector.shape, *(1,) * (like.ndim - 2))


def octaves(num_levels: int) -> tuple[float, ...]:
    """Return the frequencies K/2, K/4, ... not below 1 that resolve K levels on [-1, 1], in cycles per unit.

    The finest has a period of one level, 2/K. Give them to a network as its `fourier_frequencies`.

    Arguments:
        num_levels: K, at least 2.
    """
    check_least(2, num_levels=num_levels)
    return tuple(num_levels / 2**octave for octave in range(1, num_levels.bit_length()))


class GammaFeatures(nn.Module):
    r"""Features of the noise level: $(\gamma / 20, \sin \omega_k \gamma, \cos \omega_k \gamma)$, geometric $\omega_k$.

    The periods run from 80, twice the range of gamma, down to 1, below which no denoiser changes with gamma.

    Attributes:
        num_features: how many features come out, an odd number.
    """

    num_features = 33
    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        periods = torch.logspace(math.log10(4 * GAMMA_SCALE), 0.0, self.num_features // 2, device="cpu")
        self.register_buffer("frequencies", constant(2 * math.pi / periods), persistent=False)

    def forward(self, gamma: PerExample) -> Float[Tensor, "batch features"]:
        phases = gamma[:, None] * self.frequencies
        return torch.cat([gamma[:, None] / GAMMA_SCALE, phases.sin(), phases.cos()], dim=1)


class FourierFeatures(nn.Module):
    r"""The input beside its own sines and cosines, each scaled by a learned function of gamma.

    $(g_0 x, h_k g_k \sin 2\pi f_k x, h_k g_k' \cos 2\pi f_k x)$, concatenated to the channels. They show a network digits
    of x that a convolution of x itself cannot resolve, such as the last bit of a pixel (Kingma et al. 2021,
    arXiv 2107.00630, section 5). A sine of fine period says nothing once the noise is wider than the period, and
    would be noise of full strength to all that follows: hence the gains g, linear in the embedding and 1 at first.

    A gain that is learned is small there and not zero, and the slope of what it lets through is $2\pi f$ times as large:
    under noise of the width $s^2 = \mathrm{sigmoid}(\gamma)$ a thousandth of the finest of sixteen bits would be a
    divergence of the probability flow that changes by hundreds over a step. So $h_k = e^{-(2\pi f_k s)^2 / 10}$, the fifth
    root of what such noise leaves of a sine, which lets pass whatever can still be of use.

    Arguments:
        channels: of x.
        frequencies: f, in cycles per unit of x; none leaves x as it is.
        embedding_width: of the embedding of gamma and the condition.
    """

    frequencies: Tensor

    def __init__(self, channels: int, frequencies: Sequence[float], embedding_width: int) -> None:
        super().__init__()
        self.channels = channels
        self.num_features = channels * (1 + 2 * len(frequencies))
        angular = 2 * math.pi * torch.tensor(frequencies, device="cpu")
        self.register_buffer("frequencies", constant(angular), persistent=False)
        self.gains = nn.Linear(embedding_width, self.num_features) if frequencies else None
        if self.gains is not None:
            nn.init.zeros_(self.gains.weight)
            nn.init.ones_(self.gains.bias)

    def forward(
        self, x: Spatial, gamma: PerExample, embedding: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch features *spatial"]:
        if self.gains is None:
            return x
        phases = [frequency * x for frequency in self.frequencies]
        features = torch.cat([x, *(phase.sin() for phase in phases), *(phase.cos() for phase in phases)], dim=1)
        passed = self._passed(gamma).repeat_interleave(self.channels, 1)
        gains = self.gains(embedding) * torch.cat([torch.ones_like(passed[:, : self.channels]), passed, passed], dim=1)
        return features * over_space(gains, x)

    def _passed(self, gamma: PerExample) -> Float[Tensor, "batch frequencies"]:
        """h of each frequency; never so small that a processor would slow down over it."""
        return torch.exp(-(self.frequencies.square() * torch.sigmoid(gamma)[:, None] / 10).clamp(max=30))


def with_changes(cond: Tensor | None, changes: Float[Tensor, "batch changes"]) -> Float[Tensor, "batch entries"]:
    """A condition, labels or vectors, and behind it how each example was changed, as `Condition` takes them."""
    if cond is None:
        return changes
    own = cond if cond.is_floating_point() else cond[:, None].to(changes.dtype)
    return torch.cat([own, changes.to(own)], 1)


class Condition(nn.Module):
    """An embedding of labels or of vectors, with a learned one for the null condition.

    Null is `None` for a whole batch, the label -1, or a row of NaN. With neither `num_classes` nor `num_features`
    there is nothing to embed: only `cond=None` is allowed and the embedding is zero.

    In training examples may be changed (`training.augment`). How is told by further entries of the condition
    (`with_changes`), whose embedding is added and is zero for an example as it is, or where they are left out.

    Arguments:
        width: of the embedding.
        num_classes: labels are 0 .. num_classes - 1; 0 for a network without labels.
        num_features: length F of a condition vector, scaled to about unit variance; 0 for a network without vectors.
        num_changes: how many numbers say how an example was changed; 0 for a network that is not told.

    Raises:
        InputError: labels and vectors together, or (on call) a condition that is not what was declared.
    """

    def __init__(self, width: int, *, num_classes: int = 0, num_features: int = 0, num_changes: int = 0) -> None:
        super().__init__()
        if num_classes < 0 or num_features < 0 or (num_classes and num_features):
            raise InputError(
                f"num_classes={num_classes} with num_condition_features={num_features}: "
                "give one of the two a positive number and leave the other 0, or leave both 0"
            )
        self.width = width
        self.num_classes = num_classes
        self.num_features = num_features
        if num_classes:
            self.table = nn.Embedding(num_classes + 1, width)
        if num_features:
            self.null = nn.Parameter(torch.randn(width))
            self.project = nn.Sequential(nn.Linear(num_features, width), nn.SiLU(), nn.Linear(width, width))
        self.changed = nn.Linear(num_changes, width, bias=False) if num_changes else None

    def forward(self, cond: Tensor | None, like: Float[Tensor, "batch ..."]) -> Tensor:
        """Return the embedding, (batch, width), with the batch size, dtype and device of `like`."""
        if self.changed is None or cond is None or cond.ndim != 2:
            return self._unchanged(cond, like)
        num_own, num_changes = min(1, self.num_classes) or self.num_features, self.changed.in_features
        if cond.shape[1] != num_own + num_changes:
            return self._unchanged(cond, like)
        own, changes = cond.split([num_own, num_changes], 1)
        own = own[:, 0].long() if self.num_classes else own if num_own else None
        return self._unchanged(own, like) + self.changed(changes.to(like.dtype))

    def _unchanged(self, cond: Tensor | None, like: Tensor) -> Tensor:
        """The embedding of a condition without changes."""
        batch = like.shape[0]
        if cond is None:
            return self._null(like).expand(batch, self.width)
        self._check(cond, batch)
        if self.num_classes:
            return self.table(torch.where(cond < 0, self.num_classes, cond))
        absent = cond.isnan().all(dim=1, keepdim=True)
        present = self.project(torch.where(absent, 0.0, cond.to(like.dtype)))
        return torch.where(absent, self.null, present)

    def _null(self, like: Tensor) -> Tensor:
        if self.num_classes:
            return self.table.weight[self.num_classes]
        return self.null if self.num_features else like.new_zeros(self.width)

    def _check(self, cond: Tensor, batch: int) -> None:
        if torch.compiler.is_exporting():  # a graph asks nothing of its values
            return
        description = f"cond has shape {tuple(cond.shape)} and dtype {str(cond.dtype).removeprefix('torch.')}"
        if self.num_classes:
            if cond.shape != (batch,) or cond.dtype != torch.int64:
                raise InputError(f"{description}: this network takes labels of shape ({batch},) and dtype int64")
            if batch and not (int(cond.min()) >= -1 and int(cond.max()) < self.num_classes):
                raise InputError(
                    f"cond holds labels from {int(cond.min())} to {int(cond.max())}: "
                    f"this network knows 0 to {self.num_classes - 1}, and -1 for no label"
                )
        elif self.num_features:
            if cond.shape != (batch, self.num_features) or not cond.is_floating_point():
                raise InputError(
                    f"{description}: this network takes float vectors of shape ({batch}, {self.num_features})"
                )
            missing = cond.isnan()
            if bool((missing.any(dim=1) & ~missing.all(dim=1)).any()):
                raise InputError("cond has rows with some NaN: a row is a full vector, or all NaN for no condition")
        else:
            raise InputError(
                f"{description}: this network was built without conditions; pass cond=None, "
                "or build it with num_classes or num_condition_features"
            )
