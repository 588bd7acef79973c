r"""What is known of examples before training: taken in one pass over parts, so that they may be larger than memory.

The mean and variance of two groups together follow from those of each (Chan, Golub & LeVeque 1979), with d the difference of
their means and s the share of the second: $m = m_1 + s d$ and $v = (1 - s) v_1 + s v_2 + s (1 - s) d^2$.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Num

from lowerbound.data.memory import file_of, release
from lowerbound.data.series.windows import Stored
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief

PART = 1 << 20
"""Values in a part: eight megabytes in double precision."""


def parts(examples: Stored) -> Iterator[tuple[slice, np.ndarray]]:
    """Examples one after another in views of at most `PART` values, or of one example, and where each stands; of none, an
    empty part."""
    num_examples = max(1, PART // max(1, math.prod(examples.shape[1:])))
    for first in range(0, max(1, len(examples)), num_examples):
        part = slice(first, min(first + num_examples, len(examples)))
        values = examples[part]
        yield part, values
        release(values)


def numbers_of_content(raw: Num[np.ndarray, "num_examples *shape"]) -> Int[np.ndarray, " num_examples"]:
    """A number for each example that the example alone determines, by which it has its noise, from 0 to 2^32 - 1."""
    return np.array([zlib.crc32(example.tobytes()) for example in np.ascontiguousarray(raw)], dtype=np.int64)


def gathered(examples: Stored, indices: np.ndarray) -> np.ndarray:
    """A copy of chosen examples, (n, *shape), that keeps no pages of a file in memory.

    To look up an example maps what lies around it as well, as far as the system has that at hand: 64 KiB to 2 MiB, which
    of a batch of small examples would be a hundred times the batch. So they are looked up one by one.

    Arguments:
        examples: (N, *shape).
        indices: of those that are chosen, (n,).
    """
    if file_of(examples) is None:
        return np.ascontiguousarray(examples[indices])
    chosen = np.empty((len(indices), *examples.shape[1:]), examples.dtype)
    for row, index in enumerate(indices):
        chosen[row] = example = examples[index]
        release(example)
    return chosen


def ranges(examples: np.ndarray, splits: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """The smallest and the largest of the integers of each split.

    Arguments:
        examples: integers or booleans, (N, *shape), none of whose axes is empty.
        splits: indices by name, disjoint, none empty.
    """
    split_of = np.full(len(examples), -1, np.int8)
    for number, indices in enumerate(splits.values()):
        split_of[indices] = number
    extremes: dict[str, list[int]] = {split: [] for split in splits}
    for part, values in parts(examples):
        for number, split in enumerate(splits):
            chosen = values[split_of[part] == number]
            if len(chosen):
                extremes[split] += int(chosen.min()), int(chosen.max())
    return {split: (min(values), max(values)) for split, values in extremes.items()}


@dataclass(frozen=True, eq=False, repr=False)
class Moments(Brief):
    """What is known of each channel of floats, some of whose entries may be missing.

    Arguments:
        mean, variance: of the entries that are there, (C,) in double precision; infinite or NaN where squares overflow.
        num_entries: how many these are, (C,).
        has_missing: whether an entry of any example is missing, be its example chosen or not.
    """

    mean: np.ndarray
    variance: np.ndarray
    num_entries: np.ndarray
    has_missing: bool


def moments(examples: np.ndarray, chosen: np.ndarray | None = None) -> Moments:
    """The mean and the variance of each channel.

    Arguments:
        examples: floats, (N, C, *); NaN where an entry is missing.
        chosen: (N,) booleans, which of them count, at least one; all if None.

    Raises:
        InputError: if any value is infinite, be its example chosen or not.
    """
    axes = (0, *range(2, examples.ndim))
    num_seen, mean, variance = (np.zeros(examples.shape[1]) for _ in range(3))
    bad, has_missing = [], False
    for part, values in parts(examples):
        bad.append(part.start + not_finite(values, may_miss=True))
        has_missing = has_missing or bool(np.isnan(values).any())
        with np.errstate(over="ignore"):
            counted = np.ascontiguousarray(values if chosen is None else values[chosen[part]], np.float64)
        observed = ~np.isnan(counted)
        num = observed.sum(axes)
        total = num_seen + num
        with np.errstate(over="ignore", invalid="ignore"):
            share = num / np.maximum(total, 1)
            part_mean = np.where(observed, counted, 0).sum(axes) / np.maximum(num, 1)
            deviation = np.where(observed, counted - part_mean.reshape(-1, *[1] * (counted.ndim - 2)), 0)
            spread = np.square(deviation, out=deviation).sum(axes) / np.maximum(num, 1)
            shift = part_mean - mean
            variance = (1 - share) * variance + share * spread + share * (1 - share) * shift**2
            mean = mean + share * shift
        num_seen = total
    _refuse(np.concatenate(bad), len(examples), "infinity")
    return Moments(mean, variance, num_seen, has_missing)


def num_observed(examples: Stored) -> np.ndarray:
    """How many entries of each example of floats are there, (N,): those that are not NaN."""
    return np.concatenate([(~np.isnan(values)).sum(_inner(values)) for _, values in parts(examples)])


def check_finite(examples: Stored, may_miss: bool = False) -> None:
    """Refuse infinity, and NaN unless entries may be missing, naming the examples, with an InputError."""
    bad = [part.start + not_finite(values, may_miss) for part, values in parts(examples)]
    _refuse(np.concatenate(bad), len(examples), "infinity" if may_miss else "NaN or infinity")


def not_finite(examples: np.ndarray, may_miss: bool = False) -> np.ndarray:
    """The positions of examples that hold infinity, or NaN where no entry may be missing."""
    bad = np.isinf(examples) if may_miss else ~np.isfinite(examples)
    return np.flatnonzero(bad.any(_inner(examples)))


def _inner(examples: np.ndarray) -> tuple[int, ...]:
    """The axes of an example."""
    return tuple(range(1, examples.ndim))


def check_not_empty(num_observed: np.ndarray) -> None:
    """Refuse examples of which no entry is there, naming them, with an InputError."""
    empty = np.flatnonzero(num_observed == 0)
    if len(empty):
        raise InputError(
            f"{len(empty)} of {len(num_observed)} examples hold nothing but NaN ({_first(empty)}): leave them out"
        )


def _refuse(bad: np.ndarray, num_examples: int, what: str) -> None:
    if len(bad):
        raise InputError(f"{len(bad)} of {num_examples} examples hold {what} ({_first(bad)}): remove or repair them")


def _first(examples: np.ndarray) -> str:
    return f"example {', '.join(map(str, examples[:5]))}{' ...' * (len(examples) > 5)}"
