"""Columns of tables, and channels of arrays: what their stored values mean."""

import re
from dataclasses import dataclass
from typing import Literal

from lowerbound.data.tables.zones import UTC
from lowerbound.errors import InputError

ColumnKind = Literal["real", "integer", "categorical", "boolean", "date"]


@dataclass(frozen=True)
class Column:
    """A column of a table, whose stored values are float64, NaN where an entry is missing.

    A real number or an integer is stored as it is, a category or a truth value as its place in `categories`, and a date as
    seconds since 1970, in UTC if it has a time zone.

    Arguments:
        name: as it stands above the column.
        kind: what its values are.
        dtype: the type that they came in and go out in, as Arrow calls it: "double", "int64", "string", "timestamp[us]", ...
        categories: the names of its categories or, of truth values, of False and True; empty for other kinds.
        format: of a date in a table of text, how it is written there, as strftime has it: "%Y-%m-%d"; empty otherwise. An
            offset from UTC stands in it as it is: "%Y-%m-%dT%H:%M:%S+02:00".

    Raises:
        InputError: if there are categories where none belong, none where there should be, or one twice.
    """

    name: str
    kind: ColumnKind
    dtype: str
    categories: tuple[str, ...] = ()
    format: str = ""

    @property
    def zone(self) -> str:
        """The time zone of dates as Arrow names it, "UTC", "+02:00" or "Europe/Rome"; empty of dates without one."""
        if match := re.search(r"tz=(.+)\]", self.dtype):
            return match[1]
        return UTC if self.format.endswith("Z") else ""  # as runs from before have it

    def __post_init__(self):
        if (self.kind in ("categorical", "boolean")) != bool(self.categories):
            raise InputError(
                f"column {self.name}: {len(self.categories)} categories do not go with the kind {self.kind}"
            )
        if len(set(self.categories)) < len(self.categories):
            raise InputError(f"column {self.name}: a category is there twice")
