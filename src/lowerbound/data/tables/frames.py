"""Dataframes of pandas, polars and pyarrow: examples from them, and rows as one again."""

from collections import Counter
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from lowerbound.data.config import TABLE_SETTINGS, DataConfig
from lowerbound.data.dataset import Examples
from lowerbound.data.spec import DataSpec
from lowerbound.data.tables.arrow_values import as_written, from_floats
from lowerbound.data.tables.examples import examples, known_columns
from lowerbound.data.tables.source import ArrowTable
from lowerbound.errors import InputError
from lowerbound.words.printable import printable
from lowerbound.words.rounding import nine_digits

NAME = "dataframe"
"""What the data are called."""
SECONDS_OF_A_DAY = 86_400
_MISSING = ("NoneType", "NAType", "NaTType")
"""Types of what stands for a missing value."""


def from_dataframe(frame: Any, spec: DataSpec | None = None, **settings: Any) -> Examples:
    """The rows of a dataframe as examples.

    Arguments:
        frame: of pandas, polars or pyarrow; its index is left out.
        spec: what a run knows, whose columns are then looked for by their names; they are found out if None.
        settings: which columns are wanted, and what they are: `columns`, `ignore`, `categorical`, `condition_on`,
            `conditional`, `densities`, as in `DataConfig`.

    Raises:
        InputError: if it is no dataframe, a column can't be used, or a value has no place, naming row and column.
    """
    config = DataConfig(NAME, **settings)
    config.check_effect(TABLE_SETTINGS, NAME)
    return examples(ArrowTable(_arrow(frame), NAME, config, known_columns(spec)), config, spec)


def to_table(spec: DataSpec, raw: np.ndarray, as_text: bool = False, conditions: np.ndarray | None = None) -> pa.Table:
    """Rows as they are stored, (N, C), as a table of Arrow with the names, types and order that they came in.

    Arguments:
        spec: of the table that they are rows of.
        raw: samples, say, as `generate` gives them; NaN where one is missing.
        as_text: dates from a table of text as they were written there.
        conditions: what stands in the columns that are the rows' condition, (N, F), each of which is put where it stood.

    Raises:
        InputError: if they are no rows of the table that `spec` describes.
    """
    columns = spec.columns
    if not columns or raw.ndim != 2 or raw.shape[1] != len(columns):
        raise InputError(f"values of shape {raw.shape} are no rows of {spec.name}, which has {len(columns)} columns")
    values = list(zip(raw.T, columns, strict=True))
    if conditions is not None:
        pairs = list(zip(conditions.T, spec.condition_columns, strict=True))
        places = spec.condition_places or range(len(columns), len(columns) + len(pairs))
        for index, condition in sorted(zip(places, pairs, strict=True), key=lambda each: each[0]):
            values.insert(index, condition)
        columns = tuple(column for _, column in values)
    arrays = [from_floats(np.asarray(each, np.float64), column) for each, column in values]
    if as_text:
        arrays = [as_written(array, column) for array, column in zip(arrays, columns, strict=True)]
    return pa.table(arrays, [column.name for column in columns])


def imputed_table(
    spec: DataSpec,
    samples: np.ndarray,
    observed: np.ndarray,
    numbers: np.ndarray,
    as_text: bool = False,
    conditions: np.ndarray | None = None,
) -> pa.Table:
    """Several imputations of rows, (N, K, C), as a table: one above another, after their example's number and their own.

    Behind them stand, for each column that had gaps, what its imputations come to in each row whose entry was one: mean and
    standard deviation (of dates in days), or of categories the share of the imputations that have this row's.

    Arguments:
        spec: of the table that they are rows of.
        samples: the imputations; of a single one each, the rows alone make the table.
        observed: True where an entry was known, (N, C).
        numbers: of the examples, (N,), counted from 0, as the imputations are.
        as_text, conditions: as in `to_table`, the latter of each row.
    """
    num_rows, num_samples = samples.shape[:2]
    conditions_of_draws = None if conditions is None else conditions.repeat(num_samples, 0)
    table = to_table(spec, samples.reshape(num_rows * num_samples, -1), as_text, conditions_of_draws)
    if num_samples == 1:
        return table
    counts = {"imputation": np.tile(np.arange(num_samples), num_rows), "example": np.repeat(numbers, num_samples)}
    for name, count in counts.items():
        table = table.add_column(0, _free(name, table), pa.array(count))
    for name, summary in _summaries(spec, samples, observed, as_text).items():
        table = table.append_column(_free(name, table), summary)
    return table


def _free(name: str, table: pa.Table) -> str:
    """A name that no column of the table has: with a _ behind it."""
    while name in table.column_names:
        name += "_"
    return name


def _summaries(spec: DataSpec, samples: np.ndarray, observed: np.ndarray, as_text: bool) -> dict[str, pa.Array]:
    """What the imputations of each entry come to, in each row of the table; null where the entry was known."""
    summaries = dict[str, pa.Array]()
    centers = np.broadcast_to(spec.encoding.centers, len(spec.columns))
    for index, column in enumerate(spec.columns):
        gaps = ~observed[:, index]
        drawn = samples[gaps, :, index].astype(np.float64)  # of the gaps alone

        def of_rows(values: np.ndarray, about: float = 0.0, gaps: np.ndarray = gaps) -> np.ndarray:
            rows = np.full(samples.shape[:2], np.nan)
            rows[gaps] = values
            return nine_digits(rows.reshape(-1), about)

        if not len(drawn):
            continue
        if column.categories:
            same = [drawn == code for code in range(len(column.categories))]
            shares = sum(each * each.mean(1, keepdims=True) for each in same)
            summaries[f"{column.name} share"] = pa.array(of_rows(np.asarray(shares)), from_pandas=True)
            continue
        mean = of_rows(drawn.mean(1, keepdims=True), centers[index])
        std = of_rows(drawn.std(1, ddof=1, keepdims=True))
        if column.kind == "date":
            dates = from_floats(mean, column)
            summaries[f"{column.name} mean"] = as_written(dates, column) if as_text else dates
            std = std / SECONDS_OF_A_DAY
        else:
            summaries[f"{column.name} mean"] = pa.array(mean, from_pandas=True)
        summaries[f"{column.name} std"] = pa.array(std, from_pandas=True)
    return summaries


def to_dataframe(spec: DataSpec, raw: np.ndarray, like: Any = None) -> Any:
    """Rows as they are stored, (N, C), as a dataframe with the names, types and order that they came in.

    Arguments:
        spec: of the table that they are rows of.
        raw: samples, say, as `generate` gives them.
        like: a dataframe of the library that it is to be of, pandas or polars, or the library's name; of pyarrow if None.

    Raises:
        InputError: as `to_table`.
    """
    table = to_table(spec, raw)
    if like is None:
        return table
    library: Any = like if isinstance(like, str) else nw.get_native_namespace(like)
    return nw.from_arrow(table, backend=library).to_native()


def _arrow(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    try:
        return nw.from_native(frame, eager_only=True).to_arrow()
    except TypeError as error:
        raise InputError(
            f"data of type {type(frame).__name__}: give a dataframe of pandas, polars or pyarrow, or the name of data or "
            "of a file"
        ) from error
    except nw.exceptions.DuplicateError as error:
        names = list(map(str, frame.columns))
        twice = next(name for name in names if names.count(name) > 1)
        numbers = [str(number) for number, name in enumerate(names, 1) if name == twice]
        raise InputError(
            f"{NAME}: columns {' and '.join(numbers)} have the same name, {printable(twice)}: rename one of them"
        ) from error
    except (pa.ArrowException, ValueError) as error:
        reason = _odd_one(frame) or " ".join(map(str, error.args))
        raise InputError(f"{NAME}: a column holds values of several types: {reason}") from error


def _odd_one(frame: Any) -> str:
    """The first value of a dataframe that is not of its column's commonest type, in words; empty if there is none."""
    for name in frame.columns:
        present = [(row, value) for row, value in enumerate(frame[name].to_list(), 1) if _kind(value) not in _MISSING]
        kinds = Counter(_kind(value) for _, value in present).most_common()
        if len(kinds) > 1:
            usual, number = kinds[0]
            row, odd = next((row, value) for row, value in present if _kind(value) != usual)
            return (
                f"row {row}, column {printable(str(name))}: {printable(repr(odd)):.60} is of type {_kind(odd)}, and "
                f"{number:,} others are of type {usual}: correct it, make it missing, or make all of them text"
            )
    return ""


def _kind(value: Any) -> str:
    """The type of a value; numbers are all alike."""
    if isinstance(value, float | np.floating) and np.isnan(value):
        return "NoneType"
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__
