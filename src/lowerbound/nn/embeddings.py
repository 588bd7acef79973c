"""What turns a scalar, an input or a condition into features that a network can use.

A linear layer sees neither a noise level that runs over forty units nor the last bit of a pixel: both are spread over
sines and cosines first. Labels and vectors become one embedding, with a learned one for "not given".
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypedDict

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

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


def _with_its_noise(x: Spatial, gamma: PerExample, sigma_data: float) -> tuple[Tensor, Tensor]:
    """What the network sees, x, in units of the data again, and the standard deviation r of its noise."""
    width = over_space(torch.exp(gamma / 2)[:, None], x)
    return x * torch.sqrt(sigma_data**2 + width**2), width


class SpikeFeatures(nn.Module):
    r"""$e^{-(y - c_j)^2 / 2 r^2}$ with $y = x \sqrt{\sigma_d^2 + r^2}$, $r = e^{\gamma / 2}$: how well each noisy entry
    agrees with one of a few values $c_j$ that are far more frequent than those around them.

    They show at once what Fourier features have to be combined for: an empty background, saturation, the few greys of one
    picture among others.

    Arguments:
        centres: c, in units of the data, J of them.
        sigma_data: $\sigma_d$, by which the denoiser scales what the network sees.
    """

    centres: Tensor

    def __init__(self, centres: Sequence[float], sigma_data: float = 1.0) -> None:
        super().__init__()
        self.sigma_data = sigma_data
        self.register_buffer("centres", constant(torch.tensor(centres, device="cpu")), persistent=False)

    def forward(self, x: Spatial, gamma: PerExample) -> Float[Tensor, "batch features *spatial"]:
        y, width = _with_its_noise(x, gamma, self.sigma_data)
        return torch.cat(
            [torch.exp(-(((y - centre) / width) ** 2 / 2).clamp(max=30)) for centre in self.centres], dim=1
        )


class LineFeatures(nn.Module):
    r"""How many entries of its row, of its column or along any other axis agree with a noisy entry, and what they say:

    $$\log (1 + n_i), \quad \frac{1}{1 + n_i} \sum_{j \ne i} w_{ij} \frac{y_j - y_i}{r}, \qquad
    n_i = \sum_{j \ne i} w_{ij}, \quad w_{ij} = e^{-(y_i - y_j)^2 / 4 r^2},$$

    with $y = x \sqrt{\sigma_d^2 + r^2}$, $r = e^{\gamma / 2}$, over the entries j of the same channel on the line through i.
    Two of the same value differ by noise of the variance $2 r^2$ alone, so that the second feature is how far the mean of
    all that agree, i among them, is from $y_i$, in units of the noise.

    Pictures that were scaled have the same greys along a row or a column, for an edge covers as much of each pixel there.
    Channels of a convolution do not carry a value so precisely that another, ten positions on, could be compared to it.

    Arguments:
        num_dims: spatial dimensions, 1 or more: two features for each.
        sigma_data: $\sigma_d$, by which the denoiser scales what the network sees.

    Raises:
        InputError: `num_dims` below 1, or (on call) an x of fewer spatial dimensions.
    """

    def __init__(self, num_dims: int, sigma_data: float = 1.0) -> None:
        super().__init__()
        check_least(1, num_dims=num_dims)
        self.num_dims = num_dims
        self.sigma_data = sigma_data

    def forward(self, x: Spatial, gamma: PerExample) -> Float[Tensor, "batch features *spatial"]:
        if x.ndim < 2 + self.num_dims:
            raise InputError(
                f"x has shape {tuple(x.shape)}: lines along {self.num_dims} axes are of (batch, channels, *spatial) with as "
                "many spatial dimensions or more"
            )
        y, width = _with_its_noise(x, gamma, self.sigma_data)
        return torch.cat(
            [feature for axis in range(self.num_dims) for feature in _agreement(y / width, 2 + axis)], dim=1
        )


def _agreement(y: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Both features along one axis, of y in units of the noise: shift by shift, for all pairs would fill the memory."""
    count, apart = torch.zeros_like(y), torch.zeros_like(y)
    for offset in range(1, y.shape[axis]):
        difference = y.roll(-offset, axis) - y
        weight = torch.exp(-(difference.square() / 4).clamp(max=30))
        count = count + weight
        apart = apart + weight * difference
    return torch.log1p(count), apart / (1 + count)


class Condition(nn.Module):
    """An embedding of labels or of vectors, with a learned one for the null condition.

    Null is `None` for a whole batch, the label -1, or a row of NaN. With neither `num_classes` nor `num_features`
    there is nothing to embed: only `cond=None` is allowed and the embedding is zero.

    Arguments:
        width: of the embedding.
        num_classes: labels are 0 .. num_classes - 1; 0 for a network without labels.
        num_features: length F of a condition vector, scaled to about unit variance; 0 for a network without vectors.

    Raises:
        InputError: labels and vectors together, or (on call) a condition that is not what was declared.
    """

    def __init__(self, width: int, *, num_classes: int = 0, num_features: int = 0) -> None:
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

    def forward(self, cond: Tensor | None, like: Float[Tensor, "batch ..."]) -> Tensor:
        """Return the embedding, (batch, width), with the batch size, dtype and device of `like`."""
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


class Inputs(TypedDict, total=False):
    """What a network is shown beside x and gamma, by keyword; nothing of what is left out.

    Arguments:
        fourier_frequencies: in cycles per unit of x: sines and cosines of x enter beside x (`FourierFeatures`). `octaves(K)`
            suit K levels on [-1, 1] and are worth much in likelihood.
        spikes: features of frequent values that enter beside x.
        lines: features of what agrees with each entry on its row, its column or along any other axis.
        num_classes: of labels 0 .. num_classes - 1 as condition.
        num_condition_features: length F of vectors as condition.
        num_given: channels of a condition along x, such as entries of x that are known, NaN where nothing is given.
        takes_observed: whether it is told which entries of x are there, by as many further inputs as x has channels.
    """

    fourier_frequencies: Sequence[float]
    spikes: SpikeFeatures | None
    lines: LineFeatures | None
    num_classes: int
    num_condition_features: int
    num_given: int
    takes_observed: bool


class ModulatedNetwork(nn.Module, ABC):
    """A network of x whose layers gamma and a condition modulate; it returns zero before training.

    Arguments:
        channels: of x.
        embedding_width: of the embedding of gamma and the condition.
        fourier_frequencies, spikes, lines, num_classes, num_condition_features, num_given, takes_observed: as of `Inputs`.

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
        num_classes: int = 0,
        num_condition_features: int = 0,
        num_given: int = 0,
        takes_observed: bool = False,
    ) -> None:
        super().__init__()
        if num_given and (num_classes or num_condition_features):
            raise InputError(
                f"num_given={num_given} with num_classes={num_classes} and num_condition_features="
                f"{num_condition_features}: a condition is of one kind"
            )
        self.num_given = num_given
        self.features = FourierFeatures(channels, fourier_frequencies, embedding_width)
        self.spikes = spikes
        self.lines = lines
        self.gamma_features = GammaFeatures()
        self.gamma_embedding = nn.Sequential(
            nn.Linear(self.gamma_features.num_features, embedding_width),
            nn.SiLU(),
            nn.Linear(embedding_width, embedding_width),
        )
        self.condition = Condition(embedding_width, num_classes=num_classes, num_features=num_condition_features)
        self.takes_observed = takes_observed
        num_spikes = 0 if spikes is None else len(spikes.centres)
        num_lines = 0 if lines is None else 2 * lines.num_dims
        beside = (num_spikes + num_lines + takes_observed) * channels
        self.num_inputs = self.features.num_features + beside + 2 * num_given

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
    ) -> Float[Tensor, "batch out_channels *spatial"]:
        """Return the network's output for x at noise level gamma.

        Arguments:
            x: (B, C, *spatial), or vectors (B, D), of about unit variance.
            gamma: (B,), the negative log signal-to-noise ratio, resolved from -20 to 20.
            cond: labels (B,) of int64 with -1 for null, or vectors (B, F) with a row of NaN for null, or what is given along
                x, (B, num_given, *spatial), with NaN for every entry that is not; `None`: all null.
            observed: of the shape of x, False where an entry is missing and x is 0; None: all are there. For networks that
                take it.
        """
        if observed is not None and not self.takes_observed:
            raise InputError("observed was given to a network without it: build it with takes_observed=True")
        self.check(x)
        along, cond = (cond, None) if self.num_given else (None, cond)
        embedding = functional.silu(self.gamma_embedding(self.gamma_features(gamma)) + self.condition(cond, gamma))
        inputs = self.features(x, gamma, embedding)
        for shown in (self.spikes, self.lines):
            if shown is not None:
                inputs = torch.cat([inputs, shown(x, gamma)], dim=1)
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
