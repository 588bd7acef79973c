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
    """A file that should be an image; `split` and `class_name`, as it is printed, are "" where there are none."""

    path: Path
    split: str
    class_name: str


@dataclass(frozen=True)
class Listing:
    """Files in a fixed order, what is neither an image nor known with the reason, and the classes in order, their names as
    they are printed."""

    files: list[ImageFile]
    bad: dict[Path, str]
    class_names: tuple[str, ...]


def find_images(root: Path) -> Listing:
    """All files below a root whose folders are classes, or splits with classes in them.

    Hidden files, those of operating systems and side files (such as .txt, .csv and .json) are left out.

    Raises:
        InputError: if the folders contradict each other or hold nothing.
    """
    files: list[ImageFile] = []
    bad: dict[Path, str] = {}
    classes: dict[str, str] = {}
    for folder, split in _split_folders(root):
        files += _classified(folder, split, root.resolve(), bad, classes)
    if not files and not bad:
        raise InputError(f"{root} holds no images (files with the suffixes {', '.join(sorted(_IMAGES))})")
    class_names = {file.class_name for file in files}
    if "" in class_names and len(class_names) > 1:
        loose = printable(str(next(file.path for file in files if not file.class_name)))
        raise InputError(
            f"{root}: some images lie in class folders and some, such as {loose}, beside them: put all of them into "
            "class folders, or none"
        )
    splits = {file.split for file in files}
    if "train" in splits and (strange := class_names - {file.class_name for file in files if file.split == "train"}):
        raise InputError(f"{root}: class {min(strange)} has no images in train")
    return Listing(files, bad, tuple(sorted(class_names - {""})))


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    """The folders of splits, or the root as the only one."""
    names = [entry.name for entry in _entries(root)]
    if not (root / "train").is_dir():
        return [(root, "")]
    others = [name for name in names if name not in _SPLIT_NAMES and Path(name).suffix.lower() not in _SIDE_FILES]
    if others:
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


def _classified(
    folder: Path, split: str, resolved_root: Path, bad: dict[Path, str], classes: dict[str, str]
) -> Iterator[ImageFile]:
    """The image files of one split; the others go to `bad`, and the folders of classes, by their printed names, to
    `classes`."""
    for entry in _entries(folder):
        is_class = entry.is_dir(follow_symlinks=False)
        class_name = printable(entry.name) if is_class else ""
        if is_class and classes.setdefault(class_name, entry.name) != entry.name:
            raise InputError(f"{folder} has two classes whose names are both printed as {class_name}: rename one")
        count = 0
        for path in _walk(Path(entry.path)) if is_class else [Path(entry.path)]:
            if path.suffix.lower() in _SIDE_FILES:
                continue
            count += 1
            if reason := _fault(path, resolved_root):
                bad[path] = reason
            else:
                yield ImageFile(path, split, class_name)
        if is_class and not count:
            raise InputError(f"the class folder {printable(entry.path)} holds no images: remove it or fill it")


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


def _fault(path: Path, resolved_root: Path) -> str | None:
    """Why this can't be an image file, without opening it."""
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
    return "empty" if status.st_size == 0 else None
