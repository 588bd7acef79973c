"""Where a table comes from: batches of typed columns, read as often as they are asked for, each row with a place."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import pyarrow as pa

from lowerbound.data.columns import Column
from lowerbound.data.config import DataConfig
from lowerbound.data.damage import undamaged
from lowerbound.errors import InputError
from lowerbound.words.nearest import nearest
from lowerbound.words.printable import printable

BATCH_VALUES = 1 << 21
"""Entries of a batch, of a file whose batches we choose."""
_NAMED = 8
"""Names that a message lists."""


class TableSource(ABC):
    """A table.

    Attributes:
        name: of the table, for messages.
        schema: the chosen columns by names fit to be printed, with their types.
        num_rows: how many rows it has.
        formats: of dates in text, by the columns' names.
    """

    name: str
    schema: pa.Schema
    num_rows: int
    formats: Mapping[str, str] = MappingProxyType({})
    dates: ClassVar[str] = "store them as such, with a type of dates or times"
    """How texts that were not known as dates become some, for messages."""

    @property
    def note(self) -> str:
        """How it was read, in words; empty where nothing had to be found out."""
        return ""

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows from the first to the last, of the columns of `schema` in its order."""

    def location(self, row: int) -> str:
        """Where a row is, counted from 0, for messages."""
        return f"{self.name}, row {row + 1:,}"


class ArrowTable(TableSource):
    """A table in memory."""

    def __init__(self, table: pa.Table, name: str, config: DataConfig, known: tuple[Column, ...] = ()):
        table = table.select(chosen_places(table.column_names, name, config, known))
        table = table.rename_columns([printable(name) for name in table.column_names]).replace_schema_metadata(None)
        self.name, self.schema, self.num_rows, self._table = name, table.schema, table.num_rows, table

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self._table.to_batches(max(1, BATCH_VALUES // max(1, self._table.num_columns)))


class ParquetFile(TableSource):
    """A .parquet file, read in batches."""

    def __init__(self, path: Path, config: DataConfig, known: tuple[Column, ...] = ()):
        from pyarrow import parquet

        self.name, self._path = str(path), path
        with undamaged(str(path)):
            file = parquet.ParquetFile(path)
            self.num_rows = file.metadata.num_rows
            schema = file.schema_arrow
        places = chosen_places(schema.names, self.name, config, known)
        fields = [schema.field(index) for index in places]
        self._names = [field.name for field in fields]
        self.schema = pa.schema([field.with_name(printable(field.name)) for field in fields])

    def batches(self) -> Iterator[pa.RecordBatch]:
        from pyarrow import parquet

        size = max(1, BATCH_VALUES // max(1, len(self._names)))
        with undamaged(self.name):
            for batch in parquet.ParquetFile(self._path).iter_batches(size, columns=self._names):
                yield pa.RecordBatch.from_arrays([batch.column(name) for name in self._names], schema=self.schema)


class ArrowFile(ArrowTable):
    """A .feather or .arrow file, mapped into memory."""

    def __init__(self, path: Path, config: DataConfig, known: tuple[Column, ...] = ()):
        with undamaged(str(path)):
            mapped = pa.memory_map(str(path))
            try:
                table = pa.ipc.open_file(mapped).read_all()
            except pa.ArrowInvalid:  # a stream, or of before there was Arrow's own format
                mapped.seek(0)
                table = _other_feather(path, mapped)
        super().__init__(table, str(path), config, known)

    def batches(self) -> Iterator[pa.RecordBatch]:
        with undamaged(self.name):
            yield from super().batches()


def _other_feather(path: Path, mapped: pa.MemoryMappedFile) -> pa.Table:
    from pyarrow import feather

    try:
        return pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        return feather.read_table(path)


def chosen_places(names: list[str], where: str, config: DataConfig, known: tuple[Column, ...]) -> list[int]:
    """Which of a table's columns are used, in order.

    Arguments:
        names: of all of its columns, as they stand there.
        where: the table, for messages.
        config: which columns are wanted, and which not.
        known: the columns that a run knows; none where they are to be found out. Others are left out with a warning, and
            so are conditions of which none is there.

    Raises:
        InputError: if one that is named is not there, or several have the same name, or one has none.
    """
    names = [printable(name.strip()) for name in names]
    present, ignored = set(names), set(config.ignore)
    if known:
        wanted = [column.name for column in known]
        conditions = [name for name in config.condition_on if name in wanted]
        if conditions and present.isdisjoint(conditions):
            wanted = [name for name in wanted if name not in conditions]
            warnings.warn(
                f"{where} has no column {_listed(conditions)}, the run's condition: its rows are taken without one",
                stacklevel=4,
            )
        known_or_ignored = ignored.union(wanted)
        extra = [name for name in names if name not in known_or_ignored]
        if extra and present.issuperset(wanted):
            warnings.warn(f"{where}: left out, as the run does not know them: {_listed(extra)}", stacklevel=4)
    else:
        named = {"--columns": config.columns, "--ignore": config.ignore, "--condition-on": config.condition_on}
        for flag, wanted_names in {**named, "--categorical": config.categorical}.items():
            if lacking := [name for name in wanted_names if name not in present]:
                hint = _hint(lacking[0], names)
                raise InputError(
                    f"{flag} {lacking[0]}: {where} has no such column{hint}; its columns are {_listed(names)}"
                )
        for one, other in (("--columns", "--ignore"), ("--columns", "--condition-on"), ("--condition-on", "--ignore")):
            if both := set(named[one]).intersection(named[other]):
                raise InputError(f"{one} and {other} both name {min(both)}: name it in one of the two")
        wanted = [*config.columns, *config.condition_on] if config.columns else names
        wanted = [name for name in wanted if name not in ignored]
    if lacking := [name for name in wanted if name not in present]:
        near = nearest(lacking[0], present.difference(wanted))
        remedy = f"rename {near}, if that is meant, or " if near else ""
        raise InputError(
            f"{where} has no column {lacking[0]}"
            + (f" (nor {_listed(lacking[1:])})" if lacking[1:] else "")
            + f", which the run knows; its columns are {_listed(names)}: {remedy}add it, every entry missing if it is not "
            "known"
        )
    chosen_ones = set(wanted)
    places = [index for index, name in enumerate(names) if name in chosen_ones]
    used = [names[index] for index in places]
    if "" in used:
        raise InputError(
            f"{where}: column {places[used.index('')] + 1} has no name: give it one, or leave it out with --ignore ''"
        )
    if len(set(used)) < len(used):
        first = next(name for name in used if used.count(name) > 1)
        numbers = [str(index + 1) for index, name in enumerate(names) if name == first]
        raise InputError(
            f"{where}: columns {' and '.join(numbers)} have the same name, {first}: rename one of them, or leave out all "
            f"with --ignore {first}"
        )
    if not used:
        raise InputError(f"{where}: no column is left: name some with --columns, or fewer with --ignore")
    position = dict(zip(used, places, strict=True))
    return [position[name] for name in wanted]


def _hint(name: str, names: list[str]) -> str:
    near = nearest(name, names)
    return f", did you mean {near}?" if near else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + f" and {len(names) - _NAMED:,} more" * (len(names) > _NAMED)
