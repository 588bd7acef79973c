"""Files and folders that appear whole or not at all, and are on the disk when the call returns.

What is being written lies beside its place, under a name that no other writer has: of the process, and drawn at random. An
error or an interruption removes it. What a killed process left there is removed by the next that writes to the same place
on the same machine.
"""

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lowerbound.errors import InputError

UNFINISHED = ".unfinished-"
"""The beginning of a name under which something is being written."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LONGEST = 100
"""Characters of a name that are repeated in that of what is being written."""


class DiskFullError(InputError, OSError):
    """There is no room for a file."""


def check_folder(path: Path) -> None:
    """Refuse a name in a folder that is not there, by an InputError."""
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist: make it first")


def file_hash(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, most: int) -> str:
    """A file's text.

    Raises:
        InputError: if it has more than `most` bytes, or is no text.
    """
    if (size := path.stat().st_size) > most:
        raise InputError(f"{path} has {size:,} bytes; at most {most:,} are read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged: {error}") from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        DiskFullError: if there is no room for it; what was there before stays.
    """
    with replacing(path) as unfinished:
        write_synchronised(unfinished, content, path)


def check_new(path: Path) -> None:
    """Refuse a place that holds something already, with an InputError."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise _taken(path)


@contextmanager
def new_folder(path: Path) -> Generator[Path]:
    """A folder to fill, which lies at `path` at the end, if nothing was raised; folders around it are made as needed.

    Raises:
        InputError: if something is there already.
        DiskFullError: if there is no room.
    """
    check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.mkdir()
        yield unfinished


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A place to write a file or a folder in, which takes the place of `path` at the end, if nothing was raised.

    A folder takes the place of nothing or of an empty folder, however many are being written there at a time.

    Arguments:
        path: what is to be there at the end.

    Raises:
        InputError: if something is there by then that a folder can't replace.
        DiskFullError: if there is no room.
    """
    _remove_abandoned(path)
    unfinished = path.with_name(f"{_beginning(path)}{_machine()}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield unfinished
        _synchronise_all(unfinished)
        unfinished.replace(path)
    except BaseException as error:
        _remove(unfinished)
        if isinstance(error, OSError):
            raise _explained(error, unfinished, path) from error
        raise
    synchronise(path.parent)


def write_synchronised(path: Path, content: bytes, final: Path | None = None) -> None:
    """Write a file in place and wait until it is on the disk.

    Arguments:
        path: of the file.
        content: of it.
        final: the path that it gets in the end, for the message; `path` if None.

    Raises:
        DiskFullError: if there is no room for it.
    """
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if is_full(error):
            path.unlink(missing_ok=True)
            raise _no_room(final or path, f"{len(content):,} bytes are needed, {_free(path):,} are free") from error
        raise


@contextmanager
def in_place(path: Path) -> Generator[None]:
    """Of a file that is open and written in place, whose errors don't say which it is.

    Raises:
        DiskFullError: if there is no room for more of it.
    """
    try:
        yield
    except OSError as error:
        if is_full(error) and error.filename is None:
            raise _did_not_suffice(path) from error
        raise


def synchronise(path: Path) -> None:
    """Wait until a file's content or a folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full(error: OSError) -> bool:
    """Whether there was no room on the disk, or no more was allowed."""
    return error.errno in _FULL


def _explained(error: OSError, unfinished: Path, path: Path) -> OSError:
    """The error in terms of the file that was asked for."""
    if isinstance(error, DiskFullError):
        return error
    if is_full(error):
        return _did_not_suffice(path)
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
        return _taken(path)
    if error.errno is not None and str(error.filename).startswith(str(unfinished)):
        return OSError(error.errno, error.strerror, str(path))
    return error


class TakenError(InputError, OSError):
    """Somebody else has written there first."""


def _taken(path: Path) -> TakenError:
    return TakenError(f"{path} is there already and not an empty folder: choose another name")


def _no_room(path: Path, numbers: str) -> DiskFullError:
    return DiskFullError(
        f"No space left on the disk for {path}: {numbers}. Make room and repeat the command; what was finished before is "
        "still there"
    )


def _did_not_suffice(path: Path) -> DiskFullError:
    return _no_room(path, f"{_free(path):,} bytes are free, which did not suffice")


def _free(path: Path) -> int:
    return shutil.disk_usage(path.parent).free


def _beginning(path: Path) -> str:
    return f"{UNFINISHED}{path.name[:_LONGEST]}."


def _machine() -> str:
    """This machine's name, as far as names of files may hold it: the numbers of processes are its own."""
    return re.sub(r"[^A-Za-z0-9.]", "_", platform.node())[:40]


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that are gone were writing in the place of a path."""
    beginning, writer = _beginning(path), re.compile(rf"{re.escape(_machine())}-(\d+)-[0-9a-f]{{8}}")
    if not path.parent.is_dir():
        return
    for entry in os.scandir(path.parent):
        if entry.name.startswith(beginning) and (match := writer.fullmatch(entry.name.removeprefix(beginning))):
            try:
                os.kill(int(match[1]), 0)
            except (ProcessLookupError, OverflowError):
                _remove(Path(entry.path))
            except PermissionError:  # of another user, and alive
                pass


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _synchronise_all(path: Path) -> None:
    """Wait until a file, or a folder with all in it, is on the disk."""
    for entry in (*path.rglob("*"), path):
        synchronise(entry)


def names_in(folder: Path) -> list[str]:
    """What lies in a folder; nothing if it can't be looked into."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
