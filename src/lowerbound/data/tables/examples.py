"""Tables as examples: what each column is, found out over all of its rows, and the rows in double precision.

A column is one of numbers, whole or not, of dates, of categories, or of truth values (`columns.Column`). What can't be
learned from is refused, with what leaves it out: free texts, names of which no two are the same, the numbers of the rows,
one value throughout, or nothing at all.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from lowerbound.data.conditions import condition_vectors
from lowerbound.data.config import DataConfig
from lowerbound.data.dataset import Examples
from lowerbound.data.directory import cache_directory
from lowerbound.data.memory import allocate, file_of
from lowerbound.data.spec import DataSpec
from lowerbound.data.tables.arrow_values import floats, is_date, is_number, is_text, texts
from lowerbound.data.tables.code import Code
from lowerbound.data.tables.columns import Column
from lowerbound.data.tables.encoding import Columns
from lowerbound.data.tables.source import ArrowFile, ParquetFile, TableSource
from lowerbound.data.tables.text import TextTable
from lowerbound.errors import InputError
from lowerbound.files.arrow import is_string, pc, where
from lowerbound.words.counts import counted
from lowerbound.words.nearest import nearest
from lowerbound.words.printable import printable

TRUTH = ({"false", "true"}, {"no", "yes"})
"""Pairs of words that are truth values."""
MOST_CATEGORIES = 256
"""Of a column of texts that is not named by --categorical."""
_MOST_NAMED = 65_536
"""Of one that is."""
_NUMBER_WITH_A_SIGN = re.compile(r"([$€£¥]?)\s*[-+]?\d[\d.,']*\s*([%$€£¥]?)")
_LIKE_A_DATE = re.compile(r"\d[-/. ]+\w+[-/. ]+\d|\d:\d\d")
_FEWEST_COUNTED = 10
"""Rows from which on a column that counts them is taken for their numbers, and one that rises with them for their times."""
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
    columns = columns or _recognised(source, config)
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
            rounded[name] += int(code.rounded(entries).sum())
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
            warnings.warn(
                f"{source.name}, column {name}: {counted(number, 'value')} {'lie' if number > 1 else 'lies'} between the "
                f"{codes[name].known} of training, and {'are' if number > 1 else 'is'} taken for the nearest",
                stacklevel=4,
            )
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
        if column.kind == "date" and len(times) >= _FEWEST_COUNTED and (np.diff(times) > 0).all():
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
    names, categories = _names(array), pa.array(column.categories, pa.string())
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


def _names(array: pa.Array) -> pa.Array:
    """Values as the names of categories."""
    if pa.types.is_boolean(array.type):
        return pc.if_else(array, "True", "False")
    return texts(array)


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


def _recognised(source: TableSource, config: DataConfig) -> tuple[Column, ...]:
    """What the columns are, found out in one pass."""
    finders = [
        _Finder(source, column.name, column.type, column.name in config.categorical, column.name in config.columns)
        for column in source.schema
    ]
    first_row = 0
    for batch in source.batches():
        for finder, array in zip(finders, batch.columns, strict=True):
            finder.look(array, first_row)
        first_row += batch.num_rows
    if not first_row:
        raise InputError(f"{source.name} holds no rows")
    if first_row == 1:
        raise InputError(f"{source.name} holds a single row: at least three are needed to learn from")
    return tuple(finder.column for finder in finders)


@dataclass
class _Finder:
    """What a column is, found out batch by batch.

    Arguments:
        source: the table, for messages.
        name, type: of the column.
        is_named: whether it is named as one of categories.
        is_wanted: whether it is named as one to model.
    """

    source: TableSource
    name: str
    type: pa.DataType
    is_named: bool
    is_wanted: bool
    _num_rows: int = 0
    _num_there: int = 0
    _names: dict[str, None] = field(default_factory=dict)
    _is_whole: bool = True
    _counts_rows: bool = True
    _ends: list[float] = field(default_factory=list)
    _last: float = float("nan")

    def __post_init__(self):
        kind = self.type
        # whatever its values are, a dictionary is what libraries of dataframes make of categories
        self._is_named_by_type = is_text(kind) or pa.types.is_dictionary(kind)
        self._is_named = self.is_named or self._is_named_by_type
        if not (
            self._is_named or pa.types.is_boolean(kind) or is_number(kind) or is_date(kind) or pa.types.is_null(kind)
        ):
            raise self._refusal(f"is of type {kind}, which is not read")
        if self.is_named and not (self._is_named_by_type or is_number(kind) or pa.types.is_boolean(kind)):
            raise InputError(f"--categorical {self.name}: {self.source.name} has values of type {kind} there, no names")

    def look(self, array: pa.Array, first_row: int) -> None:
        """Go through the entries of a batch."""
        self._num_rows += len(array)
        # of views Arrow takes nothing away
        present_values = (array.cast(pa.string()) if pa.types.is_string_view(array.type) else array).drop_null()
        if pa.types.is_floating(self.type):
            present_values = present_values.filter(pc.invert(pc.is_nan(present_values)))
        self._num_there += len(present_values)
        if not len(present_values):
            return
        if self._is_named or pa.types.is_boolean(self.type):
            if len(self._names) <= _MOST_NAMED:
                names = present_values.dictionary if pa.types.is_dictionary(self.type) else pc.unique(present_values)
                used = texts(names).to_pylist() if is_text(self.type) else _names(names).to_pylist()
                if pa.types.is_dictionary(self.type):
                    present = set(pc.unique(present_values.indices).to_pylist())
                    used = [name for code, name in enumerate(used) if code in present]
                self._names.update(dict.fromkeys(used))
            return
        values = floats(array, self.name, self.source.location, first_row)
        present = values[~np.isnan(values)]
        self._ends += [float(present.min()), float(present.max())]
        self._is_whole = self._is_whole and bool((present == np.rint(present)).all())
        steps = np.diff(values, prepend=values[0] - 1 if first_row == 0 else self._last)
        self._counts_rows = self._counts_rows and bool((steps == 1).all())
        self._last = float(values[-1])

    @property
    def column(self) -> Column:
        """What it is.

        Raises:
            InputError: if it can't be learned from.
        """
        if not self._num_there:
            raise self._refusal(f"holds nothing: all {self._num_rows:,} entries are missing")
        dtype = str(self.type)
        if pa.types.is_boolean(self.type):
            return self._truth(("False", "True"), dtype)
        if self._is_named:
            return self._category(dtype)
        low, high = min(self._ends), max(self._ends)
        if low == high:
            raise self._refusal(f"has the same value, {self._shown(low)}, in every row: a constant has no density")
        if is_date(self.type):
            return Column(self.name, "date", dtype, format=self.source.formats.get(self.name, ""))
        if self._is_whole and self._counts_rows and self._num_rows >= _FEWEST_COUNTED and not self.is_wanted:
            raise self._refusal(f"counts the rows, from {low:g} to {high:g}", "keep it by naming it in --columns")
        return Column(self.name, "integer" if self._is_whole else "real", dtype)

    def _category(self, dtype: str) -> Column:
        names = [*self._names]
        if not pa.types.is_dictionary(self.type):  # whose order is somebody's choice
            names.sort(key=None if is_text(self.type) else float)
        if len(names) == 1:
            raise self._refusal(f"has the same value, {names[0]!r:.60}, in every row: a constant has no density")
        if {name.lower() for name in names} in TRUTH and len(names) == 2 and is_string(self.type):
            return self._truth(tuple(sorted(names, key=lambda name: name.lower() in ("true", "yes"))), dtype)
        most = _MOST_NAMED if self.is_named else MOST_CATEGORIES
        if len(names) > most or (not self.is_named and 2 * len(names) > max(self._num_there, 8)):
            number = f"{len(names):,}" if len(names) <= _MOST_NAMED else f"more than {_MOST_NAMED:,}"
            instead = "" if self.is_named else f"if they are categories, give --categorical {self.name}"
            if (signs := _NUMBER_WITH_A_SIGN.fullmatch(names[0])) and (sign := signs[1] or signs[2]):
                instead = f"if they are numbers, write them without {sign}; {instead}"
            elif _LIKE_A_DATE.search(names[0]):
                instead = f"if they are dates, {self.source.dates}; {instead}"
            raise self._refusal(
                f"holds {number} different texts in {self._num_there:,} rows, such as {names[0]!r:.40}", instead
            )
        return Column(self.name, "categorical", dtype, tuple(names))

    def _truth(self, names: tuple[str, ...], dtype: str) -> Column:
        if len(self._names) < 2:
            raise self._refusal(
                f"has the same value, {next(iter(self._names))}, in every row: a constant has no density"
            )
        return Column(self.name, "boolean", dtype, names)

    def _shown(self, value: float) -> str:
        return str(pa.scalar(int(value * 1e6), pa.timestamp("us"))) if is_date(self.type) else f"{value:g}"

    def _refusal(self, what: str, instead: str = "") -> InputError:
        remedy = f"; {instead}" if instead else ""
        return InputError(
            f"{self.source.name}: column {self.name} {what}: leave it out with --ignore {self.name}{remedy}"
        )
