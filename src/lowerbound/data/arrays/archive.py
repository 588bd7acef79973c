"""Files of arrays: .npy, which stay on the disk and are read as they are used, and .npz, which are read once."""

import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.arrays.foreign import how_to_convert
from lowerbound.data.damage import undamaged
from lowerbound.data.memory import check_memory
from lowerbound.errors import InputError
from lowerbound.words.printable import printable

_PIECE = 1 << 24  # bytes read at a time


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped into memory: its values are read from the disk when they are looked at.

    Raises:
        InputError: if the file is damaged, or holds anything else than plain values.
    """
    _check_start(path, b"\x93NUMPY", ".npy")
    with undamaged(str(path)):
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


@dataclass(frozen=True)
class Member:
    """An array in an opened .npz file, of which only the header is read.

    Arguments:
        where: the file and the key, for messages.
        archive: the file.
        entry: its place there.
        shape, dtype: of the array.
        in_order: whether its last axis varies fastest.
    """

    where: str
    archive: zipfile.ZipFile
    entry: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype
    in_order: bool

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, into: np.ndarray | None = None) -> np.ndarray:
        """The array.

        Arguments:
            into: where to put it, an array of its shape, its last axis varying fastest; a new one of its type if None.

        Raises:
            InputError: if it is damaged.
        """
        with undamaged(self.where), self.archive.open(self.entry) as file:
            if not self.in_order or (into is not None and into.dtype != self.dtype):
                array = np.lib.format.read_array(file, allow_pickle=False)
                if into is None:
                    return array
                into[...] = array
                return into
            _read_header(file)
            if into is None:
                into = np.empty(self.shape, self.dtype)
            missing = into.reshape(-1).view(np.uint8)
            while len(missing):
                piece = file.read(min(len(missing), _PIECE))
                if not piece:
                    raise EOFError(f"{len(missing):,} bytes are missing")
                missing[: len(piece)] = np.frombuffer(piece, np.uint8)
                missing = missing[len(piece) :]
            return into


@contextmanager
def open_npz(path: Path) -> Generator[dict[str, Member]]:
    """The arrays of an .npz file by their names, none of them read yet.

    Raises:
        InputError: if the file is damaged, would not fit into memory, or holds anything else than arrays of plain values.
    """
    _check_start(path, b"PK", ".npz")
    with undamaged(str(path)):
        archive = zipfile.ZipFile(path)
    with archive:
        check_memory(str(path), sum(entry.file_size for entry in archive.infolist()))
        yield {_key(entry): _member(path, archive, entry) for entry in archive.infolist()}


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by their names.

    Raises:
        InputError: as `open_npz`.
    """
    with open_npz(Path(path)) as members:
        return {key: member.read() for key, member in members.items()}


def _key(entry: zipfile.ZipInfo) -> str:
    """What an array is called, fit to be printed."""
    return printable(entry.filename.removesuffix(".npy"))


def _member(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    where = f"{path}: {_key(entry)}"
    if not entry.filename.endswith(".npy"):
        raise InputError(f"{where} is not an array; write the file with numpy.savez")
    with undamaged(where), archive.open(entry) as file:
        shape, fortran_order, dtype = _read_header(file)
        if dtype.hasobject:
            raise ValueError("Object arrays")
        if file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize != entry.file_size:
            raise ValueError(f"an array of shape {shape} and type {dtype} does not take {entry.file_size:,} bytes")
    return Member(where, archive, entry, shape, dtype, not fortran_order or len(shape) < 2)


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version in ((2, 0), (3, 0)):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the format is not known")


def _check_start(path: Path, magic: bytes, suffix: str) -> None:
    """Refuse what is not the kind of file that it should be, before anything is parsed."""
    if path.suffix != suffix:
        raise InputError(f"{path}: files of type {path.suffix or 'no suffix'} are not read; {how_to_convert(path)}")
    try:
        with path.open("rb") as file:
            start = file.read(len(magic))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if start != magic:
        raise InputError(f"{path} is " + (f"not an {suffix} file: it starts with {start!r}" if start else "empty"))
