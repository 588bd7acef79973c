"""Labels of files from a table: a column of the files' names, and one of their classes."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

from lowerbound.data.images.folder import ImageFile
from lowerbound.errors import InputError
from lowerbound.words.printable import printable

FILE, LABEL = "file", "label"
"""What the two columns may be called; otherwise they are the first two."""
_NUM_LISTED = 5


def read_labels(path: Path) -> dict[str, str]:
    """The class of each file by its name, from a .csv or .tsv table.

    Arguments:
        path: of the table. Its first row is a header if it names the columns `file` and `label`, in any order among others;
            without one the first column holds names of files and the second one labels.

    Raises:
        InputError: if it cannot be read, a row is too short, a label is empty, or a file is there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--labels {path} cannot be read ({error}): give a text of one file and its label a line"
        ) from error
    if "\0" in text:
        raise InputError(f"--labels {path} holds bytes of value 0: give a text of one file and its label a line")
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else ";" if ";" in text.partition("\n")[0] else ","
    rows = [
        (number, row) for number, row in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), 1) if any(row)
    ]
    columns, first = (0, 1), [word.strip().lower() for word in rows[0][1]] if rows else []
    if FILE in first and LABEL in first:
        columns, rows = (first.index(FILE), first.index(LABEL)), rows[1:]
    if not rows:
        raise InputError(f"--labels {path} holds no labels: give a text of one file and its label a line")
    labels: dict[str, str] = {}
    for number, row in rows:
        if len(row) <= max(columns):
            raise InputError(f"--labels {path}, line {number}: {len(row)} column; two are needed, a file and its label")
        name, label = (row[column].strip() for column in columns)
        name = name.replace("\\", "/").removeprefix("./")
        if not name or not label:
            raise InputError(f"--labels {path}, line {number}: the {'label' if name else 'file'} is empty: fill it in")
        if labels.setdefault(name, label) != label:
            raise InputError(
                f"--labels {path}, line {number}: {printable(name)} is {printable(label)} here and "
                f"{printable(labels[name])} further up: remove one"
            )
    return labels


def labelled(root: Path, files: list[ImageFile], labels: dict[str, str]) -> list[ImageFile]:
    """Files with their classes from a table.

    Arguments:
        root: of the files, for messages.
        files: which.
        labels: by the names of files below the root; or, where no two files are called alike, by their last parts alone.

    Raises:
        InputError: if a file has no label or a label no file, naming them.
    """
    counts = Counter(file.name.rpartition("/")[2] for file in files)
    keys = {
        file.name: file.name if file.name in labels or counts[last] > 1 else last
        for file in files
        for last in [file.name.rpartition("/")[2]]
    }
    without = [name for name, key in keys.items() if key not in labels]
    unused = sorted(labels.keys() - set(keys.values()))
    for names, what in (
        (without, "files have no label in --labels"),
        (unused, "labels are of files that are not there"),
    ):
        if names:
            listed = ", ".join(map(printable, names[:_NUM_LISTED])) + ", ..." * (len(names) > _NUM_LISTED)
            raise InputError(f"{root}: {len(names):,} {what}: {listed}")
    class_of = {label: printable(label) for label in labels.values()}
    if len(set(class_of.values())) < len(class_of):
        raise InputError(f"{root}: two labels are printed alike: rename one")
    return [replace(file, class_name=class_of[labels[keys[file.name]]]) for file in files]
