"""Vectors of conditions: what stands in the columns of a table that are a row's condition, and back."""

import numpy as np

from lowerbound.data.columns import Column


def condition_values(conditions: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray:
    """The values of columns, (N, C), that labels (N,) or condition vectors (N, F) are made of; NaN where none is given."""
    if conditions.ndim == 1:
        return np.where(conditions < 0, np.nan, conditions.astype(np.float64))[:, None]
    ends = np.cumsum([max(1, len(column.categories)) for column in columns])[:-1]
    parts = zip(columns, np.split(conditions.astype(np.float64), ends, 1), strict=True)
    values = [
        np.where(np.isnan(part[:, 0]), np.nan, part.argmax(1) if c.categories else part[:, 0]) for c, part in parts
    ]
    return np.stack(values, 1)


def condition_vectors(values: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray:
    """Condition vectors (N, F) of the values of columns, (N, C): numbers as they are, a block of zeros and a one for a
    category."""
    parts = []
    for index, column in enumerate(columns):
        of_column = values[:, index, None]
        parts.append(
            (of_column == np.arange(len(column.categories))).astype(np.float64) if column.categories else of_column
        )
    return np.concatenate(parts, 1)
