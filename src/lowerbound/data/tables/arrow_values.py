"""Values of Arrow's columns as float64, NaN where one is missing, and back; what double precision can't hold is refused."""

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from lowerbound.data.columns import Column
from lowerbound.data.tables import zones
from lowerbound.errors import InputError
from lowerbound.files.arrow import is_string, pc, printed, where

Location = Callable[[int], str]
"""Where a row is, for messages."""
_MICROSECONDS = 1e6
_PARAMETRIC = {
    r"timestamp\[(\w+), tz=(.+)\]": pa.timestamp,
    r"timestamp\[(\w+)\]": pa.timestamp,
    r"decimal(?:32|64|128|256)\((\d+), (-?\d+)\)": lambda precision, scale: pa.decimal128(int(precision), int(scale)),
    r"dictionary<values=(\w+), .*>": lambda values: pa.dictionary(pa.int32(), arrow_type(values)),
    r"date(32|64)\[\w+\]": lambda bits: pa.date32() if bits == "32" else pa.date64(),
}
"""Arrow's types that have arguments, by how it writes them."""


def arrow_type(dtype: str) -> pa.DataType:
    """Arrow's type of a name that it gives, as `str(type)` does.

    Raises:
        InputError: if it is none that columns have.
    """
    for pattern, make in _PARAMETRIC.items():
        if match := re.fullmatch(pattern, dtype):
            return make(*match.groups())
    try:
        return pa.type_for_alias(dtype)
    except ValueError:
        raise InputError(f"a column of type {dtype}, which is none that is read or written") from None


def is_text(kind: pa.DataType) -> bool:
    """Whether values are names, in a dictionary or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return is_string(kind)


def is_date(kind: pa.DataType) -> bool:
    """Whether values are days or times."""
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether values are real or whole numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def texts(values: pa.Array) -> pa.Array:
    """Values as names, fit to be printed."""
    kind = values.type
    return printed(values.cast(kind.value_type if pa.types.is_dictionary(kind) else pa.string()).cast(pa.string()))


def floats(values: pa.Array, name: str, location: Location, first_row: int = 0) -> np.ndarray:
    """Numbers, or dates in seconds since 1970, as float64, NaN where one is missing.

    Arguments:
        values: of a column.
        name: of it.
        location: where a row is.
        first_row: of these.

    Raises:
        InputError: naming the row, for an infinite value, or one that double precision does not hold.
    """
    kind = values.type

    def refuse(row: int, reason: str) -> InputError:
        return InputError(
            f"{location(first_row + row)}, column {name}: {values[row]} {reason}: leave the column out with --ignore "
            f"{name}, or store it otherwise"
        )

    if is_date(kind):
        times = values.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        back = times.cast(kind, safe=False)
        seconds = times.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) / _MICROSECONDS
    else:
        seconds = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        infinite = np.flatnonzero(np.isinf(seconds))
        if len(infinite):
            raise refuse(int(infinite[0]), "is infinite")
        if not (pa.types.is_decimal(kind) or (pa.types.is_integer(kind) and kind.bit_width == 64)):
            return seconds
        if pa.types.is_integer(kind):
            large = np.flatnonzero(np.abs(seconds) >= 2.0**53)
            if len(large):
                raise refuse(int(large[0]), "has more digits than double precision holds")
            return seconds
        back = _decimals(pa.array(seconds, from_pandas=True), kind)
    if len(differs := where(pc.not_equal(back, values))):
        raise refuse(int(differs[0]), "has more digits than double precision holds")
    return seconds


def from_floats(values: np.ndarray, column: Column) -> pa.Array:
    """Float64 values of a column in the type that they came in; null where one is missing.

    What its type has no place for becomes the nearest that it has: a whole number beyond its ends, a fraction of a unit.
    """
    kind = arrow_type(column.dtype)
    missing = np.isnan(values)
    if column.categories:
        indices = pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)
        if pa.types.is_boolean(kind):
            return pc.equal(indices, 1)
        if pa.types.is_dictionary(kind):
            names = pa.array(column.categories).cast(kind.value_type)
            return pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), names)
        return pa.array(column.categories).take(indices).cast(kind)  # of views no entry is taken
    if is_date(kind):
        micro = pa.array(np.rint(np.where(missing, 0, values) * _MICROSECONDS).astype(np.int64), mask=missing)
        times = micro.cast(pa.timestamp("us", getattr(kind, "tz", None)))
        return times.cast(kind, safe=False)
    if pa.types.is_integer(kind):
        ends = np.iinfo(kind.to_pandas_dtype())
        whole = np.clip(np.rint(np.where(missing, 0, values)), ends.min, min(ends.max, 2**53))
        return pa.array(whole.astype(np.int64), mask=missing).cast(kind)
    numbers = pa.array(values, mask=missing)
    return _decimals(numbers, kind) if pa.types.is_decimal(kind) else numbers.cast(kind, safe=False)


def as_written(values: pa.Array, column: Column) -> pa.Array:
    """Dates of a column from a table of text as they were written there; all else as it is."""
    if not column.format:
        return values
    whole = column.format.replace(".%f", "")
    values = zones.local(values)
    days = pc.strftime(values.cast(pa.timestamp("s"), safe=False), format=whole)
    if whole == column.format:
        return days
    micro = pc.microsecond(values).cast(pa.int64()), pc.millisecond(values).cast(pa.int64())
    fraction = pc.utf8_lpad(pc.add(pc.multiply(micro[1], 1000), micro[0]).cast(pa.string()), 6, "0")
    before, behind = whole.split("%S")
    seconds = pc.strftime(values.cast(pa.timestamp("s"), safe=False), format=f"{before}%S")
    return pc.binary_join_element_wise(pc.binary_join_element_wise(seconds, fraction, "."), behind, "")


def _decimals(numbers: pa.Array, kind: pa.DataType) -> pa.Array:
    """The nearest decimals of a type."""
    largest = 10.0 ** (kind.precision - kind.scale) - 10.0**-kind.scale
    inside = pc.max_element_wise(pc.min_element_wise(numbers, largest, skip_nulls=False), -largest, skip_nulls=False)
    return inside.cast(kind)
