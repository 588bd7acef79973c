"""Named files of a folder or an archive, or one alone, which can be opened: what reads them does not know which it is."""

import io
import os
import stat
import tarfile
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from lowerbound.data.directory import cache_directory
from lowerbound.data.memory import check_memory, check_room
from lowerbound.errors import InputError
from lowerbound.words.printable import printable

ZIP = (".zip",)
TAR = (".tar",)
COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
ARCHIVES = (*ZIP, *TAR, *COMPRESSED_TAR)
"""How the names of archives end."""
IMAGES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
"""Suffixes of images."""
OpenFile = io.BytesIO | io.BufferedReader
SPLIT_NAMES = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}
"""Folders that are splits."""
_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx"}


class Listing(ABC):
    """Files below a root, without hidden ones and those of operating systems.

    Arguments:
        root: the folder, the archive or the file, for messages.
        faults: by each file's name, its parts divided by "/", why it cannot be read, "" if it can, in the order of the
            names' parts. The name of a folder that holds nothing ends in "/".
    """

    def __init__(self, root: Path, faults: dict[str, str]):
        self.root = root
        self.faults = dict(sorted(faults.items(), key=lambda item: item[0].split("/")))

    @abstractmethod
    def open(self, name: str) -> OpenFile:
        """A file without a fault, from its beginning; several threads may do so at a time.

        Raises:
            Exception: of many types, if it is damaged.
        """

    def close(self) -> None:  # noqa: B027 - a folder is never open
        """Let go of what is open."""

    def __enter__(self) -> "Listing":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_listing(path: Path) -> Listing:
    """The files of a folder, of an archive or an image by the end of its name.

    Raises:
        InputError: if it cannot be read.
    """
    name = path.name.lower()
    if path.is_dir():
        return Folder(path)
    if path.suffix.lower() in IMAGES:
        return OneFile(path)
    if name.endswith(ZIP):
        return ZipArchive(path)
    return TarArchive(path, is_compressed=name.endswith(COMPRESSED_TAR))


class Folder(Listing):
    """The files of a folder.

    Arguments:
        root: its path.

    Raises:
        InputError: if it cannot be read, or a split leads out of it.
    """

    def __init__(self, root: Path):
        resolved_root = root.resolve()
        super().__init__(root, {name: _fault(root / name, resolved_root) for name in _walk(root, resolved_root)})

    def open(self, name: str) -> OpenFile:
        return (self.root / name).open("rb")


class OneFile(Listing):
    """A file and nothing else.

    Arguments:
        root: its path.
    """

    def __init__(self, root: Path):
        super().__init__(root, {root.name: _fault(root, root.resolve().parent)})

    def open(self, name: str) -> OpenFile:
        return self.root.open("rb")


class ZipArchive(Listing):
    """The files of a .zip archive.

    Arguments:
        root: its path.

    Raises:
        InputError: if it is damaged.
    """

    def __init__(self, root: Path):
        try:
            self._archive = zipfile.ZipFile(root)
        except Exception as error:  # damage raises errors of many types
            raise _damaged(root, error) from error
        members, entries = _Members(), {}
        for entry in self._archive.infolist():
            name = entry.filename.replace("\\", "/")  # as some programs write it
            kind = stat.S_IFMT(entry.external_attr >> 16)
            fault = _size_fault(entry.file_size)
            if entry.flag_bits & 1:
                fault = "encrypted: store it without a password"
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                fault = "not a regular file"
            if members.add(name, fault, name.endswith("/")):
                entries[_plain_name(name)] = entry
        prefix = members.finish()
        self._entries = {name.removeprefix(prefix): entry for name, entry in entries.items()}
        super().__init__(root, members.faults)

    def open(self, name: str) -> OpenFile:
        # what an entry says of its size is kept to, and its check sum compared
        return io.BytesIO(self._archive.read(self._entries[name]))

    def close(self) -> None:
        self._archive.close()


class TarArchive(Listing):
    """The files of a .tar archive, each known by its place: the headers are gone through once, the files not at all.

    The files of a compressed one, in which no place can be gone to, are first unpacked into a file without a name in the
    cache folder, which is gone when the archive is closed or the process ends.

    Arguments:
        root: its path.
        is_compressed: whether it is.

    Raises:
        InputError: if it is damaged, or there is no room to unpack it.
    """

    def __init__(self, root: Path, is_compressed: bool = False):
        members, self._parts = _Members(), dict[str, tuple[int, int]]()
        with ExitStack() as stack:
            try:
                if is_compressed:
                    self._file = stack.enter_context(tempfile.TemporaryFile(dir=cache_directory(make=True)))
                else:
                    self._file = stack.enter_context(root.open("rb"))
                with tarfile.open(root, "r|*" if is_compressed else "r:") as archive:
                    while (entry := archive.next()) is not None:
                        archive.members = []  # which would keep all of them  # pyrefly: ignore[missing-attribute]
                        fault = _tar_fault(entry)
                        if entry.size and fault and is_compressed:  # it would have to be unpacked to come to the next
                            raise InputError(f"{root}: {printable(entry.name)}: {fault}")
                        name = _plain_name(entry.name)
                        if members.add(entry.name, fault, entry.isdir()) and Path(name).suffix.lower() in IMAGES:
                            start = self._unpacked(archive, entry) if is_compressed else entry.offset_data
                            self._parts[name] = (start, entry.size)
                self._file.flush()
            except InputError:
                raise
            except Exception as error:  # damage raises errors of many types
                raise _damaged(root, error) from error
            stack.pop_all()
        prefix = members.finish()
        self._parts = {name.removeprefix(prefix): part for name, part in self._parts.items()}
        super().__init__(root, members.faults)

    def _unpacked(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> int:
        """Where a file of a compressed archive is put."""
        check_room(f"unpacking {archive.name}", entry.size)
        offset, content = self._file.tell(), archive.extractfile(entry)
        assert content is not None
        self._file.write(content.read())
        return offset

    def open(self, name: str) -> OpenFile:
        offset, size = self._parts[name]
        content = os.pread(self._file.fileno(), size, offset)
        if len(content) < size:
            raise EOFError(f"{size - len(content):,} bytes are missing")
        return io.BytesIO(content)

    def close(self) -> None:
        self._file.close()


def _damaged(root: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(f"{root} cannot be read: {error.strerror}")
    return InputError(f"{root} is damaged, cut off, or another kind of archive than its name says: {error}")


def _tar_fault(entry: tarfile.TarInfo) -> str:
    """Why a member cannot be read; "" if it can."""
    if entry.issym() or entry.islnk():
        return "a link: store the file itself"
    if entry.sparse is not None:
        return "a sparse file: store it as a plain one"
    if not (entry.isreg() or entry.isdir()):
        return "not a regular file"
    return _size_fault(entry.size)


def _size_fault(num_bytes: int) -> str:
    try:
        check_memory("it", num_bytes, "store it with fewer pixels")
    except InputError as error:
        return str(error)
    return ""


def _plain_name(name: str) -> str:
    """Without what says nothing: "./a//b" is "a/b"."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


class _Members:
    """The members of an archive, as they are met.

    Attributes:
        faults: by their names, as in `Listing`.
    """

    def __init__(self) -> None:
        self.faults: dict[str, str] = {}
        self._folders: set[str] = set()

    def add(self, name: str, fault: str, is_folder: bool) -> bool:
        """Note a member and its fault; returns whether it is a file to be read, seen for the first time."""
        plain = _plain_name(name)
        parts = plain.split("/")
        if not plain or not _is_listed(parts):
            return False
        if name.startswith("/") or ".." in parts or plain[1:3] == ":/":
            fault = "a path that leads out of the archive"
        elif is_folder:
            self._folders.add(plain)
            return False
        is_new = plain not in self.faults
        self.faults[plain] = fault if is_new else "twice in the archive: remove one"
        return is_new and not fault

    def finish(self) -> str:
        """Add the folders that hold nothing, and take away the folders that all members lie in; returns these."""
        names = [name.split("/") for name in self.faults]
        filled = {"/".join(parts[:depth]) for parts in names for depth in range(len(parts))}
        self.faults |= {f"{folder}/": "" for folder in self._folders - filled}
        prefix = ""
        while (folder := self._only_folder(prefix)) is not None:
            prefix += folder
        self.faults = {name.removeprefix(prefix): fault for name, fault in self.faults.items()}
        return prefix

    def _only_folder(self, prefix: str) -> str | None:
        """The folder, with "/" at its end, that all lie in below others, unless it is a split or has images itself."""
        tops = {name.removeprefix(prefix).partition("/")[0] for name in self.faults}
        top = next(iter(tops)) if len(tops) == 1 else ".."
        inside = [name.removeprefix(f"{prefix}{top}/") for name in self.faults]
        files = [name for name in inside if "/" not in name]
        is_class = any(Path(name).suffix.lower() in IMAGES for name in files) or len(files) == len(inside)
        return None if is_class or top in (*SPLIT_NAMES, "..") else f"{top}/"


def _is_listed(parts: list[str]) -> bool:
    """Whether a file with such parts of its name is neither hidden nor an operating system's."""
    return all((part[0] != "." or part == "..") and part.lower() not in _SYSTEM for part in parts)


def _walk(root: Path, resolved_root: Path, folder: str = "") -> Iterator[str]:
    """The names of all files of a folder, and of folders in it that hold nothing."""
    try:
        with os.scandir(root / folder) as entries:
            listed = [entry for entry in entries if _is_listed([entry.name])]
    except OSError as error:
        raise InputError(f"the folder {root / folder} cannot be read: {error.strerror}") from error
    if folder and not listed:
        yield folder
    for entry in listed:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not folder and not is_folder and entry.name in SPLIT_NAMES and entry.is_dir():
            if not Path(entry.path).resolve().is_relative_to(resolved_root):
                raise InputError(
                    f"{entry.path} is a link that leads out of the folder: put the images themselves there"
                )
            is_folder = True
        if is_folder:
            yield from _walk(root, resolved_root, f"{folder}{entry.name}/")
        else:
            yield f"{folder}{entry.name}"


def _fault(path: Path, resolved_root: Path) -> str:
    """Why a file cannot be read, without opening it; "" if it can."""
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(resolved_root):
            return "a link that leads out of the folder"
        status = path.stat()
    except (OSError, RuntimeError) as error:
        return f"cannot be reached: {error}"
    if stat.S_ISDIR(status.st_mode):
        return "a link to a folder" if path.is_symlink() else ""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return "empty" if status.st_size == 0 else ""
