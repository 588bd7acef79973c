r"""What is known of examples before training: taken in one pass over parts, so that they may be larger than memory.

The mean and variance of two groups together follow from those of each (Chan, Golub & LeVeque 1979), with d the difference of
their means and s the share of the second: $m = m_1 + s d$ and $v = (1 - s) v_1 + s v_2 + s (1 - s) d^2$.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from lowerbound.errors import InputError

PART = 1 << 20
"""Values in a part: eight megabytes in double precision."""


def parts(examples: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Examples one after another in views of at most `PART` values, or of one example, and where each stands."""
    num_examples = max(1, PART // max(1, math.prod(examples.shape[1:])))
    for first in range(0, len(examples), num_examples):
        part = slice(first, min(first + num_examples, len(examples)))
        yield part, examples[part]


def ranges(examples: np.ndarray, splits: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """The smallest and the largest of the integers of each split.

    Arguments:
        examples: integers or booleans, (N, *shape), none of whose axes is empty.
        splits: indices by name, disjoint, none empty.
    """
    split_of = np.full(len(examples), -1, np.int8)
    for number, indices in enumerate(splits.values()):
        split_of[indices] = number
    found: dict[str, tuple[int, int]] = {}
    for part, values in parts(examples):
        for number, split in enumerate(splits):
            chosen = values[split_of[part] == number]
            if len(chosen):
                low, high = int(chosen.min()), int(chosen.max())
                before = found.get(split, (low, high))
                found[split] = min(low, before[0]), max(high, before[1])
    return found


def moments(examples: np.ndarray, chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the variance of each channel, (C,) in double precision; infinite or NaN where squares overflow.

    Arguments:
        examples: floats, (N, C, *).
        chosen: (N,) booleans, which of them count, at least one; all if None.

    Raises:
        InputError: if any value is not finite, be its example chosen or not.
    """
    axes = (0, *range(2, examples.ndim))
    num_seen, mean, variance = 0, np.zeros(examples.shape[1]), np.zeros(examples.shape[1])
    bad: list[np.ndarray] = []
    for part, values in parts(examples):
        bad.append(part.start + not_finite(values))
        with np.errstate(over="ignore"):
            counted = np.ascontiguousarray(values if chosen is None else values[chosen[part]], np.float64)
        if not len(counted):
            continue
        num = num_seen + len(counted)
        with np.errstate(over="ignore", invalid="ignore"):
            share = len(counted) / num
            shift = counted.mean(axes) - mean
            spread = counted.var(axes)
            variance = (1 - share) * variance + share * spread + share * (1 - share) * shift**2
            mean = mean + share * shift
        num_seen = num
    _refuse(np.concatenate(bad), len(examples))
    return mean, variance


def check_finite(examples: np.ndarray) -> None:
    """Refuse NaN and infinity, naming the examples, with an InputError."""
    bad = [part.start + not_finite(values) for part, values in parts(examples)]
    _refuse(np.concatenate(bad) if bad else np.empty(0, np.int64), len(examples))


def not_finite(examples: np.ndarray) -> np.ndarray:
    """The positions of examples that hold NaN or infinity."""
    return np.flatnonzero(~np.isfinite(examples).reshape(len(examples), -1).all(1))


def _refuse(bad: np.ndarray, num_examples: int) -> None:
    if len(bad):
        first = ", ".join(map(str, bad[:5]))
        raise InputError(
            f"{len(bad)} of {num_examples} examples hold NaN or infinity (example {first}{' ...' * (len(bad) > 5)}): "
            "remove or repair them"
        )
