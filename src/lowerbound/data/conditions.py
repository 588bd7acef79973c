"""Files of conditions: vectors, labels, or rows of a table, one for each sample that is wanted."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lowerbound.data.arrays.archive import read_npy
from lowerbound.data.columns import Column
from lowerbound.data.config import DataConfig, Reading
from lowerbound.data.source import read_as
from lowerbound.data.tables.condition_vectors import condition_vectors
from lowerbound.errors import InputError, flag
from lowerbound.files.tables import SUFFIXES as TABLES


def read_conditions(
    path: Path, config: DataConfig | None = None, columns: tuple[Column, ...] = (), reading: Reading | None = None
) -> np.ndarray:
    """What a file of conditions holds: the array of an .npy file, the lines of a text as (N,) words, or of a table what
    stands in the columns that a run's conditions are made of, as words or vectors.

    Arguments:
        path: of the file.
        config: how the tables of a run are written.
        columns: that conditions are made of; none where they are of no table.
        reading: what is said of this file.

    Raises:
        InputError: if it is not there, holds Python objects or nothing, or is damaged, or what is said has no effect on it.
    """
    if columns and config is not None and path.suffix.lower() in TABLES:
        from lowerbound.data.tables.examples import read_condition_columns

        if not path.is_file():
            raise InputError(f"{path} is not there: give a table with the columns {', '.join(c.name for c in columns)}")
        values = read_condition_columns(path, read_as(replace(config, source=str(path)), reading), columns)
        if len(columns) == 1 and columns[0].categories:
            return np.array([columns[0].categories[int(k)] for k in values[:, 0]], dtype=np.str_)
        return condition_vectors(values, columns)
    if reading is not None and reading.changed:
        raise InputError(
            f"{flag(next(iter(reading.changed)))} has no effect on {path}: it says how a table of conditions is read"
        )
    try:
        if path.suffix == ".npy":
            conditions = read_npy(path)
        else:
            lines = (line.strip() for line in path.read_text().splitlines())
            conditions = np.array([line for line in lines if line], dtype=np.str_)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): give an .npy array of vectors or of labels, or a text of one label a line"
        ) from error
    if not conditions.size:
        raise InputError(f"{path} holds no conditions")
    return conditions
