"""The bound on how much memory a data set may take."""

import os

from lowerbound.errors import InputError

_DEFAULT_GIB = 8.0


def check_memory(name: str, num_bytes: int, remedy: str = "give fewer or smaller examples") -> None:
    """Refuse data that would take more memory than LOWERBOUND_MEMORY, in GiB, allows (8 by default), before reading them.

    Raises:
        InputError: if they would.
    """
    configured = os.environ.get("LOWERBOUND_MEMORY")
    try:
        limit = float(configured) if configured else _DEFAULT_GIB
    except ValueError:
        raise InputError(f"LOWERBOUND_MEMORY is {configured!r}: it is a number of GiB, such as 32") from None
    if num_bytes > limit * 2**30:
        raise InputError(
            f"{name} would take {num_bytes / 2**30:.1f} GiB of memory, more than the limit of {limit:g} GiB: {remedy}, or "
            "set the environment variable LOWERBOUND_MEMORY to a higher number of GiB"
        )
