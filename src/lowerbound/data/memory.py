"""The bound on how much memory a data set may take, and a place for those that would take more."""

import mmap
import os
import shutil
import tempfile

import numpy as np
from numpy.lib.array_utils import byte_bounds

from lowerbound.data.directory import cache_directory
from lowerbound.errors import InputError

_DEFAULT_GIB = 8.0
_PIECE = 1 << 21


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


def fits(name: str, num_bytes: int, besides: int = 0) -> bool:
    """Whether values fit into memory, where `allocate` puts them then, rather than on the disk.

    Arguments:
        name: of the data, for messages.
        num_bytes: of the values.
        besides: bytes that are in use at the same time.

    Raises:
        InputError: if there is no room for them on the disk either.
    """
    if num_bytes + besides <= memory_limit():
        return True
    check_room(name, num_bytes)
    return False


def allocate(name: str, shape: tuple[int, ...], dtype: np.dtype, besides: int = 0) -> np.ndarray:
    """An array for the values of a data set: in memory if they fit there, else in a file in the cache folder.

    The file is mapped into memory, has no name, and is gone when the array is or the process ends, however it ends. So
    what is slow to decode is decoded once, and then read at the speed of the disk in any order.

    Arguments:
        name: of the data, for messages.
        shape, dtype: of the array.
        besides: bytes that are in use at the same time.

    Raises:
        InputError: if there is no room for it on the disk either.
    """
    num_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if fits(name, num_bytes, besides):
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=cache_directory(make=True)) as file:
        os.posix_fallocate(file.fileno(), 0, num_bytes)  # a full disk is met here, not at some later value
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def file_of(array: object) -> mmap.mmap | None:
    """The file that an array lies in; None if it is in memory."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def release(values: object) -> None:
    """Of values that lie in a file, an array or a view of one, take no memory until they are looked at again; of others
    nothing happens.

    What lies within 2 MiB around them is given back as well: so much is mapped with a single value, where the system has
    the file at hand in large pieces.
    """
    file = file_of(values)
    if not isinstance(values, np.ndarray) or file is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    begin = np.frombuffer(file, np.uint8).ctypes.data
    low, high = byte_bounds(values)
    first = max(low // _PIECE * _PIECE - begin, 0)
    last = min(-(-high // _PIECE) * _PIECE - begin, len(file))
    if first < last:
        file.madvise(mmap.MADV_DONTNEED, first, last - first)


def check_room(name: str, num_bytes: int) -> None:
    """Refuse data for which there is no room in the cache folder, before they are read.

    Raises:
        InputError: if there is none.
    """
    folder = cache_directory(make=True)
    if num_bytes > (free := shutil.disk_usage(folder).free):
        raise InputError(
            f"{name} takes {_in_words(num_bytes)}: too much for the memory (LOWERBOUND_MEMORY, a number of GiB, allows "
            f"{_in_words(memory_limit())}) and for the disk of {folder}, which has {_in_words(free)} left. Make room, or "
            "let XDG_CACHE_HOME name a folder on another disk"
        )


def _in_words(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.3g} GiB"
