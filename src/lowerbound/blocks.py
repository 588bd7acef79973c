r"""What the entries of x are where they are of several kinds, as in a row of a table: a block for each value or, of
fields, for each channel.

| block | entries | x of the value |
|---|---|---|
| `Real` | 1 | any number |
| `Grid` | 1 | $c_k = c_0 + k d$, k a whole number, between two ends or without |
| `Choice` | K | $s e_k$, one of K categories |
| `ChoiceOrReal` | K + 2 | $s e_k$, one of K values or none of them, and $z$: any number if none, noise of N(0, 1) if one |

The values of a grid and of a choice are discrete: they have probabilities, and a real number has a density. The categories
of a choice are $s \sqrt 2 = 2$ apart, as two levels are.

A number that is one and the same value in a share of the rows has a probability there, and a density elsewhere. Noise stands
for the number where it is that value, and $\log P(v) \ge E_z [\log p(e_k, z) - \log N(z; 0, 1)]$, with equality for a model
that knows that nothing depends on z. Noise that tells nothing of the value leaves the flow of z smooth: narrower, about the
value's own place, few calls follow it worse.
"""

import functools
import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.rng import Noise
from lowerbound.words.brief import Brief

ONE_HOT = math.sqrt(2)
"""s, the entry of the category that is chosen; the others are zero."""
_LEAST_SHARE_OF_NUMBERS = 1e-3
"""Beside values that are nearly all that there is."""


@dataclass(frozen=True)
class Real:
    """A real number."""

    width = 1


@dataclass(frozen=True)
class Grid:
    """A whole number k at $c_0 + k d$.

    Arguments:
        origin: $c_0$.
        spacing: d.
        num_levels: K, of k = 0 ... K - 1; None: k has no ends.
        tells_density: whether it is a real number that was recorded so, of whose probability the data's figures are told as
            a density.

    Raises:
        InputError: if the spacing or K is out of range.
    """

    origin: float
    spacing: float
    num_levels: int | None = None
    tells_density: bool = False
    width = 1

    def __post_init__(self):
        if not 0 < self.spacing < math.inf or not math.isfinite(self.origin):
            raise InputError(f"a grid from {self.origin} in steps of {self.spacing}: both finite, steps above 0")
        if self.num_levels is not None and self.num_levels < 2:
            raise InputError(f"a grid of {self.num_levels} levels: it has at least two, or no ends")


@dataclass(frozen=True)
class Choice:
    """One of K categories.

    Arguments:
        num_categories: K.

    Raises:
        InputError: if there are none.
    """

    num_categories: int

    def __post_init__(self):
        if self.num_categories < 1:
            raise InputError(f"a choice of {self.num_categories} categories: it has at least one")

    @property
    def width(self) -> int:
        return self.num_categories


@dataclass(frozen=True)
class ChoiceOrReal:
    """One of K values, or a real number.

    Arguments:
        places: $x_k$, where each value would stand as a number, (K,).
        shares: $q_k$, of each in training, (K,); the rest is of numbers.

    Raises:
        InputError: if there are no values, one is not finite, or shares are none.
    """

    places: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self):
        if not self.places or not all(map(math.isfinite, self.places)):
            raise InputError(f"values at {self.places} or a number: there is at least one value, each place finite")
        if (
            len(self.shares) != len(self.places)
            or not all(0 < q <= 1 for q in self.shares)
            or sum(self.shares) > 1 + 1e-6
        ):
            raise InputError(
                f"shares of {self.shares} for values at {self.places}: one above 0 for each, 1 in all at most"
            )

    @property
    def num_values(self) -> int:
        return len(self.places)

    @property
    def width(self) -> int:
        return self.num_values + 2


Block: TypeAlias = Real | Grid | Choice | ChoiceOrReal
Blocks: TypeAlias = tuple[Block, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Layout(Brief):
    """Where the entries of blocks are, all of a kind together.

    Arguments:
        reals: those of real numbers, the ones of a `ChoiceOrReal` last.
        grids: those on grids.
        origin, spacing, lowest, highest: of each grid, the last two the ends of k, infinite where it has none.
        choices: those of each choice, one after another up to the largest K; beyond a choice's own its first again.
        beyond: where they are beyond.
        chosen, own: the entries of all choices, and where they stand among `choices`, flattened.
        first: of each block.
        optional, is_number: of each `ChoiceOrReal` the entry of its number, and the one that is chosen where it is a number;
            their choices are the last among `choices`.
        places: of each `ChoiceOrReal` those of its values, as many as categories at most; 0 beyond.
        log_shares: of each choice that is one of a `ChoiceOrReal` log q_k, of the number too; 0 of others, and beyond.
        chooses_number: of each `ChoiceOrReal` 1 where the choice is a number, as many as categories at most, else 0.
    """

    reals: Int[Tensor, "num_reals"]
    grids: Int[Tensor, "num_grids"]
    origin: Float64[Tensor, "num_grids"]
    spacing: Float64[Tensor, "num_grids"]
    lowest: Float64[Tensor, "num_grids"]
    highest: Float64[Tensor, "num_grids"]
    choices: Int[Tensor, "num_choices most_categories"]
    beyond: Bool[Tensor, "num_choices most_categories"]
    chosen: Int[Tensor, "num_chosen"]
    own: Int[Tensor, "num_chosen"]
    first: Int[Tensor, "num_blocks"]
    optional: Int[Tensor, "num_optional"]
    is_number: Int[Tensor, "num_optional"]
    places: Float64[Tensor, "num_optional most_categories"]
    log_shares: Float64[Tensor, "num_choices most_categories"]
    chooses_number: Float64[Tensor, "num_optional most_categories"]

    @property
    def numbers(self) -> Int[Tensor, "num_numbers"]:
        """The entries of real numbers, and then of those on grids."""
        return torch.cat([self.reals, self.grids])


@functools.lru_cache(maxsize=64)
def layout(blocks: Blocks, device: torch.device) -> Layout:
    """The layout of blocks on a device."""
    first = [sum(block.width for block in blocks[:number]) for number in range(len(blocks))]
    placed = list(zip(first, blocks, strict=True))
    grids = [(at, block) for at, block in placed if isinstance(block, Grid)]
    is_number = [at + block.num_values for at, block in placed if isinstance(block, ChoiceOrReal)]
    optional = [at + 1 for at in is_number]
    reals = [at for at, block in placed if isinstance(block, Real)] + optional
    # where a choice begins, and how many categories it has
    choices = [(at, block.width) for at, block in placed if isinstance(block, Choice)]
    choices += [(at, block.num_values + 1) for at, block in placed if isinstance(block, ChoiceOrReal)]
    most = max((width for _, width in choices), default=0)
    ends = [(-math.inf, math.inf) if b.num_levels is None else (0.0, b.num_levels - 1.0) for _, b in grids]
    numbers = {
        "origin": [block.origin for _, block in grids],
        "spacing": [block.spacing for _, block in grids],
        "lowest": [low for low, _ in ends],
        "highest": [high for _, high in ends],
    }
    either = [block for block in blocks if isinstance(block, ChoiceOrReal)]
    of_values = [(*block.places, *[0.0] * (most - block.num_values)) for block in either]
    shares = [(1.0,)] * (len(choices) - len(either))
    shares += [(*block.shares, max(_LEAST_SHARE_OF_NUMBERS, 1 - sum(block.shares))) for block in either]
    log_shares = [[*map(math.log, each), *[0.0] * (most - len(each))] for each in shares]
    numbers_of = [[float(k == block.num_values) for k in range(most)] for block in either]
    # each on the device by name, that they have numbers also where a network is made without
    entries = torch.tensor([[at + k * (k < width) for k in range(most)] for at, width in choices], device=device)
    beyond = torch.tensor([[k >= width for k in range(most)] for _, width in choices], device=device).bool()
    return Layout(
        reals=torch.tensor(reals, dtype=torch.long, device=device),
        grids=torch.tensor([at for at, _ in grids], dtype=torch.long, device=device),
        choices=entries.long().reshape(len(choices), most),
        beyond=beyond.reshape(len(choices), most),
        chosen=entries[~beyond].long(),
        own=(~beyond).flatten().nonzero()[:, 0],
        first=torch.tensor(first, dtype=torch.long, device=device),
        optional=torch.tensor(optional, dtype=torch.long, device=device),
        is_number=torch.tensor(is_number, dtype=torch.long, device=device),
        places=torch.tensor(of_values, dtype=torch.float64, device=device).reshape(len(either), most),
        log_shares=torch.tensor(log_shares, dtype=torch.float64, device=device).reshape(len(choices), most),
        chooses_number=torch.tensor(numbers_of, dtype=torch.float64, device=device).reshape(len(either), most),
        **{name: torch.tensor(each, dtype=torch.float64, device=device) for name, each in numbers.items()},
    )


def along(values: Tensor, x: Tensor) -> Tensor:
    """What belongs to entries, (n,), or to those of choices, (n, K), beside x of them, (B, n, *spatial) or (B, n, K,
    *spatial)."""
    return values.reshape(*values.shape, *[1] * (x.ndim - values.ndim - 1))


def of_entries(of_values: Tensor, blocks: Blocks) -> Tensor:
    """What belongs to each value, (B, C, *spatial), as what belongs to each of its entries, (B, D, *spatial)."""
    return of_values.repeat_interleave(torch.tensor([block.width for block in blocks], device=of_values.device), 1)


def num_entries(blocks: Blocks) -> int:
    """D, the entries of x."""
    return sum(block.width for block in blocks)


def with_noise(x: Tensor, blocks: Blocks, noise: Noise) -> Tensor:
    """x, (B, D, *spatial), with noise anew in the place of numbers that are one of the values of a `ChoiceOrReal`."""
    at = layout(blocks, x.device)
    if not len(at.optional):
        return x
    numbers = x[:, at.optional]
    return x.index_copy(1, at.optional, torch.where(_is_value(x, at), noise.normal(numbers), numbers))


def at_places(x: Tensor, blocks: Blocks) -> Tensor:
    """x, (B, D, *spatial), with the place of the value where a number is one of the values of a `ChoiceOrReal`."""
    at = layout(blocks, x.device)
    if not len(at.optional):
        return x
    own = x[:, at.choices[-len(at.optional) :]]
    chosen = own.masked_fill(along(at.beyond[-len(at.optional) :], own), -torch.inf).argmax(2, keepdim=True)
    places = along(at.places, own).to(x).expand_as(own).gather(2, chosen)[:, :, 0]
    return x.index_copy(1, at.optional, torch.where(_is_value(x, at), places, x[:, at.optional]))


def _is_value(x: Tensor, at: Layout) -> Tensor:
    """Which numbers are values, and not missing, which is NaN, (B, n, *spatial)."""
    return x[:, at.is_number] < ONE_HOT / 2


def check_values(x: Tensor, blocks: Blocks, observed: Tensor | None = None) -> None:
    """Refuse data that are not on their grids, or are no choice, with an InputError.

    Arguments:
        x: (B, D, *spatial).
        blocks: of its entries.
        observed: which entries are there, of its shape; all if None.
    """
    at = layout(blocks, x.device)
    is_present = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
    on_grids = x[:, at.grids].double()
    origin, spacing, lowest, highest = (along(each, x) for each in (at.origin, at.spacing, at.lowest, at.highest))
    k = (on_grids - origin) / spacing
    off = ~(((k - k.round()).abs() < _OFF) & (k > lowest - _OFF) & (k < highest + _OFF))
    if (off := off & is_present[:, at.grids]).any():
        raise InputError(
            f"x holds {on_grids[off][0].item():.6g}, which is not on its grid: give x as the encoding makes it"
        )
    if not len(at.choices):
        return
    of_choices = x[:, at.choices]
    chosen, others, beyond = (of_choices - ONE_HOT).abs() < _OFF, of_choices.abs() < _OFF, along(at.beyond, of_choices)
    fits = (chosen.logical_and(~beyond).sum(2) == 1) & (chosen | others | beyond).all(2)
    if (~fits & is_present[:, at.choices[:, 0]]).any():
        raise InputError(f"x has a block that chooses no category: one entry is {ONE_HOT:.4g}, the others are 0")


_OFF = 0.01
"""The farthest from where a value stands that counts as rounding."""
