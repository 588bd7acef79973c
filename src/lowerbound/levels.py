r"""Where discrete data stand: K levels at the centres $c_k = 2 (k + \tfrac12) / K - 1$.

They are evenly spaced in (-1, 1), each in the middle of a bin of width 2 / K: 8-bit data have K = 256, and none is at ±1.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from lowerbound.errors import InputError

_FEW = 0.12  # variance up to which three levels hold all of a normal's mass on the integers but 5e-4

MOST_COUNTED = 1024
"""Levels, at most, at which an example's entries are counted for a network: of more its first layer would be the largest."""

_EXACT_BITS = 23  # of the sum of parts of all entries, in single precision

_OFF = 0.01  # the farthest from a level's centre, in levels, that counts as rounding


def check_num_levels(num_levels: int) -> int:
    """The number of levels, refused with an InputError outside 2 to 65,536."""
    if num_levels not in range(2, 65_537):
        raise InputError(f"{num_levels} levels: discrete data have between 2 and 65,536, a whole number")
    return num_levels


def check_counted(num_levels: int) -> int:
    """The number of levels at which entries are counted, refused with an InputError outside 2 to `MOST_COUNTED`."""
    if check_num_levels(num_levels) > MOST_COUNTED:
        raise InputError(f"{num_levels} levels: a network is told how many entries are at each of up to {MOST_COUNTED}")
    return num_levels


def level_centres(index: Num[Tensor, "*shape"], num_levels: int) -> Float[Tensor, "*shape"]:
    r"""$c_k = 2 (k + \tfrac12) / K - 1$ of level indices k, integers or floats, in whose precision the centres are."""
    return (2 * index + 1) / num_levels - 1


def nearest_level(x: Float[Tensor, "*shape"], num_levels: int) -> Float[Tensor, "*shape"]:
    """The index, as a float, of the level whose centre is nearest to x."""
    return ((x + 1) * num_levels / 2 - 0.5).round().clamp(0, num_levels - 1)


def check_levels(x: Float[Tensor, "*shape"], num_levels: int) -> None:
    """Refuse data that are not at the centres of their levels, with an InputError."""
    centres = level_centres(nearest_level(x, num_levels).nan_to_num().long(), num_levels)
    off = ~((x - centres).abs() * num_levels / 2 < _OFF)
    if off.any():
        raise InputError(
            f"x holds {x[off][0].item():.6g}, which is not the centre of one of {num_levels} levels: encode level k as "
            "2 (k + 1/2) / num_levels - 1, and give decoder and dequantiser the data's own number of levels"
        )


def mean_level(
    centre: Float[Tensor, "*shape"], variance: Float[Tensor, "*shape"], num_levels: int
) -> Float[Tensor, "*shape"]:
    r"""The mean of $P(k) \propto e^{-(k - m)^2 / 2 v}$ over the levels k = 0 ... K - 1.

    Of a wide normal it is $m - 4 \pi v q \sin(2 \pi m) / (1 + 2 q \cos(2 \pi m))$, $q = e^{-2 \pi^2 v}$, by Poisson's
    summation formula; the ends of the levels are felt by narrow ones only.

    Arguments:
        centre: m, in levels.
        variance: v, in squared levels, positive.
        num_levels: K.
    """
    return mean_between(centre, variance, 0, num_levels - 1)


def mean_between(
    centre: Float[Tensor, "*shape"], variance: Float[Tensor, "*shape"], lowest: Any, highest: Any
) -> Float[Tensor, "*shape"]:
    """`mean_level` over the whole numbers from `lowest` to `highest`: two numbers, or two tensors that broadcast, infinite
    where there is no end."""
    nearest = centre.detach().round().clamp(lowest, highest)
    offset = centre - nearest
    steepness = 0.5 / variance.clamp(1e-9, 1.0)
    above = ((2 * offset - 1) * steepness).masked_fill(nearest == highest, -math.inf)
    below = ((-2 * offset - 1) * steepness).masked_fill(nearest == lowest, -math.inf)
    mass = torch.stack([below, torch.zeros_like(above), above]).softmax(0)
    narrow = nearest + mass[2] - mass[0]
    # where the narrow form holds this one's denominator has zeros, and an infinity not chosen still spoils the gradient
    wide = variance.clamp(min=_FEW)
    harmonic = torch.exp(-2 * math.pi**2 * wide)
    phase = 2 * math.pi * offset
    ripple = harmonic * torch.sin(phase) / (1 + 2 * harmonic * torch.cos(phase))
    return torch.where(variance < _FEW, narrow, centre - 4 * math.pi * wide * ripple)


class Places(NamedTuple):
    """Where entries stand between levels."""

    below: Int[Tensor, "*batch entries"]
    """The level below each, which is not the last one."""
    part: Float[Tensor, "*batch entries"]
    """How far on to the next level it is, from 0 to 1."""


def places(position: Float[Tensor, "*batch entries"], num_levels: int) -> Places:
    """The places of positions in levels, from 0 to K - 1, to which those beyond are moved.

    Parts are so coarse that sums of them are exact in single precision: a processor that adds them up in whatever order has
    the same histogram each time, without which what is coded by one could not be decoded.
    """
    position = position.clamp(0, num_levels - 1)
    below = position.detach().floor().clamp(max=num_levels - 2)
    part, grain = position - below, 2.0 ** (math.ceil(math.log2(max(2, position.shape[-1]))) - _EXACT_BITS)
    return Places(below.long(), part + ((part / grain).round() * grain - part).detach())


def histogram(
    entries: Places, num_levels: int, counted: Bool[Tensor, "*batch entries"] | None = None
) -> Float[Tensor, "*batch levels"]:
    """How many entries are at each level, one between two levels in parts at both.

    Arguments:
        entries: their places.
        num_levels: K.
        counted: whether each entry counts, False where one is missing; None: all do.
    """
    below, part = entries
    counted = torch.ones_like(part) if counted is None else counted.to(part.dtype)
    counts = part.new_zeros(*part.shape[:-1], num_levels)
    return counts.scatter_add(-1, below, (1 - part) * counted).scatter_add(-1, below + 1, part * counted)


def interpolated(values: Float[Tensor, "*batch levels"], entries: Places) -> Float[Tensor, "*batch entries"]:
    """What lies between the values of the two levels next to each entry, in proportion."""
    below, part = entries
    return (1 - part) * values.gather(-1, below) + part * values.gather(-1, below + 1)
