"""Arrow: its functions of columns, and tables of it in files.

Texts are names that others chose: they are written as `printable` prints them, and in a .csv or .tsv, which spreadsheets
open and compute, a text that begins like a formula, with = + - or @, gets an apostrophe in front, by which they know it for
a text.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pyarrow import feather, parquet

from lowerbound.files.tables import TEXTS, check_table
from lowerbound.files.whole import write_file
from lowerbound.words.printable import printable

pc: Any = pyarrow.compute
"""The functions of columns, which Arrow makes as it is loaded, so that no checker of types knows them."""
Texts = TypeVar("Texts", pa.Array, pa.ChunkedArray)


def where(mask: pa.Array) -> np.ndarray:
    """The places at which a column of truth values is true; one that is missing is not."""
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))


def printed(texts: Texts) -> Texts | pa.Array:
    """Texts, fit to be printed."""
    # Arrow has few functions of views
    if pc.all(pc.utf8_is_printable(texts.cast(pa.large_string()))).as_py() is not False:
        return texts
    return pa.array([None if text is None else printable(text) for text in texts.to_pylist()], texts.type)


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table; the file appears whole or not at all.

    Numbers are written with all digits that they have (`nine_digits` leaves as many as single precision fills).

    Arguments:
        path: ends in one of `SUFFIXES`.
        table: of numbers, truth values, dates and texts.
        metadata: what a .parquet or .feather file says of itself; text has no place for it.

    Raises:
        InputError: as `check_table`.
    """
    check_table(path)
    columns = [printed(column) if is_string(column.type) else column for column in table.columns]
    table = pa.table(columns, list(map(printable, table.column_names)))
    if path.suffix in TEXTS:
        write_file(path, _text(table, TEXTS[path.suffix]))
        return
    file = io.BytesIO()
    table = table.replace_schema_metadata(dict(metadata or {}))
    feather.write_feather(table, file) if path.suffix == ".feather" else parquet.write_table(table, file)
    write_file(path, file.getvalue())


def _text(table: pa.Table, separator: str) -> bytes:
    """A header and the rows, a line each; a missing entry is empty."""
    header = [_cells(pa.chunked_array([[name]]), separator)[0].as_py() for name in table.column_names]
    columns = [_cells(column, separator) for column in table.columns]
    rows = pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement="")
    return "".join(f"{line}\n" for line in (separator.join(header), *rows.to_pylist())).encode()


def _cells(column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
    """A column as text: no formula to a spreadsheet, and between quotation marks where it has to be."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_string(column.type):
        return column.cast(pa.string())
    column = pc.replace_substring_regex(column.cast(pa.string()), r"\A([=+\-@])", r"'\1")
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(column, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(column, f'["{separator}\r\n]'), quoted, column)


def is_string(kind: pa.DataType) -> bool:
    """Whether values are texts, in any of Arrow's layouts (polars writes views)."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
