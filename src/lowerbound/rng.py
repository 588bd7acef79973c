r"""Where randomness enters: two noise sources with one interface.

`Stream` draws from one generator: fast, and a sample depends on its place in its batch. `PerSample` gives each sample its
own counter-based stream, so that a sample is a function of its seed alone, whatever the batch, the order or the device:
Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed by the seed, with the number of
the draw and the place within the sample as its counter, followed by the Box-Muller transform.
"""

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable
from operator import index

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from lowerbound.elementary import Scalar
from lowerbound.errors import InputError
from lowerbound.shapes import Examples

_MASK = 0xFFFFFFFF
_AHEAD = 4096
"""The most counters of draws to come that are encrypted at once: fewer take hardly less time."""


class Noise(ABC):
    """A source of random numbers; each call draws anew."""

    @abstractmethod
    def normal(self, like: Examples) -> Examples:
        """Standard normal numbers of the shape, type and device of `like`."""

    def step(self, like: Examples, gamma_t: Scalar, gamma_s: Scalar) -> Examples:
        r"""Standard normal numbers for a sampler's step from $\gamma_t$ down to $\gamma_s$: simply the next ones, except
        from a source that remembers its path (`brownian.BrownianPath`)."""
        return self.normal(like)

    @abstractmethod
    def uniform(self, like: Examples) -> Examples:
        """Numbers uniform in [0, 1], of the shape, type and device of `like`."""


def check_noise(noise: object) -> None:
    """Refuse what is no source of noise, such as a bare seed, by an InputError."""
    if not isinstance(noise, Noise):
        raise InputError(f"noise is {noise!r}: give a source, Stream(seed=0), or PerSample(seeds) for a seed each")


def random_signs(like: Examples, noise: Noise) -> Examples:
    """1 or -1, independent, of the shape of `like`."""
    return torch.where(noise.uniform(like) < 0.5, -1.0, 1.0).to(like)


class Stream(Noise):
    """One generator for all samples.

    Arguments:
        seed: any integer of up to 64 bits.
        device: where the numbers are drawn; it must be the device of the tensors that ask for them.

    Raises:
        InputError: for a seed that is no such integer.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu"):
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
            raise InputError(f"seed is {seed!r}: it is a whole number")
        _signed(index(seed))  # which refuses one of more bits
        self._generator = torch.Generator(device).manual_seed(index(seed))

    def __repr__(self) -> str:
        return f"Stream(seed={self._generator.initial_seed()})"

    def state(self) -> UInt8[Tensor, "num_bytes"]:
        """Where it stands in its stream, to go on from by `restore`."""
        return self._generator.get_state()

    def restore(self, state: UInt8[Tensor, "num_bytes"]) -> None:
        """Go on from a `state`."""
        self._generator.set_state(state)

    def normal(self, like: Examples) -> Examples:
        return torch.empty_like(like).normal_(generator=self._generator)

    def uniform(self, like: Examples) -> Examples:
        return torch.empty_like(like).uniform_(generator=self._generator)


class PerSample(Noise):
    """A stream of its own for each sample.

    Arguments:
        seeds: (B,) integers of up to 64 bits, one for each sample of the batches to come.

    Raises:
        InputError: if they are no whole numbers; and when a batch of another size asks for noise.
    """

    def __init__(self, seeds: Iterable[int] | Int[Tensor, "batch"]):
        try:
            integers = seeds if isinstance(seeds, Tensor) else torch.tensor([_signed(index(seed)) for seed in seeds])
        except TypeError as error:
            raise InputError(f"seeds are {seeds!r}: give a whole number for each sample, such as range(64)") from error
        if integers.ndim != 1 or integers.is_floating_point():
            raise InputError(
                f"seeds are a tensor of shape {tuple(integers.shape)} and dtype {integers.dtype}: give (B,) integers"
            )
        self._seeds = integers.long()
        self._draw = 0
        # words of as many draws from a first one on as were asked for before, each (draws, B, counters of a sample)
        self._ahead_from = 0
        self._ahead: tuple[Tensor, ...] = (self._seeds.new_empty(0, 0, 0),)

    def __repr__(self) -> str:
        return f"PerSample({len(self)} seeds)"

    def __len__(self) -> int:
        return len(self._seeds)

    def normal(self, like: Examples) -> Examples:
        return self._normal(like, self._next_words(like))

    def node(self, like: Examples, number: int) -> Examples:
        """Standard normal numbers that belong to a number and not to a draw, independent of all draws."""
        return self._normal(like, self._words(like, number, is_node=True))

    def uniform(self, like: Examples) -> Examples:
        return _fill([_unit(words, like) for words in self._next_words(like)], like)

    def _normal(self, like: Tensor, words: tuple[Tensor, ...]) -> Tensor:
        first, second, third, fourth = words
        pairs = ((first, second), (third, fourth))
        columns = []
        for radius_words, angle_words in pairs:
            radius = torch.sqrt(-2 * torch.log(_unit(radius_words, like)))
            angle = 2 * math.pi * _unit(angle_words, like)
            columns += [radius * torch.cos(angle), radius * torch.sin(angle)]
        return _fill(columns, like)

    def _next_words(self, like: Tensor) -> tuple[Tensor, ...]:
        """Four words of 32 bits for every four numbers of each sample, (B, counters), of the next draw."""
        last, number = self._ahead[0], self._draw - self._ahead_from
        is_alike = last.shape[1:] == (len(like), _num_counters(like)) and last.device == like.device
        if not is_alike or number >= len(last):
            # small draws cost what asking for them costs: many at once where many come, which the last ones tell
            most = max(1, _AHEAD // max(1, len(like) * _num_counters(like)))
            self._ahead = self._words(like, self._draw, min(2 * len(last), most) if is_alike else 1)
            self._ahead_from, number = self._draw, 0
        self._draw += 1
        return tuple(words[number] for words in self._ahead)

    def _words(self, like: Tensor, draw: int, num_draws: int = 1, *, is_node: bool = False) -> tuple[Tensor, ...]:
        """Words of draws from one on, (draws, B, counters), or of the node of that number, (B, counters)."""
        if len(like) != len(self._seeds):
            raise InputError(f"noise for a batch of {len(like)} was asked of {len(self._seeds)} seeds: give one each")
        self._seeds = self._seeds.to(like.device)  # once: an accelerator waits for what comes from the CPU
        seeds = self._seeds[:, None]
        position = torch.arange(_num_counters(like), device=like.device)[None]
        draws = torch.arange(draw, draw + num_draws, device=like.device)[:, None, None]
        if is_node:
            draws = draws[0]
        kind = torch.full_like(position, is_node)
        return philox((position, draws & _MASK, draws >> 32, kind), (seeds & _MASK, seeds >> 32 & _MASK))


def derive_seeds(seed: int, step: int, indices: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
    """One 64-bit seed for each (seed, step, index), none depending on the others in the batch."""
    key = torch.tensor(_signed(seed), device=indices.device)
    steps = torch.full_like(indices, step)
    counter = (indices & _MASK, indices >> 32 & _MASK, steps & _MASK, steps >> 32 & _MASK)
    low, high, _, _ = philox(counter, (key & _MASK, key >> 32 & _MASK))
    return low | high << 32


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10: four words of 32 bits (kept in int64) from a counter of four words and a key of two.

    Salmon et al. 2011, section 3.3. The words of a counter broadcast against those of a key.
    """
    # Both products of a round are taken at once: an accelerator takes longer to be asked than to compute. The words that
    # they make change places, and so the even ones stand the other way round after every other round.
    # of tensors: for that of shapes torch would first load half a second of symbolic mathematics
    shape = torch.broadcast_tensors(*counter, *key)[0].shape
    c0, c1, c2, c3 = (words.expand(shape) for words in counter)
    even, odd = torch.stack([c0, c2]), torch.stack([c1, c3])
    k0, k1 = (words.reshape((1,) * (len(shape) - words.ndim) + words.shape) for words in key)
    keys, increments = torch.stack([k0, k1]), _pair(0x9E3779B9, 0xBB67AE85, c0)
    keys = torch.stack([keys + number * increments for number in range(10)]) & _MASK
    multipliers = _pair(0xD2511F53, 0xCD9E8D57, c0)
    in_turns = ((multipliers, keys.flip(1)), (multipliers.flip(0), keys))
    for number in range(10):
        factors, own_keys = in_turns[number % 2]
        # the products wrap around in 64 bits, which leaves every bit right; the mask undoes the sign's extension
        products = even * factors
        even = (products >> 32).bitwise_and_(_MASK).bitwise_xor_(own_keys[number])
        even[0].bitwise_xor_(odd[1])
        even[1].bitwise_xor_(odd[0])
        odd = products.bitwise_and_(_MASK)
    return even[0], odd[0], even[1], odd[1]


def _pair(first: int, second: int, like: Tensor) -> Tensor:
    """Two numbers along a new first axis, computed where they are needed: a device waits for what is brought to it."""
    return (torch.arange(2, device=like.device) * (second - first) + first).view(2, *[1] * like.ndim)


def _num_counters(like: Tensor) -> int:
    """How many counters, of four words each, an example takes."""
    return math.ceil(math.prod(like.shape[1:]) / 4)


def _unit(words: Tensor, like: Tensor) -> Tensor:
    """Words of 32 bits as numbers in (0, 1]."""
    return (words.to(like.dtype) + 0.5) * 2.0**-32


def _fill(columns: list[Tensor], like: Tensor) -> Tensor:
    return torch.cat(columns, 1)[:, : like[0].numel()].reshape(like.shape).contiguous()


def _signed(seed: int) -> int:
    """The 64 bits of a seed as the signed integer that a tensor can hold; one of more is refused, by an InputError."""
    if not -(1 << 63) <= seed < 1 << 64:
        raise InputError(f"seed is {seed}: it has at most 64 bits, from -2^63 to 2^64 - 1")
    seed &= (1 << 64) - 1
    return seed - (1 << 64) if seed >> 63 else seed
