"""Arrow's functions of columns, which it makes as it is loaded, so that no checker of types knows them; and two of ours."""

from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute

from lowerbound.printable import printable

pc: Any = pyarrow.compute
Texts = TypeVar("Texts", pa.Array, pa.ChunkedArray)


def where(mask: pa.Array) -> np.ndarray:
    """The places at which a column of truth values is true; one that is missing is not."""
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))


def printed(texts: Texts) -> Texts | pa.Array:
    """Texts, fit to be printed."""
    if pc.all(pc.utf8_is_printable(texts)).as_py() is not False:
        return texts
    return pa.array([None if text is None else printable(text) for text in texts.to_pylist()], texts.type)
