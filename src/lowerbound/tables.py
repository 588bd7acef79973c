"""Tables as files: columns by their names, written as .csv or .parquet.

Texts are names that others chose: they are written as `printable` prints them, and in a .csv, which spreadsheets open and
compute, a text that begins like a formula, with = + - or @, gets an apostrophe in front, by which they know it for a text.
"""

import csv
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lowerbound.errors import InputError
from lowerbound.files import check_folder, write_file
from lowerbound.printable import printable

SUFFIXES = (".csv", ".parquet")


def check_table(path: Path) -> None:
    """Refuse, before anything is computed, a name that no table can be written to.

    Raises:
        InputError: for another suffix, a folder that is not there, or .parquet without pyarrow.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"cannot write a table to {path}: the name must end in {' or '.join(SUFFIXES)}")
    check_folder(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError("writing .parquet needs pyarrow: pip install 'lowerbound[tables]', or give a .csv file")


def write_table(
    path: Path, columns: Mapping[str, Sequence[str] | np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a table; the file appears whole or not at all.

    Arguments:
        path: ends in one of `SUFFIXES`.
        columns: of one length, by their names; numbers or text.
        metadata: what a .parquet file says of itself; .csv has no place for it.

    Raises:
        InputError: as `check_table`.
    """
    check_table(path)
    write_file(path, _csv(columns) if path.suffix == ".csv" else _parquet(columns, metadata or {}))


def _csv(columns: Mapping[str, Sequence[str] | np.ndarray]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows(zip(*(map(_cell, column) for column in columns.values()), strict=True))
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """A float with nine digits, which single precision fills; a text that is no formula; everything else as it is."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if not isinstance(value, str):
        return str(value)
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _texts(column: Sequence[str] | np.ndarray) -> Sequence[str] | np.ndarray:
    """A column whose texts are fit to be printed."""
    return column if isinstance(column, np.ndarray) else [printable(text) for text in column]


def _parquet(columns: Mapping[str, Sequence[str] | np.ndarray], metadata: Mapping[str, str]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    table = pyarrow.table({name: pyarrow.array(_texts(column)) for name, column in columns.items()})
    parquet.write_table(table.replace_schema_metadata(dict(metadata)), file)
    return file.getvalue()
