"""Columns of tables: what their stored values mean."""

from dataclasses import dataclass
from typing import Literal

from lowerbound.errors import InputError

ColumnKind = Literal["real", "integer", "categorical", "boolean", "date"]


@dataclass(frozen=True)
class Column:
    """A column of a table, whose stored values are float64, NaN where an entry is missing.

    A real number or an integer is stored as it is, a category or a truth value as its place in `categories`, and a date as
    seconds since 1970.

    Arguments:
        name: as it stands above the column.
        kind: what its values are.
        dtype: the type that they came in and go out in, as Arrow calls it: "double", "int64", "string", "timestamp[us]", ...
        categories: the names of its categories or, of truth values, of False and True; empty for other kinds.
        format: of a date in a table of text, how it is written there, as strftime has it: "%Y-%m-%d"; empty otherwise.

    Raises:
        InputError: if there are categories where none belong, none where there should be, or one twice.
    """

    name: str
    kind: ColumnKind
    dtype: str
    categories: tuple[str, ...] = ()
    format: str = ""

    def __post_init__(self):
        if (self.kind in ("categorical", "boolean")) != bool(self.categories):
            raise InputError(
                f"column {self.name}: {len(self.categories)} categories do not go with the kind {self.kind}"
            )
        if len(set(self.categories)) < len(self.categories):
            raise InputError(f"column {self.name}: a category is there twice")
