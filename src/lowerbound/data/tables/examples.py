"""Rows of a table as examples, in double precision."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from lowerbound.data.codes import Code
from lowerbound.data.columns import Column
from lowerbound.data.config import DataConfig
from lowerbound.data.dataset import Examples
from lowerbound.data.directory import cache_directory
from lowerbound.data.memory import allocate, file_of
from lowerbound.data.spec import DataSpec
from lowerbound.data.tables.arrow_values import floats, is_date, is_number
from lowerbound.data.tables.condition_vectors import condition_vectors
from lowerbound.data.tables.encoding import Columns
from lowerbound.data.tables.recognition import category_names, recognised
from lowerbound.data.tables.source import ArrowFile, ParquetFile, TableSource
from lowerbound.data.tables.text import TextTable
from lowerbound.errors import InputError
from lowerbound.files.arrow import pc, where
from lowerbound.words.counts import counted
from lowerbound.words.nearest import nearest
from lowerbound.words.printable import printable

_FEWEST_TIMES = 10
"""Rows from which on a column of dates that rises with them is taken for their times."""
READERS: dict[str, Callable[..., TableSource]] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt", ".dat", ".data"), TextTable),
    **dict.fromkeys((".parquet", ".pq"), ParquetFile),
    **dict.fromkeys((".feather", ".arrow"), ArrowFile),
}
SUFFIXES = tuple(READERS)


def read_table(path: Path, config: DataConfig, spec: DataSpec | None = None) -> Examples:
    """The rows of a file as examples.

    Arguments:
        path: ends in one of `SUFFIXES`.
        config: which columns are wanted, what they are, and how a text is written.
        spec: what a run knows, whose columns are then looked for by their names; they are found out if None.

    Raises:
        InputError: if the file is no table, a column can't be used, or a value has no place, naming row and column.
    """
    reader = READERS[path.suffix.lower()]
    return examples(reader(path, config, known_columns(spec)), config, spec)


def examples(source: TableSource, config: DataConfig, spec: DataSpec | None = None) -> Examples:
    """The rows of a table as examples.

    Arguments:
        (as in `read_table`)
    """
    columns = known_columns(spec)
    conditioning = list(config.condition_on)
    if spec is not None and columns:
        conditioning = [column.name for column in spec.condition_columns if column.name in source.schema.names]
    columns = columns or recognised(source, config)
    each = {column.name: column for column in columns}
    names = [name for name in source.schema.names if name not in conditioning]
    if not names:
        raise InputError(f"{source.name}: every column is one of --condition-on: none is left to learn")
    values = allocate(source.name, (source.num_rows, len(names)), np.dtype(np.float64))
    condition_values = np.empty((source.num_rows, len(conditioning)))
    codes = _codes(spec, names)
    kept, conditions = (tuple(each[name] for name in chosen) for chosen in (names, conditioning))
    rounded, num_kept = dict.fromkeys(codes, 0), 0
    for first_row, rows in _rows(source, (*kept, *conditions)):
        for name, code in codes.items():
            entries = rows[:, names.index(name)]
            if (misplaced := code.misplaced(entries, each[name])) is not None:
                row, mistake = misplaced
                raise InputError(f"{source.location(first_row + row)}: column {name} {mistake}")
            rounded[name] += int(code.rounded(entries, each[name]).sum())
        _check_complete(source, conditions, rows[:, len(names) :], first_row)
        is_empty = np.isnan(rows[:, : len(names)]).all(1)
        if is_empty.any() and not config.skip_bad_rows:
            raise InputError(
                f"{source.location(first_row + int(is_empty.argmax()))}: every entry is missing: leave the row out, or all "
                "such rows with --skip-bad-rows"
            )
        filled = rows[~is_empty]
        part = slice(num_kept, num_kept := num_kept + len(filled))
        values[part], condition_values[part] = np.split(filled, [len(names)], 1)
    values, condition_values = values[:num_kept], condition_values[:num_kept]
    if num_empty := source.num_rows - num_kept:
        warnings.warn(f"{source.name}: {counted(num_empty, 'row')} left out, every entry missing", stacklevel=4)
    for name, number in rounded.items():
        if number:
            warnings.warn(f"{source.name}, column {name}: {codes[name].of_rounded(number)}", stacklevel=4)
    where = ""
    if file_of(values) is not None:
        size = f"{values.nbytes / 2**30:.3g} GiB, more than LOWERBOUND_MEMORY allows"
        where = f"kept      in a temporary file in {cache_directory()} of {size}"
    labels, class_names, vectors = _conditions(conditions, condition_values)
    return Examples(
        source.name,
        values,
        "ND",
        labels=labels,
        class_names=class_names,
        conditions=vectors,
        columns=kept,
        condition_columns=conditions,
        condition_places=tuple(map(source.schema.names.index, conditioning)),
        notes=tuple(filter(None, (source.note, where, "" if spec is not None else _order(kept, values)))),
    )


def _order(columns: tuple[Column, ...], values: np.ndarray) -> str:
    """What is lost where rows follow one another in time, "" where they don't: whoever has series may not know of it."""
    for column, times in zip(columns, values.T, strict=True):
        if column.kind == "date" and len(times) >= _FEWEST_TIMES and (np.diff(times) > 0).all():
            return (
                f"order     rows follow one another in {printable(column.name)}, and each is learned as if it stood alone: "
                "with --window they are series"
            )
    return ""


def read_condition_columns(path: Path, config: DataConfig, columns: tuple[Column, ...]) -> np.ndarray:
    """What a table has in the columns that are a run's condition, (N, C), in their order; its other columns do not matter.

    Arguments:
        path: ends in one of `SUFFIXES`.
        config: how a text is written.
        columns: that are the condition.

    Raises:
        InputError: as `read_table`, or if an entry is missing.
    """
    source = READERS[path.suffix.lower()](path, replace(config, columns=(), condition_on=()), columns)
    parts = [np.empty((0, len(columns)))]
    for first_row, rows in _rows(source, columns):
        _check_complete(source, columns, rows, first_row)
        parts.append(rows)
    return np.concatenate(parts)


def known_columns(spec: DataSpec | None) -> tuple[Column, ...]:
    """All columns that a run knows, of its examples and of their conditions."""
    return () if spec is None else (*spec.columns, *spec.condition_columns)


def _codes(spec: DataSpec | None, names: list[str]) -> dict[str, Code]:
    """The codes of columns that a run knows, by their names."""
    if spec is None or not isinstance(spec.encoding, Columns):
        return {}
    named = zip(spec.encoding.columns, spec.encoding.codes, strict=True)
    return {column.name: code for column, code in named if column.name in names}


def _rows(source: TableSource, columns: tuple[Column, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """Rows, (n, C), batch by batch as they are stored, and the number of the first of each batch."""
    first_row = 0
    for batch in source.batches():
        each = [_values(batch.column(column.name), column, source, first_row) for column in columns]
        yield first_row, np.stack(each, 1)
        first_row += batch.num_rows


def _values(array: pa.Array, column: Column, source: TableSource, first_row: int) -> np.ndarray:
    """A column's values as they are stored, NaN where one is missing."""
    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan)
    if not column.categories:
        fits = is_date(kind) if column.kind == "date" else is_number(kind)
        if not fits:
            raise InputError(
                f"{source.name}: column {column.name} is of type {kind} and not, as the run knows it, {column.kind}"
            )
        if column.kind == "date":
            _check_zone(
                column, Column(column.name, "date", str(kind), format=source.formats.get(column.name, "")), source
            )
        values = floats(array, column.name, source.location, first_row)
        is_broken = (values != np.rint(values)) & ~np.isnan(values)
        if column.kind == "integer" and len(broken := np.flatnonzero(is_broken)):
            raise InputError(
                f"{source.location(first_row + int(broken[0]))}, column {column.name}: {values[broken[0]]:g} is no whole "
                "number, which the run knows there"
            )
        return values
    names, categories = category_names(array), pa.array(column.categories, pa.string())
    if column.kind == "boolean":  # true, True and TRUE are the same
        names, categories = pc.utf8_lower(names), pc.utf8_lower(categories)
    places = pc.index_in(names, categories)
    if len(unseen := where(pc.and_(pc.is_null(places), pc.is_valid(names)))):
        name = names[unseen[0]].as_py()
        near = nearest(name, column.categories)
        meant = f", did you mean {near}?" if near else ";"
        known = ", ".join(column.categories[:12]) + ", ..." * (len(column.categories) > 12)
        raise InputError(
            f"{source.location(first_row + int(unseen[0]))}, column {column.name}: {name!r} is a category that the run has "
            f"not seen in training{meant} known are {known}: leave out such rows, or empty the entry, which is then missing "
            f"(in a table of text --missing {name!r} has it read so)"
        )
    return places.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _check_zone(known: Column, column: Column, source: TableSource) -> None:
    if bool(column.zone) == bool(known.zone):
        return
    has = f"of the zone {column.zone}" if column.zone else "without a time zone"
    as_known = f"of the zone {known.zone}" if known.zone else "without one"
    remedy = "with their offset from UTC, as in 2024-12-31T23:59:59+00:00" if known.zone else "without it"
    raise InputError(
        f"{source.name}: column {column.name} has times {has}, and the run knows times {as_known}: write them {remedy}"
    )


def _conditions(
    columns: tuple[Column, ...], values: np.ndarray
) -> tuple[np.ndarray | None, tuple[str, ...], np.ndarray | None]:
    """Labels with the names of their classes where a single column of categories is the condition, else vectors."""
    if not columns:
        return None, (), None
    if len(columns) == 1 and columns[0].categories:
        return values[:, 0].astype(np.int64), columns[0].categories, None
    return None, (), condition_vectors(values, columns)


def _check_complete(source: TableSource, columns: tuple[Column, ...], values: np.ndarray, first_row: int) -> None:
    lacking = np.argwhere(np.isnan(values))
    if len(lacking):
        row, index = lacking[0]
        raise InputError(
            f"{source.location(first_row + int(row))}, column {columns[index].name}: an entry is missing in a condition: "
            "leave out such rows, or the column in --condition-on"
        )
