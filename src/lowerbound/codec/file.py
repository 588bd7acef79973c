"""What a compressed file holds: a short header, and the stack's words.

| bytes | what |
|---|---|
| 3 | `LB3`, of which the digit is the format's version |
| 4 | CRC-32 of all that follows, which tells every change of a single byte |
| 8 | the beginning of a hash of the run: its weights and its configuration |
| 4 | CRC-32 of the values, in their type and order |
| 4 | checksum of the distributions of the batch that the decoder meets first |
| 4, 4, 2, 2, 2 | numbers: of examples, of those in plain, of a batch at most, of those after which it has one more, of the
chain's steps (the last two 0 of a model without a chain) |
| 8 | of a chain alone: the share of the steps in each eighth of the way from data to noise (`times`) |
| 2 + n | the values' type, their layout, the run's folder, the version of torch, one a line |
| 4 m | the stack |

All numbers are unsigned, least byte first.
"""

import struct
import zlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lowerbound.codec.stack import Words
from lowerbound.codec.times import PARTS, chain_times
from lowerbound.data.arrays.examples import LAYOUTS
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief

MAGIC = b"LB3"
_HEAD = struct.Struct("<3sI")
_BODY = struct.Struct("<8sIIIIHHHH")
_NUM_NUMBERS = 8
"""Fields of `Compressed` that stand in the body as they are; behind them the length of the texts."""


@dataclass(frozen=True, repr=False)
class Compressed(Brief):
    """A compressed data set.

    Arguments:
        run_hash: the beginning of a hash of the run, 8 bytes.
        values_checksum: CRC-32 of the values.
        distributions_checksum: of the distributions of the batch that was pushed last.
        num_examples: how many there are.
        num_plain: how many of them, the first, are kept without the model, as the bits that the others borrow from.
        batch_size: of the others, which are coded so many at a time at most.
        growth: the examples after which a batch has one more than the first one, which has one; 0 if all have as many.
        num_steps: of the chain; 0 of a model without one.
        shares: of its steps, in each part of the way (`times.shares_of_steps`); empty of a model without a chain.
        dtype: the values' type, as numpy writes it.
        layout: the order of axes that they came in.
        run: the folder of the run.
        torch_version: of the library that computed the network.
        words: the stack.
    """

    run_hash: bytes
    values_checksum: int
    distributions_checksum: int
    num_examples: int
    num_plain: int
    batch_size: int
    growth: int
    num_steps: int
    shares: bytes
    dtype: str
    layout: str
    run: str
    torch_version: str
    words: Words

    def to_bytes(self) -> bytes:
        """The file."""
        texts = "\n".join((self.dtype, self.layout, self.run, self.torch_version)).encode("utf-8", "replace")
        numbers = [getattr(self, each.name) for each in fields(self)][:_NUM_NUMBERS]
        body = _BODY.pack(*numbers, len(texts))
        rest = body + self.shares + texts + self.words.astype("<u4").tobytes()
        return _HEAD.pack(MAGIC, zlib.crc32(rest)) + rest

    @property
    def times(self) -> tuple[float, ...]:
        """Of the chain's levels, one more than its steps; none of a model without a chain."""
        return chain_times(self.num_steps, self.shares) if self.num_steps else ()

    @property
    def num_bytes(self) -> int:
        """Of the file."""
        return len(self.to_bytes())

    @property
    def num_header_bytes(self) -> int:
        """Of what is in front of the stack."""
        return self.num_bytes - 4 * len(self.words)

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "Compressed":
        """The file, read.

        Arguments:
            content: of the file.
            name: of it, for messages.

        Raises:
            InputError: if it is no such file, of another version, cut off or changed.
        """
        if content[:2] != MAGIC[:2]:
            raise InputError(f"{name} is no compressed data set: give a file that `lowerbound compress` wrote")
        if content[2:3] not in (MAGIC[2:], b""):
            raise InputError(
                f"{name} is of version {content[2:3].decode('latin-1')!r} of the format, and this program reads version "
                f"{MAGIC[2:].decode()!r}: decompress it by the lowerbound that wrote it"
            )
        if len(content) < _HEAD.size + _BODY.size or _HEAD.unpack_from(content)[1] != zlib.crc32(content[_HEAD.size :]):
            raise InputError(f"{name} is damaged: it is not as it was written; take another copy")
        start = _HEAD.size + _BODY.size
        *numbers, size = _BODY.unpack(content[_HEAD.size : start])
        shares = content[start : start + PARTS] if numbers[-1] else b""
        start += len(shares)
        texts = content[start : start + size].decode("utf-8", "replace").split("\n")
        words = content[start + size :]
        if len(texts) == 4 and len(words) % 4 == 0:
            values: list[Any] = [*numbers, shares, *texts]
            compressed = cls(*values, words=np.frombuffer(words, "<u4").astype(np.uint32))
            if (
                compressed.num_plain <= compressed.num_examples
                and compressed.batch_size
                and compressed.layout in LAYOUTS
                and all(shares)
            ):
                return compressed
        raise InputError(f"{name} is damaged: its header makes no sense")


def integer_type(name: str) -> np.dtype[Any]:
    """The type of a name.

    Raises:
        InputError: if there is none, or it is not of integers.
    """
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise InputError(f"the values are of the type {name!r}, which is none") from error
    if dtype.kind not in "iub":
        raise InputError(f"the values are of the type {dtype}: only integers are compressed")
    return dtype
