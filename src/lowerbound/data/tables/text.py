"""Tables of text (.csv, .tsv, .txt): read by blocks, in typed columns."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from lowerbound.data.columns import Column, ColumnKind
from lowerbound.data.config import DataConfig
from lowerbound.data.tables import zones
from lowerbound.data.tables.dialect import Dialect, recognise
from lowerbound.data.tables.source import TableSource, chosen_places
from lowerbound.data.tables.text_types import MISSING, TextColumn
from lowerbound.errors import InputError
from lowerbound.words.counts import counted
from lowerbound.words.printable import printable

_BLOCK = 1 << 24
"""Bytes of a block, each of which holds whole rows."""


class TextTable(TableSource):
    """A table of text. It is gone through once to see what its columns are, and again for its rows.

    Arguments:
        path: its file.
        config: how it is to be read, where that is said.
        known: the columns that a run knows, whose kinds are then not found out.

    Raises:
        InputError: if it can't be read as a table, naming the line and the column.
    """

    dates = (
        "say how they are written with --date-format, such as '%d %b %Y', or write them as 2024-12-31T23:59:59.5+00:00"
    )

    def __init__(self, path: Path, config: DataConfig, known: tuple[Column, ...] = ()):
        self.name = str(path)
        self._dialect, self._skips = recognise(path, config), config.skip_bad_rows
        self._dialect.check()
        names = self._dialect.names
        self._places = chosen_places(list(names), self.name, config, known)
        used = [names[index] for index in self._places]
        kinds: dict[str, ColumnKind] = {column.name: column.kind for column in known}
        marks = pa.array([*MISSING, *config.missing])
        self._columns = [
            TextColumn(
                name,
                self._dialect.numbers,
                marks,
                self.location,
                kinds.get(name),
                config.date_format,
                not known and name in config.categorical,
            )
            for name in used
        ]
        self._is_small, self._kept = path.stat().st_size <= _BLOCK, []
        self._bad_rows: list[int] = []
        self.num_rows = 0
        for batch in self._texts():
            for column, texts in zip(self._columns, batch.columns, strict=True):
                column.look(texts, self.num_rows)
            self.num_rows += batch.num_rows
        if not self.num_rows:
            raise InputError(f"{path} holds no rows")
        self._types = [column.type for column in self._columns]
        self.schema = pa.schema([(name, kind.arrow) for name, kind in zip(used, self._types, strict=True)])
        self.formats = {name: kind.written for name, kind in zip(used, self._types, strict=True) if kind.format}
        for name, kind in zip(used, self._types, strict=True):
            if kind.offsets and zones.common(kind.offsets) is None:
                warnings.warn(
                    f"{path}, column {name}: times of several offsets from UTC ({', '.join(kind.offsets)}), which are "
                    "written in UTC again",
                    stacklevel=4,
                )
        if self._bad_rows:
            num, first = len(self._bad_rows), self._bad_rows[0]
            warnings.warn(
                f"{path}: {counted(num, 'row')} of another number of entries left out (line "
                f"{self._dialect.line(first)}{' and others' * (num > 1)})",
                stacklevel=4,
            )

    @property
    def note(self) -> str:
        """How the table was read, in words."""
        seen_marks = sorted(set().union(*(column.marks for column in self._columns)) - {""})
        marks = f", missing entries written {', '.join(map(printable, seen_marks))}" if seen_marks else ""
        return self._dialect.note + marks

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self._is_small and not self._kept:
            self._kept = [*self._converted()]
        yield from self._kept or self._converted()

    def _converted(self) -> Iterator[pa.RecordBatch]:
        first_row = 0
        for batch in self._texts():
            arrays = [
                column.convert(texts, kind, first_row)
                for column, texts, kind in zip(self._columns, batch.columns, self._types, strict=True)
            ]
            first_row += batch.num_rows
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def location(self, row: int) -> str:
        for bad in sorted(self._bad_rows):  # rows that were left out count in the file
            row += bad <= row
        return f"{self.name}, line {self._dialect.line(row):,}"

    def _texts(self) -> Iterator[pa.RecordBatch]:
        """The entries of the chosen columns as they stand there."""
        dialect, bad_rows = self._dialect, []
        names = [str(index) for index in range(len(dialect.names))]
        wanted = [str(index) for index in self._places]
        is_single = len(names) == 1

        def complain(row: csv.InvalidRow) -> str:
            bad_rows.append((row.number - 1, row.actual_columns))
            return "skip" if self._skips else "error"

        try:
            with csv.open_csv(
                pa.PythonFile(_Joined(dialect), mode="r"),
                csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
                # an empty line is a missing entry where there is one column
                csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=not is_single,
                    invalid_row_handler=complain,
                ),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), include_columns=wanted, check_utf8=False
                ),
            ) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            if bad_rows:
                raise self._ragged(*bad_rows[0]) from error
            if "Empty CSV" in str(error):
                return
            raise InputError(f"{self.name} cannot be read as a table: {str(error).splitlines()[0]}") from error
        self._bad_rows = [row for row, _ in bad_rows]

    def _ragged(self, row: int, num_entries: int) -> InputError:
        num = len(self._dialect.names)
        return InputError(
            f"{self.name}, line {self._dialect.line(row):,} has {num_entries} entr{'y' if num_entries == 1 else 'ies'} "
            f"where {num} columns are: mend it (put an entry with a separator in it between quotation marks), give "
            "--separator if the columns are separated otherwise, or --skip-bad-rows to leave out such rows"
        )


class _Joined(io.RawIOBase):
    """The pieces of a table as one file."""

    def __init__(self, dialect: Dialect):
        self._pieces = dialect.pieces()
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as many at most; of a negative size all."""
        parts, wanted = [], size
        while wanted:
            if not len(self._left):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._left = memoryview(piece)
            part = self._left[:wanted] if wanted > 0 else self._left
            self._left = self._left[len(part) :]
            parts.append(part)
            wanted -= len(part) if wanted > 0 else 0
        return b"".join(parts)
