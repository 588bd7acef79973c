"""Which files of a folder or an archive are images, and to which split and class their places assign them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from lowerbound.data.listing import ARCHIVES, IMAGES, SPLIT_NAMES, Listing
from lowerbound.errors import InputError
from lowerbound.words.printable import printable

_TABLES = {".txt", ".csv", ".tsv"}
_SIDE_FILES = _TABLES | {".json", ".jsonl", ".xml", ".yaml", ".yml", ".md"}


@dataclass(frozen=True)
class ImageFile:
    """A file that should be an image: its name below the root; `split`, `class_name`, as it is printed, and `fault` are ""
    where there are none."""

    name: str
    split: str
    class_name: str
    fault: str


def find_images(listing: Listing, has_classes: bool = True) -> list[ImageFile]:
    """All files below a root whose folders are classes, or splits with classes in them, in a fixed order.

    Side files (such as .txt, .csv and .json) are left out.

    Arguments:
        listing: of the files.
        has_classes: whether folders are classes; places without a meaning if not.

    Raises:
        InputError: if the folders contradict each other or hold nothing.
    """
    root = listing.root
    files = [file for split in _splits(listing) for file in _classified(listing, split, has_classes)]
    if not files:
        tables = [name for name in listing.faults if PurePosixPath(name).suffix.lower() in _TABLES]
        way = "unpack it and give the file" if root.is_file() else "give the file instead of its folder"
        meant = f"; to read {printable(tables[0])}, {way}" if tables else ""
        raise InputError(f"{root} holds no images (files with the suffixes {', '.join(sorted(IMAGES))}){meant}")
    sound = [file for file in files if not file.fault]
    loose, class_names = [file for file in sound if not file.class_name], {file.class_name for file in sound}
    if loose and len(class_names) > 1:
        raise InputError(
            f"{root}: some images lie in class folders and some, such as {printable(loose[0].name)}, beside them: put "
            "all of them into class folders, or none"
        )
    trained = {file.class_name for file in sound if file.split == "train"}
    if trained and class_names > trained:
        raise InputError(f"{root}: class {min(class_names - trained)} has no images in train")
    return files


def _splits(listing: Listing) -> list[str]:
    """The folders of splits, each with "/" at its end, or "" alone for the root."""
    tops = dict.fromkeys(name.partition("/")[0] + "/" * ("/" in name) for name in listing.faults)
    if "train/" not in tops:
        return [""]
    splits = [top for top in tops if top.removesuffix("/") in SPLIT_NAMES]
    others = [top for top in tops if top not in splits and PurePosixPath(top).suffix.lower() not in _SIDE_FILES]
    if others:
        raise InputError(
            f"{listing.root} has {printable(others[0].removesuffix('/'))} beside the folder train: with train, only test "
            "and validation (or val) may stand there"
        )
    if {"val/", "validation/"} <= set(splits):
        raise InputError(f"{listing.root} has both val and validation: rename one")
    return splits


def _classified(listing: Listing, split: str, has_classes: bool) -> Iterator[ImageFile]:
    """The files of one split."""
    split_name, folder_of, filled = SPLIT_NAMES.get(split.removesuffix("/"), ""), {}, set()
    for name, fault in listing.faults.items():
        if not name.startswith(split):
            continue
        folder, slash, _ = name.removeprefix(split).partition("/")
        class_name = printable(folder) if slash and has_classes else ""
        if class_name and folder_of.setdefault(class_name, folder) != folder:
            raise InputError(f"{listing.root} has two classes whose names are both printed as {class_name}: rename one")
        if name.endswith("/") or PurePosixPath(name).suffix.lower() in _SIDE_FILES:
            continue
        filled.add(class_name)
        yield ImageFile(name, split_name, class_name, fault or _suffix_fault(name))
    if empty := sorted(set(folder_of) - filled):
        raise InputError(f"the class folder {listing.root}/{split}{empty[0]} holds no images: remove it or fill it")


def _suffix_fault(name: str) -> str:
    """Why this is no image, by its name."""
    suffix = PurePosixPath(name).suffix
    if name.lower().endswith(ARCHIVES):
        return "an archive in an archive or a folder: unpack it there"
    return "" if suffix.lower() in IMAGES else f"not an image by its suffix {suffix!r}"
