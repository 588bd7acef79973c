"""Files that appear whole or not at all, and are on the disk when the call returns."""

import os
from pathlib import Path

UNFINISHED = ".unfinished-"
"""The beginning of a name under which something is being written."""


def write_file(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there."""
    temporary = path.with_name(f"{UNFINISHED}{path.name}")
    write_synchronised(temporary, content)
    temporary.replace(path)
    synchronise(path.parent)


def write_synchronised(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def synchronise(folder: Path) -> None:
    """Wait until a folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
