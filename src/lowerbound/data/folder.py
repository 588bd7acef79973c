"""Which files of a folder are images, and to which split and class their places assign them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lowerbound.errors import InputError
from lowerbound.printable import printable

_IMAGES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
_SIDE_FILES = {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md"}
_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx"}
_SPLIT_NAMES = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}


@dataclass(frozen=True)
class ImageFile:
    """A file that should be an image; `split`, `class_name`, as it is printed, and `fault` are "" where there are none."""

    path: Path
    split: str
    class_name: str
    fault: str


def find_images(root: Path) -> list[ImageFile]:
    """All files below a root whose folders are classes, or splits with classes in them, in a fixed order.

    Hidden files, those of operating systems and side files (such as .txt, .csv and .json) are left out.

    Raises:
        InputError: if the folders contradict each other or hold nothing.
    """
    folders: dict[str, str] = {}
    files = [file for folder, split in _split_folders(root) for file in _classified(folder, split, root, folders)]
    if not files:
        raise InputError(f"{root} holds no images (files with the suffixes {', '.join(sorted(_IMAGES))})")
    sound = [file for file in files if not file.fault]
    loose, class_names = [file for file in sound if not file.class_name], {file.class_name for file in sound}
    if loose and len(class_names) > 1:
        raise InputError(
            f"{root}: some images lie in class folders and some, such as {printable(str(loose[0].path))}, beside them: put "
            "all of them into class folders, or none"
        )
    trained = {file.class_name for file in sound if file.split == "train"}
    if trained and class_names > trained:
        raise InputError(f"{root}: class {min(class_names - trained)} has no images in train")
    return files


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    """The folders of splits, or the root as the only one."""
    names = [entry.name for entry in _entries(root)]
    if not (root / "train").is_dir():
        return [(root, "")]
    if others := [name for name in names if name not in _SPLIT_NAMES and Path(name).suffix.lower() not in _SIDE_FILES]:
        raise InputError(
            f"{root} has {printable(others[0])} beside the folder train: with train, only test and validation (or val) may "
            "stand there"
        )
    if {"val", "validation"} <= set(names):
        raise InputError(f"{root} has both val and validation: rename one")
    folders = [root / name for name in names if name in _SPLIT_NAMES]
    for folder in folders:
        if not folder.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{folder} is a link that leads out of the folder: put the images themselves there")
    return [(folder, _SPLIT_NAMES[folder.name]) for folder in folders]


def _classified(folder: Path, split: str, root: Path, folders: dict[str, str]) -> Iterator[ImageFile]:
    """The files of one split; the folders of classes go to `folders`, by the names as which they are printed."""
    resolved_root = root.resolve()
    for entry in _entries(folder):
        paths, class_name = [Path(entry.path)], ""
        if entry.is_dir(follow_symlinks=False):
            paths, class_name = _walk(Path(entry.path)), printable(entry.name)
            if folders.setdefault(class_name, entry.name) != entry.name:
                raise InputError(f"{folder} has two classes whose names are both printed as {class_name}: rename one")
        paths = [path for path in paths if path.suffix.lower() not in _SIDE_FILES]
        if class_name and not paths:
            raise InputError(f"the class folder {printable(entry.path)} holds no images: remove it or fill it")
        for path in paths:
            yield ImageFile(path, split, class_name, _fault(path, resolved_root))


def _walk(folder: Path) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted, without hidden files and those of operating systems."""
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if entry.name[0] != "." and entry.name.lower() not in _SYSTEM]
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}") from error
    return sorted(seen, key=lambda entry: entry.name)


def _fault(path: Path, resolved_root: Path) -> str:
    """Why this can't be an image file, without opening it; "" if it can."""
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(resolved_root):
            return "a link that leads out of the folder"
        status = path.stat()
    except (OSError, RuntimeError) as error:
        return f"cannot be reached: {error}"
    if stat.S_ISDIR(status.st_mode):
        return "a link to a folder"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if path.suffix.lower() not in _IMAGES:
        return f"not an image by its suffix {path.suffix!r}"
    return "empty" if status.st_size == 0 else ""
