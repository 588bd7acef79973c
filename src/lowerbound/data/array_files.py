"""Reading .npy and .npz files: no pickle, nothing allocated before its size is known, every fault named."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from lowerbound.data.memory import check_memory
from lowerbound.errors import InputError

_FAULTS = (OSError, EOFError, ValueError, TypeError, OverflowError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        InputError: if the file is damaged, holds pickled objects, or is too large for memory.
    """
    try:
        with path.open("rb") as stream:
            return _read(str(path), stream, path.stat().st_size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by their keys.

    Raises:
        InputError: if the file or one of its arrays is damaged, holds pickled objects, or is too large for memory.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _FAULTS as error:
        raise InputError(f"{path} is not an .npz file, or is cut short: {error}") from error
    with archive:
        members = archive.infolist()
        check_memory(str(path), sum(member.file_size for member in members))
        arrays = {}
        for member in members:
            key = member.filename.removesuffix(".npy")
            try:
                with archive.open(member) as stream:
                    arrays[key] = _read(f"{path}, key {key}", stream, member.file_size)
            except InputError:
                raise
            except _FAULTS as error:
                raise InputError(f"{path}, key {key}, cannot be read: {error}") from error
    if not arrays:
        raise InputError(f"{path} holds no arrays")
    return arrays


def _read(name: str, stream: IO[bytes], size: int) -> np.ndarray:
    """One array from a stream of a known number of bytes."""
    try:
        shape, dtype = _header(stream)
    except _FAULTS as error:
        raise InputError(f"{name} is not an array as numpy.save writes it: {error}") from error
    if dtype.hasobject:
        raise InputError(f"{name} holds pickled Python objects, which are never read: save numbers of one type instead")
    num_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or num_bytes > size:
        raise InputError(f"{name} is cut short: shape {shape} of {dtype} takes {num_bytes} bytes, the file has {size}")
    check_memory(name, num_bytes)
    try:
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except _FAULTS as error:
        raise InputError(f"{name} is damaged or cut short: {error}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version in ((2, 0), (3, 0)):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"unknown version {version} of the format")
    return shape, dtype
