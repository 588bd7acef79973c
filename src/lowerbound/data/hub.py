"""Data sets of the Hugging Face hub, through the datasets library: images with or without labels, and columns of numbers.

The library keeps them on the disk and reads from there what is looked at, so that they may be larger than memory.
Of the first examples of a split no others are fetched.
"""

import io
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from lowerbound.data.dataset import Examples
from lowerbound.data.extras import extra
from lowerbound.data.images.examples import read_images
from lowerbound.data.listing import SPLIT_NAMES, Listing, OpenFile
from lowerbound.data.memory import allocate, release
from lowerbound.data.parts import PART
from lowerbound.errors import InputError
from lowerbound.words.printable import printable

HUB = "https://huggingface.co"
OFFLINE = "HF_HUB_OFFLINE"
"""The library's own variable, which it reads as it is imported."""
FIRST = re.compile(r"([^\[\]]+)\[:([1-9]\d*)\]")
"""The first examples of a split, as the library writes them: train[:1000]."""


def read_hub(
    source: str,
    *,
    image_size: tuple[int, int] | None = None,
    background: str | None = None,
    skip_bad_files: bool = False,
) -> Examples:
    """What a data set of the hub holds.

    Arguments:
        source: hf:NAME for its splits train, validation and test, as far as it has them, or hf:NAME:split for one of any
            name, or hf:NAME:split[:1000] for the first examples of it.
        image_size, background, skip_bad_files: as for folders of images.

    Raises:
        InputError: if the library is not installed, there is no such data set or no network, or its columns are neither one
            of images nor numbers.
    """
    parts = _load(library := _library(), source)
    features = next(iter(parts.values())).features
    images = _image_columns(features)
    if len(images) > 1:
        raise InputError(f"{source} has several columns of images ({', '.join(map(printable, images))}): one is read")
    if images:
        with _Images(library, source, parts, images[0], _label_column(features)) as listing:
            return read_images(listing, image_size=image_size, background=background, skip_bad_files=skip_bad_files)
    return _numbers(source, parts, features)


def _library() -> Any:
    """The datasets library, told from the start if there is no network: it would ask six times, for a minute, before it
    looked at what it has."""
    is_settled = OFFLINE in os.environ or "huggingface_hub" in sys.modules or bool(getproxies())
    if not is_settled and not _is_known(urlsplit(os.environ.get("HF_ENDPOINT", HUB)).hostname):
        os.environ[OFFLINE] = "1"
    try:
        return extra("datasets", "hub", "a data set of the hub")
    finally:
        if not is_settled:
            os.environ.pop(OFFLINE, None)


def _is_known(host: str | None) -> bool:
    """Whether a host's name has an address, as it has not without a network."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _load(library: Any, source: str) -> dict[str, Any]:
    """Its splits by the names of ours; by "" one that was asked for."""
    name, _, split = source.partition(":")[2].partition(":")
    if not name:
        raise InputError(f"{source}: give hf:NAME or hf:NAME:split, such as hf:ylecun/mnist")
    try:
        first = FIRST.fullmatch(split)
        if first is not None and not Path(name).exists():
            loaded = load_first(library, name, first[1], int(first[2]))
        else:
            loaded = library.load_dataset(name, split=split or None)
    except Exception as error:  # of the network, of the hub, of the file system
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{source} cannot be opened ({type(error).__name__}: {reason:.300}): give the name as the hub has it; "
            "without a network only what was opened before is there, and files can be given by their own names"
        ) from error
    if split:
        return {"": loaded}
    parts = {SPLIT_NAMES[each]: part for each, part in loaded.items() if each in SPLIT_NAMES}
    if "train" not in parts:
        raise InputError(
            f"{source} has the splits {', '.join(map(printable, loaded))} and none called train: give {source}:SPLIT"
        )
    return parts


def load_first(library: Any, name: str, split: str, num: int) -> Any:
    """The first examples of a split: fetched one after another and no others, and kept in memory as they are stored.

    Arguments:
        library: datasets.
        name, split: of the data set and the split.
        num: of examples, fewer if it has fewer.
    """
    stream = library.load_dataset(name, split=split, streaming=True)
    if stream.features is None:  # only all of it would tell what its columns are
        return library.load_dataset(name, split=f"{split}[:{num}]")
    images = _image_columns(stream.features)
    for column in images:
        stream = stream.cast_column(column, library.Image(decode=False))

    rows = []
    for row in stream.take(num):
        for column in images:
            if (stored := row[column]) is not None and stored["bytes"] is None:
                import fsspec  # by which the library reads

                with fsspec.open(stored["path"], "rb") as file:
                    row[column] = {"bytes": file.read(), "path": None}  # pyrefly: ignore[missing-attribute]
        rows.append(row)
    return library.Dataset.from_list(rows, features=stream.features)


def _image_columns(features: Any) -> list[str]:
    return [name for name, feature in features.items() if type(feature).__name__ == "Image"]


def _label_column(features: Any) -> str | None:
    """The column of labels; None if there is none, or it is not clear which."""
    labels = [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    return labels[0] if len(labels) == 1 else None


class _Images(Listing):
    """The images of a data set as if they lay in folders, of splits and of classes in them."""

    def __init__(self, library: Any, source: str, parts: dict[str, Any], column: str, label_column: str | None):
        self._column, self._rows = column, {}
        for split, part in parts.items():
            # as they are stored: each is decoded, and checked, as those of a folder are
            stored = part.cast_column(column, library.Image(decode=False))
            folders = [""] * len(stored)
            if label_column is not None:
                names = [printable(name).replace("/", "_") for name in part.features[label_column].names]
                folders = [f"{names[label]}/" if label >= 0 else "" for label in stored[label_column]]
            for number, folder in enumerate(folders):
                self._rows[f"{split}{'/' * bool(split)}{folder}{number:09}.png"] = (stored, number)
        super().__init__(Path(source), dict.fromkeys(self._rows, ""))

    def open(self, name: str) -> OpenFile:
        part, number = self._rows[name]
        stored = part[number][self._column]
        if stored is None:
            raise InputError("it is missing")
        return Path(stored["path"]).open("rb") if stored["bytes"] is None else io.BytesIO(stored["bytes"])


def _numbers(source: str, parts: dict[str, Any], features: Any) -> Examples:
    """Columns of numbers as vectors, and labels as classes."""
    label_column = _label_column(features)
    names = [name for name in features if name != label_column]
    types = {name: str(getattr(features[name], "dtype", "")) for name in names}
    if strange := [name for name, kind in types.items() if not kind.startswith(("int", "uint", "float", "bool"))]:
        raise InputError(
            f"{source}: the column {printable(strange[0])} is neither of images nor of numbers: store it as a table, by "
            "to_parquet of the datasets library, and give that file"
        )
    num_rows = {split: len(part) for split, part in parts.items()}
    values = allocate(
        source, (sum(num_rows.values()), len(names)), np.result_type(*(np.dtype(kind) for kind in types.values()))
    )
    labels, splits, first = [], {}, 0
    step = max(1, PART // max(1, len(names)))
    for split, part in parts.items():
        for begin in range(0, num_rows[split], step):
            rows = part[begin : begin + step]
            end = first + begin + len(rows[names[0]])
            for index, name in enumerate(names):
                values[first + begin : end, index] = [np.nan if value is None else value for value in rows[name]]
            labels += rows[label_column] if label_column is not None else []
            release(values)
        if split:
            splits[split] = np.arange(first, first + num_rows[split])
        first += num_rows[split]
    if label_column is None or min(labels, default=-1) < 0:
        return Examples(source, values, "ND", splits)
    class_names = tuple(map(printable, features[label_column].names))
    return Examples(source, values, "ND", splits, np.array(labels), class_names)
