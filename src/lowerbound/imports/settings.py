"""Values among settings that a file states, which may be anything."""

import math
from collections.abc import Sequence
from typing import Any

from lowerbound.errors import InputError

MOST_PIXELS = 8192
"""Of a side of an image."""
MOST_STEPS = 1_000_000


def is_size(value: Any, most: int = MOST_PIXELS) -> bool:
    """Whether a value is a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def check_sizes(sizes: Sequence[Any], multipliers: Sequence[Any]) -> None:
    """Refuse sizes of a network, or multipliers of its width at each resolution, that are none, by an InputError."""
    if not all(map(is_size, (*sizes, *multipliers))) or not 1 <= len(multipliers) <= 12:
        raise InputError("sizes and multipliers are whole numbers from 1 to 8192, of at most 12 resolutions")


def check_steps(value: Any, name: str) -> None:
    """Refuse what is no number of steps of a chain, by an InputError."""
    if not is_size(value, MOST_STEPS) or value < 2:
        raise InputError(f"{name} is {value!r}: a whole number from 2 to {MOST_STEPS:,}")


def number(value: Any, name: str) -> float:
    """A positive number.

    Raises:
        InputError: if it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name} is {value!r}: it is a positive number")
    return float(value)


def chosen(choices: dict[str, Any], value: Any, setting: str, name: str) -> Any:
    """What a word stands for among choices.

    Raises:
        InputError: if it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{setting} of the {name} is {value!r:.40}: supported are {', '.join(choices)}")
    return choices[value]
