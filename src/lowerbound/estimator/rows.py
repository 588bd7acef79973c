"""Rows as scikit-learn takes them, arrays or dataframes, to what a run learns and knows, and back."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import narwhals as nw
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from lowerbound.data import Levels
from lowerbound.data.columns import Column
from lowerbound.data.dataset import Examples
from lowerbound.data.spec import DataSpec
from lowerbound.data.tables.frames import from_dataframe, to_dataframe
from lowerbound.errors import InputError

_FLAGS = {
    r" with --ignore [^;,:]+": "",
    r"give --categorical [^;,:]+": "make them categories by the column's type",
    r"; keep it by naming it in --columns": "",
    r"all such rows with --skip-bad-rows": "all such rows",
}
"""What messages advise that is of the command line, and what it is for those who have an array or a dataframe."""
FEWEST_ROWS = 4
"""That can be fitted: two to train on, two held out."""

Columns = Sequence[int] | Sequence[str] | Sequence[bool] | np.ndarray | slice | int | str


def examples_of(estimator: BaseEstimator, X: Any) -> Examples:
    """What is to be fitted: a dataframe's columns by their types, and an array's as real numbers.

    The estimator is told of the columns' number and names, and of nothing else.
    """
    if is_frame(X):
        examples = from_dataframe(X)  # which says more of what is wrong with it
        validate_data(estimator, X, skip_check_array=True)
        return examples
    settings = {"dtype": np.float64, "ensure_all_finite": "allow-nan", "ensure_min_samples": FEWEST_ROWS}
    rows = np.asarray(validate_data(estimator, X, **settings))
    columns = tuple(Column(str(index), "real", "double") for index in range(rows.shape[1]))
    return Examples("array", rows, "ND", columns=columns)


def stored(estimator: BaseEstimator, X: Any, spec: DataSpec, *, may_miss: bool = False) -> np.ndarray:
    """Rows as a run's data are stored, after a look whether they are what the estimator was fitted to.

    may_miss: whether entries may be missing though none was in what the run learned from.
    """
    if is_frame(X) and spec.columns:
        validate_data(estimator, X, reset=False, skip_check_array=True)
        return np.asarray(from_dataframe(X, spec).values)
    rows = np.asarray(validate_data(estimator, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan"))
    if not (may_miss or spec.has_missing) and np.isnan(rows).any():
        raise InputError(
            "X has missing entries, NaN, and the rows that were fitted had none: fit rows with gaps, or fill them in first"
        )
    if isinstance(spec.encoding, Levels) and (rows != np.rint(rows)).any():
        raise InputError(
            f"the run knows levels, which are whole numbers, and X holds {rows[rows != np.rint(rows)][0]:g}"
        )
    return rows.astype(spec.encoding.dtype).reshape(-1, *spec.raw_shape)


@contextmanager
def without_flags() -> Generator[None]:
    """Errors in the data advise what can be done to an array or a dataframe, in the place of flags of the command line."""
    try:
        yield
    except InputError as error:
        message = str(error)
        for flag, advice in _FLAGS.items():
            message = re.sub(flag, advice, message)
        raise InputError(message) from error


def backend_of(X: Any) -> str | None:
    """The library whose dataframe the rows come as, or None of an array."""
    return nw.get_native_namespace(X).__name__ if is_frame(X) else None


def as_given(rows: np.ndarray, spec: DataSpec, backend: str | None) -> Any:
    """Rows as they came: a dataframe of the same library after a fit to one, else an array."""
    return rows if backend is None else to_dataframe(spec, rows, backend)


def is_frame(X: Any) -> bool:
    """Whether rows come as a dataframe, of pandas, polars or pyarrow."""
    return hasattr(X, "columns")


def chosen_columns(columns: Columns, num_columns: int, names: Sequence[str]) -> np.ndarray:
    """Which columns are meant, (num_columns,) booleans.

    columns: numbers, booleans, a slice, or names.
    names: of all columns, if they have any.
    """
    places = np.zeros(num_columns, bool)
    chosen = np.atleast_1d(np.arange(num_columns)[columns] if isinstance(columns, slice) else np.asarray(columns))
    if chosen.dtype.kind in "UO":
        if missing := [name for name in chosen.tolist() if name not in names]:
            raise InputError(f"there is no column {missing[0]!r}: the columns are {', '.join(names) or 'not named'}")
        chosen = np.array([names.index(name) for name in chosen.tolist()])
    try:
        places[chosen if len(chosen) else slice(0)] = True
    except IndexError as error:
        raise InputError(f"given is {columns!r}: give names, numbers below {num_columns}, or booleans") from error
    return places


def summary(drawn: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray:
    """One value for several draws (N, n, C) of each: the mean, to a whole number of integers; the most frequent category."""
    values = drawn.mean(1)
    for index, column in enumerate(columns):
        if column.kind == "integer":
            values[:, index] = np.rint(values[:, index])
        elif column.categories:
            counts = (drawn[:, :, index, None] == np.arange(len(column.categories))).sum(1)
            values[:, index] = counts.argmax(1)
    return values
