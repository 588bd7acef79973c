"""Values among settings that a file states, which may be anything."""

import math
from typing import Any

from lowerbound.errors import InputError

MOST_PIXELS = 8192
"""Of a side of an image."""


def is_size(value: Any, most: int = MOST_PIXELS) -> bool:
    """Whether a value is a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


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
