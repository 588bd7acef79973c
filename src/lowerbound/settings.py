"""Settings, checked where they come in, and which of them `--help` shows, the others being shown by `--help-all` alone."""

import numbers
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from lowerbound.errors import InputError

T = TypeVar("T")
EVERYDAY = "everyday"

Everyday = Annotated[T, EVERYDAY]
"""An option that most people need: `steps: Everyday[int] = 100`."""


def check_count(value: Any, name: str) -> None:
    """Refuse what is no whole number from 1, by an InputError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise InputError(f"{name} is {value!r}: it is a whole number and starts at 1")


def check_seed(value: Any, name: str = "seed") -> None:
    """Refuse what is no whole number from 0 below 2^32, by an InputError: samples of other seeds would not be their own."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= int(value) < 1 << 32:
        raise InputError(f"{name} is {value!r}: it is at least 0 and below 2^32, a whole number")


def check_least(least: int, **values: float) -> None:
    """Refuse numbers that are smaller than they can be, by an InputError that calls them by their names."""
    for name, value in values.items():
        if not value >= least:
            raise InputError(f"{name} is {value}: give {least} or more")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a name that is none of those there are, by an InputError."""
    if value not in choices:
        raise InputError(f"{name} is {value!r:.40}: choose one of {', '.join(choices)}")


def check_counts(settings: Any, *names: str) -> None:
    """Refuse those of an object's numbers that are no whole numbers from 1, by an InputError; one that is None was not
    given."""
    values = {name: value for name in names if (value := getattr(settings, name)) is not None}
    check_least(1, **values)
    for name, value in values.items():
        check_count(value, name)
