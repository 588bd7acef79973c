r"""A stack of bits: symbols are pushed under a distribution, and come back from the top, last in, first out.

Pushing a symbol of mass P makes the stack $-\log_2 P$ bits longer; popping one from bits that look random draws it from P,
and takes as many bits away. The two undo each other exactly (asymmetric numeral systems; Duda 2009, arXiv 0902.0271), in
the integers of the library constriction.

Whoever pops must have the distribution to its last digit that the pusher had. So each is a table of whole numbers, $2^{20}$
times the masses, and what a network says enters by way of a few rounded numbers: the place of a normal on its grid to
`FINE` parts of a bin, its width to `OCTAVE` parts of an octave, the masses of a row as they stand in their table. In double
precision sums in another order differ by some $10^{-14}$, and only a number that happens to lie as near as that to the
middle between two whole ones is rounded to another.
"""

import math
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt32
from scipy.special import ndtr

from lowerbound.data.extras import extra
from lowerbound.errors import InputError

FINE = 32
"""Parts of a bin to which the mean of a normal is rounded."""
OCTAVE = 256
"""Parts of an octave to which its standard deviation is rounded."""
REACH = {False: 5, True: 8}
"""Standard deviations that the table of a normal goes to on either side, without tails and with them."""
MASS = 1 << 20
"""What the masses of a table add up to, about."""
PLAIN = 1 << 16
"""Values of either half of a number that lies beyond a normal's table."""
FARTHEST = 1 << 31
"""Bins from the origin of a grid, beyond which nothing is coded."""

Words = UInt32[np.ndarray, " num_words"]
"""Bits, 32 at a time."""
Symbols = Int[np.ndarray, " num_symbols"]


class Stack:
    """The stack.

    Arguments:
        words: what it holds, in words of 32 bits.
        as_seed: whether these are bits to begin with, which `seed` gives back in the end, and no other stack's words.

    Attributes:
        checksum: of all distributions since it was last set to 0, in any order.
        fewest_bits: that it has held so far.

    Raises:
        InputError: if constriction is not installed.
    """

    def __init__(self, words: Words, *, as_seed: bool = False):
        library = extra("constriction", "codec", "compression")
        self._model: Any = library.stream.model
        self._rows = self._model.Categorical(perfect=False)
        self._halves = self._model.Uniform(PLAIN)
        self._coder = library.stream.stack.AnsCoder(words, seal=as_seed)
        self._table = lru_cache(maxsize=1 << 14)(self._new_table)
        self.checksum, self.fewest_bits = 0, self._coder.num_valid_bits()

    @property
    def words(self) -> Words:
        """All that it holds."""
        return self._coder.get_compressed()

    @property
    def seed(self) -> Words:
        """The words that it began with, when all that was pushed has been popped.

        Raises:
            InputError: if something else is left.
        """
        try:
            return self._coder.get_compressed(unseal=True)
        except AssertionError as error:
            raise InputError("what is left on the stack is not what it began with") from error

    def push_rows(self, symbols: Symbols, log_masses: Float[np.ndarray, "num_symbols num_levels"]) -> None:
        """Push levels, each under its row of log masses, which need not add up to one."""
        self._coder.encode_reverse(symbols.astype(np.int32), self._rows, self._weights(log_masses))

    def pop_rows(self, log_masses: Float[np.ndarray, "num_symbols num_levels"]) -> Symbols:
        """Pop levels that `push_rows` pushed."""
        return self._coder.decode(self._rows, self._weights(log_masses)).astype(np.int64)

    def push_normal(self, places: Symbols, normal: "Binned") -> None:
        """Push places on a grid under normals with tails: a place beyond the table follows in plain."""
        symbols = places - normal.first
        beyond = (symbols < 0) | (symbols >= normal.size)
        for half in np.divmod(places[beyond] + FARTHEST, PLAIN):
            self._coder.encode_reverse(half.astype(np.int32), self._halves)
        self._push(np.where(beyond, normal.size, symbols), normal)

    def pop_normal(self, normal: "Binned") -> Symbols:
        """Pop places that `push_normal` pushed."""
        symbols = self._pop(normal)
        places, beyond = symbols + normal.first, symbols == normal.size
        low, high = (self._coder.decode(self._halves, int(beyond.sum())).astype(np.int64) for _ in range(2))
        places[beyond] = high * PLAIN + low - FARTHEST
        return places

    def draw(self, normal: "Binned", key: int) -> Symbols:
        """Pop places on a grid under normals without tails: bits become draws of them.

        The bits are those of what was pushed last, which are not random where the model that they were pushed under is not
        right, and of which what is drawn must not depend. So they are turned over at random first.

        Arguments:
            normal: whose draws.
            key: by which the same bits are turned over when `undraw` is called with it.
        """
        self._turn_over(normal, key)
        return self._pop(normal) + normal.first

    def undraw(self, places: Symbols, normal: "Binned", key: int) -> None:
        """Push places that `draw` popped, so that the bits are those of before."""
        self._push(places - normal.first, normal)
        self._turn_over(normal, key)

    def _turn_over(self, normal: "Binned", key: int) -> None:
        """Exchange zeros and ones of about half of the bits that draws of normals take; done twice, of none."""
        number = math.ceil(normal.num_bits / math.log2(PLAIN)) + 2
        mask = np.random.default_rng(key).integers(PLAIN, size=number)
        halves = self._coder.decode(self._halves, number)
        self.fewest_bits = min(self.fewest_bits, self._coder.num_valid_bits())
        self._coder.encode_reverse((halves ^ mask).astype(np.int32), self._halves)

    def _push(self, symbols: Symbols, normal: "Binned") -> None:
        self._note(normal.keys)
        if ((symbols < 0) | (symbols >= normal.size + normal.tails)).any():
            raise InputError("a place that was never drawn")
        for key, members in reversed([*normal.groups()]):
            self._coder.encode_reverse(symbols[members].astype(np.int32), self._table(*key, normal.tails))

    def _pop(self, normal: "Binned") -> Symbols:
        self._note(normal.keys)
        symbols = np.empty(len(normal.first), np.int64)
        for key, members in normal.groups():
            symbols[members] = self._coder.decode(self._table(*key, normal.tails), len(members))
        self.fewest_bits = min(self.fewest_bits, self._coder.num_valid_bits())
        return symbols

    def _new_table(self, width: int, fine: int, tails: bool) -> Any:
        return self._model.Categorical(normal_table(width, fine, tails), perfect=False)

    def _weights(self, log_masses: np.ndarray) -> np.ndarray:
        masses = np.exp(log_masses - log_masses.max(1, keepdims=True))
        weights = np.round(MASS * masses / masses.sum(1, keepdims=True))
        self._note(weights)
        return weights

    def _note(self, distribution: np.ndarray) -> None:
        self.checksum = (self.checksum + zlib.crc32(np.ascontiguousarray(distribution).data)) & 0xFFFFFFFF


class Binned:
    """Normals on a grid, rounded so that few tables hold them all.

    Arguments:
        mean: of each entry, in units of x.
        std: likewise, one for all or one for each.
        step: of the grid, in units of x.
        tails: whether a place beyond the table is possible, as it is of what is pushed and not drawn.

    Attributes:
        first: the place of each table's first bin.
        size: how many bins each table has.
        keys: the width and the fine place of each, which say all of its table.
        num_bits: about how many bits draws of them take, and a few more.

    Raises:
        InputError: if a mean is not finite, or farther off than the grid goes.
    """

    def __init__(
        self,
        mean: Float[np.ndarray, " num"],
        std: Float[np.ndarray, "..."] | float,
        step: float,
        *,
        tails: bool = False,
    ):
        position = np.round(mean / step * FINE)
        if not (np.abs(position) < FINE * FARTHEST / 2).all():
            raise InputError("the model's latents are not finite, or beyond all bounds")
        centre, fine = np.divmod(position.astype(np.int64), FINE)
        width = np.round(OCTAVE * np.log2(std / step)).astype(np.int64)
        self.keys = np.stack([np.broadcast_to(width, fine.shape), fine])
        self.tails, reach = tails, np.broadcast_to(half_size(width, tails), fine.shape)
        self.first, self.size = centre - reach, 2 * reach + 1
        entropy = math.log2(math.sqrt(2 * math.pi * math.e))
        self.num_bits = float((np.maximum(0, self.keys[0] / OCTAVE) + entropy).sum()) + 4 * math.sqrt(len(fine))

    def groups(self) -> Iterator[tuple[tuple[int, int], Int[np.ndarray, " num_members"]]]:
        """Each key with those that have it, in the order of keys."""
        order = np.lexsort(self.keys[::-1])
        breaks = np.flatnonzero(np.diff(self.keys[:, order]).any(0)) + 1
        for members in np.split(order, breaks):
            width, fine = self.keys[:, members[0]].tolist()
            yield (width, fine), members


def half_size(width: Any, tails: bool) -> Any:
    """How many bins a table has on either side of its middle one."""
    return np.ceil(REACH[tails] * 2.0 ** (np.asarray(width) / OCTAVE)).astype(np.int64) + 1


def normal_table(width: int, fine: int, tails: bool) -> Float[np.ndarray, " num_bins"]:
    """The masses of a normal's bins, `MASS` in all, and of what is beyond them the least that there is.

    Arguments:
        width: its standard deviation is 2^(width / `OCTAVE`) bins.
        fine: its mean is so many `FINE`ths of a bin above the middle of the middle bin.
        tails: whether the table ends in a symbol for all that is beyond.
    """
    reach = int(half_size(width, tails))
    edges = (np.arange(-reach, reach + 2) - 0.5 - fine / FINE) / 2 ** (width / OCTAVE)
    masses = np.round(MASS * np.diff(ndtr(edges)))
    return np.append(masses, 0.0) if tails else masses


def to_words(content: bytes) -> Words:
    """Bytes as words, with zeros behind them."""
    return np.frombuffer(content.ljust(4 * math.ceil(len(content) / 4), b"\0"), "<u4").astype(np.uint32)
