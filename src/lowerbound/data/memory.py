"""The bound on how much memory a data set may take."""

import os

from lowerbound.errors import InputError

_DEFAULT_GIB = 8.0


def memory_limit() -> int:
    """Bytes that a data set may take: LOWERBOUND_MEMORY, in GiB, or 8 GiB.

    Raises:
        InputError: if LOWERBOUND_MEMORY is no number.
    """
    configured = os.environ.get("LOWERBOUND_MEMORY")
    try:
        return int((float(configured) if configured else _DEFAULT_GIB) * 2**30)
    except (ValueError, OverflowError):
        raise InputError(f"LOWERBOUND_MEMORY is {configured!r}: it is a number of GiB, such as 32") from None


def check_memory(name: str, num_bytes: int, remedy: str = "give fewer or smaller examples") -> None:
    """Refuse data that would take more memory than `memory_limit`, before reading them.

    Raises:
        InputError: if they would.
    """
    limit = memory_limit()
    if num_bytes > limit:
        raise InputError(
            f"{name} would take {_in_words(num_bytes)} of memory, more than the limit of {_in_words(limit)}: {remedy}, or "
            "set the environment variable LOWERBOUND_MEMORY to a higher number of GiB"
        )


def _in_words(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.3g} GiB"
