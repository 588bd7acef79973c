"""Files and folders that appear whole or not at all, and are on the disk when the call returns.

What is written is made in a workspace beside its place, a folder of the writing process alone, and moved from there. The
writer holds a lock on its workspace, which ends with the process: a workspace whose lock is free was left by one that was
killed, and the next writer removes it. What is replaced waits in the workspace until the new is in its place, and goes back
if that never happened.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from lowerbound.errors import InputError

UNFINISHED = ".unfinished-"
"""The beginning of a workspace's name."""
_REPLACED = "replaced-"


def write_file(path: Path, content: bytes) -> None:
    """Write a file, in the place of one that may be there.

    Raises:
        OSError: if it can't be written, with its name and size; what was there is as it was.
    """
    with workspace(path) as made:
        write_synchronised(made, content)
        made.replace(path)


@contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """While entered, a file is written under the path that is given; at the end it is moved to its place."""
    with workspace(path) as made:
        yield made
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)


@contextmanager
def written_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """While entered, a folder is filled under the path that is given; at the end it is moved to its place.

    Arguments:
        path: its place.
        replace: whether it takes the place of a folder that is there; otherwise that has to be empty.

    Raises:
        InputError: if there is something in its place and it doesn't replace it.
        OSError: if it can't be written; what was there is as it was.
    """
    with workspace(path) as made:
        made.mkdir()
        yield made
        synchronise(made)
        if replace and path.exists():
            path.rename(made.with_name(f"{_REPLACED}{path.name}"))
        try:
            made.rename(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise InputError(f"{path} was made by another process meanwhile: choose another name") from error
            raise


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """A path of the same name in a folder of this process alone, beside the place that it is meant for.

    Raises:
        OSError: what happens while entered, with the name of the file and what there is of it.
    """
    clean(path.parent)
    try:
        folder, lock = _reserve(path.parent)
    except OSError as error:
        raise _explained(error, path, 0) from error
    made = folder / path.name
    try:
        yield made
        synchronise(path.parent)
    except OSError as error:
        raise _explained(error, path, _size(made)) from error
    finally:
        _dissolve(folder)
        os.close(lock)


def clean(parent: Path) -> None:
    """Remove the workspaces in a folder whose process is gone, after what they were about to replace is back."""
    if not parent.is_dir():
        return
    for folder in parent.glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                lock_file(lock)
                _dissolve(folder)
            finally:
                os.close(lock)


def lock_file(descriptor: int, *, wait: bool = False) -> None:
    """Lock an open file or folder against all other processes, until it is closed or the process ends.

    Raises:
        OSError: if another process holds it and there is no waiting, or the file system knows no locks.
    """
    import fcntl  # not on every system, and reading needs none

    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def write_synchronised(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk.

    Raises:
        OSError: if it can't be written, with its name and size.
    """
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _explained(error, path, len(content)) from error


def synchronise(folder: Path) -> None:
    """Wait until a folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, most: int) -> bytes:
    """The content of a regular file.

    Arguments:
        path: of the file, or of a link to it.
        most: how many bytes it may have.

    Raises:
        FileNotFoundError: if there is none.
        InputError: for a device, a pipe or a folder, which might never end, and for a file that is larger.
    """
    # opening a pipe would wait for somebody who writes
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path} is no file but a folder, a pipe or a device")
        if found.st_size > most:
            raise InputError(f"{path} has {found.st_size:,} bytes; at most {most:,} are read")
        return file.read(found.st_size)


def byte_text(count: int) -> str:
    """A number of bytes in words, "12.3 MB"."""
    size, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.{0 if unit == 'bytes' else 1}f} {unit}"


def _reserve(parent: Path) -> tuple[Path, int]:
    """A new folder and the lock that says that its process lives."""
    while True:
        folder = parent / f"{UNFINISHED}{uuid4().hex[:12]}"
        folder.mkdir()
        lock = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks: then nothing there is ever taken for left over
            lock_file(lock, wait=True)
        if folder.exists():
            return folder, lock
        os.close(lock)  # another process took it for left over before it was locked


def _dissolve(folder: Path) -> None:
    """Remove a workspace, after what it was about to replace is back."""
    if not folder.is_dir():
        folder.unlink()
        return
    for replaced in folder.glob(f"{_REPLACED}*"):
        home = folder.with_name(replaced.name.removeprefix(_REPLACED))
        if not home.exists():
            replaced.rename(home)
    shutil.rmtree(folder, ignore_errors=True)


def _explained(error: OSError, path: Path, size: int) -> OSError:
    """The error with the file's name and size, once."""
    if isinstance(error, _WriteError):
        return error
    needed = f", {byte_text(size)}," if size else ""
    advice = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            advice = f": {byte_text(shutil.disk_usage(path.parent).free)} are free there"
        advice += "; make room and repeat the command"
    explained = _WriteError(f"{path}{needed} can't be written ({error.strerror or error}){advice}")
    explained.errno = error.errno
    return explained


class _WriteError(OSError):
    """An error that names its file already."""


def _size(path: Path) -> int:
    with suppress(OSError):
        if path.is_dir():
            return sum(each.lstat().st_size for each in path.rglob("*"))
        return path.stat().st_size
    return 0
