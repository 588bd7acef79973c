"""What each column of a table is, found out over all of its rows.

A column is one of numbers, whole or not, of dates, of categories, or of truth values (`columns.Column`). What can't be
learned from is refused, with what leaves it out: free texts, names of which no two are the same, the numbers of the rows,
one value throughout, or nothing at all.
"""

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lowerbound.data.columns import Column
from lowerbound.data.config import DataConfig
from lowerbound.data.tables.arrow_values import floats, is_date, is_number, is_text, texts
from lowerbound.data.tables.source import TableSource
from lowerbound.errors import InputError
from lowerbound.files.arrow import is_string, pc

TRUTH = ({"false", "true"}, {"no", "yes"})
"""Pairs of words that are truth values."""
MOST_CATEGORIES = 256
"""Of a column of texts that is not named by --categorical."""
_MOST_NAMED = 65_536
"""Of one that is."""
_NUMBER_WITH_A_SIGN = re.compile(r"([$€£¥]?)\s*[-+]?\d[\d.,']*\s*([%$€£¥]?)")
_LIKE_A_DATE = re.compile(r"\d[-/. ]+\w+[-/. ]+\d|\d:\d\d")
_FEWEST_COUNTED = 10
"""Rows from which on a column that counts them is taken for their numbers."""


def recognised(source: TableSource, config: DataConfig) -> tuple[Column, ...]:
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
                used = texts(names).to_pylist() if is_text(self.type) else category_names(names).to_pylist()
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


def category_names(array: pa.Array) -> pa.Array:
    """Values as the names of categories."""
    if pa.types.is_boolean(array.type):
        return pc.if_else(array, "True", "False")
    return texts(array)
