"""Frozen records kept as JSON, and read again with every value checked against the type that its field declares.

A file may have been damaged, cut off, or made by somebody else. What is read is a record whose values are what its dataclass
says, or an error that names the file, the field, the value and what belongs there.

JSON has no word for a number that is not known, such as the standard error of a single example. A field of the type
`Unsure` may be one: NaN in Python, null in the file. Everywhere else NaN is refused.
"""

import dataclasses
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from lowerbound.errors import InputError
from lowerbound.files.whole import read_text
from lowerbound.words.printable import printable
from lowerbound.words.rounding import figure_text

Record = TypeVar("Record")
MOST_BYTES = 1 << 26
"""Of a file of records."""

_UNSURE = "a number, or null where it is not known"
Unsure = Annotated[float, _UNSURE]
"""A number that may be NaN: not known."""


class Measured(NamedTuple):
    """A value and its standard error, NaN where it is not known; in JSON a pair.

    Arguments:
        value: a mean over examples, or another figure of them.
        error: its standard error.
    """

    value: float
    error: Unsure

    def __str__(self) -> str:
        """To the digits that the error leaves, and without a "±" where there is none."""
        return figure_text(self.value, self.error)

    def __sub__(self, other: "Measured") -> "Measured":
        """The difference of two figures whose errors are independent."""
        return Measured(self.value - other.value, math.hypot(self.error, other.error))

    def root(self) -> "Measured":
        r"""$\sqrt a$ of a value $a \ge 0$, with the error $e / (2 \sqrt a)$; 0 of a 0."""
        root = self.value**0.5
        return Measured(root, self.error / (2 * root) if root > 0 else 0.0)

    @classmethod
    def of(cls, values: Float[np.ndarray, " num_examples"]) -> "Measured":
        """The mean of one value for each example, and its error over them.

        Raises:
            InputError: if there are none.
        """
        if not len(values):
            raise InputError("there are no values to take the mean of: give at least one")
        values = np.asarray(values, dtype=np.float64)
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else math.nan
        return cls(float(values.mean()), float(error))


def to_json(record: Any) -> str:
    """A record as JSON, NaN as null."""
    return json.dumps(_plain(dataclasses.asdict(record)), indent=1) + "\n"


def read_json(kind: type[Record], path: Path) -> Record:
    """The record that a file holds.

    Arguments:
        kind: its dataclass.
        path: of the file.

    Raises:
        FileNotFoundError: if there is none.
        InputError: if it is no JSON, or not such a record.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file")
    content = read_text(path, MOST_BYTES)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON: {error}") from error
    return read(kind, values, str(path))


def read(kind: type[Record], values: Any, source: str, name: str = "") -> Record:
    """A record from the values that JSON holds.

    Arguments:
        kind: its dataclass, whose fields may be records themselves.
        values: an object by the names of the fields.
        source: where it is from, for messages.
        name: of the field that it is, with a dot at its end; empty for the whole.

    Raises:
        InputError: for a name that is unknown or lacking, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{source}: {name.rstrip('.') or 'the file'} should be an object, got {reprlib.repr(values)}")
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    if unknown := sorted(set(values) - set(fields)):
        raise InputError(f"{source}: unknown name {name}{_short(unknown[0])}; known are {', '.join(fields)}")
    for field in fields.values():
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{source}: {name}{field.name} is lacking")
    checked = {key: _value(hints[key], value, source, f"{name}{key}") for key, value in values.items()}
    try:
        return kind(**checked)
    except InputError as error:  # what the record itself asks of its values
        raise InputError(f"{source}: {name and name[:-1] + ': '}{error}") from error


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass' fields, found once: a table of thousands of columns has as many records."""
    return typing.get_type_hints(kind, include_extras=True)


def _value(hint: Any, value: Any, source: str, name: str) -> Any:
    """A value as its hint declares it."""
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type, hint), value, source, f"{name}.")
    if hint is Measured:
        return Measured(*_value(tuple[float, Unsure], value, source, name))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        if _UNSURE in hint.__metadata__ and value is None:
            return math.nan
        return _value(arguments[0], value, source, name)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        others = [argument for argument in arguments if argument is not type(None)]
        fitting = others if len(others) == 1 else [other for other in others if _fits(other, value, source, name)]
        if fitting:
            return _value(fitting[0], value, source, name)
    elif origin in (tuple, list) and isinstance(value, list | tuple):
        arguments = _types(origin, arguments, len(value))
        if len(arguments) == len(value):
            items = zip(arguments, value, strict=True)
            return origin(_value(item, each, source, f"{name}[{i}]") for i, (item, each) in enumerate(items))
    elif origin is dict and isinstance(value, Mapping):
        return {key: _value(arguments[1], each, source, f"{name}.{_short(key)}") for key, each in value.items()}
    elif _is(hint, origin, arguments, value):
        return value
    raise InputError(f"{source}: {name} is {reprlib.repr(value)}, which is not {_describe(hint)}")


def _types(origin: Any, arguments: tuple[Any, ...], num: int) -> tuple[Any, ...]:
    """Of the items of a sequence of so many."""
    return arguments[:1] * num if origin is list or arguments[-1] is Ellipsis else arguments


def _is(hint: Any, origin: Any, arguments: tuple[Any, ...], value: Any) -> bool:
    """Whether a plain value is of a type."""
    if origin is Literal:
        return value in arguments
    if hint is float:
        return _is_number(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _fits(hint: Any, value: Any, source: str, name: str) -> bool:
    try:
        _value(hint, value, source, name)
    except InputError:
        return False
    return True


def _short(name: str) -> str:
    """A name from a file, with nothing in it that a terminal would obey."""
    return printable(name) if len(name) < 60 else reprlib.repr(name)


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(arguments)
    if origin is Annotated:
        return hint.__metadata__[0] if _UNSURE in hint.__metadata__ else _describe(arguments[0])
    return str(hint) if origin else getattr(hint, "__name__", str(hint))


def _plain(value: Any) -> Any:
    """A value with null in the place of NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
