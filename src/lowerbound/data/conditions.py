"""Files of conditions: vectors or labels, one for each sample that is wanted."""

from pathlib import Path

import numpy as np

from lowerbound.data.arrays import read_npy
from lowerbound.errors import InputError


def read_conditions(path: Path) -> np.ndarray:
    """What a file of conditions holds: the array of an .npy file, or the lines of a text as (N,) words.

    Raises:
        InputError: if it is not there, holds Python objects or nothing, or is damaged.
    """
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
