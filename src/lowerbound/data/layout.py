"""Orders of axes: data come in the order that their field uses, the model works on (N, C, *spatial) or (N, D)."""

import numpy as np

from lowerbound.errors import InputError

LAYOUTS = ("N", "ND", "NL", "NCL", "NLC", "NHW", "NCHW", "NHWC", "NDHW", "NCDHW", "NDHWC")
"""N examples, C channels, L positions in a series, H x W pixels, depth D of a volume; in ND, D features of a vector."""

_COLOURS = (1, 3, 4)


def guess_layout(shape: tuple[int, ...]) -> str:
    """The usual order of an array's axes by their number: N, ND, NHW, NHWC or NCHW, NCDHW.

    Four axes are NHWC if the last has 1, 3 or 4 entries and the second has not, else NCHW.

    Raises:
        InputError: for no axis at all or more than five.
    """
    if len(shape) == 4:
        return "NHWC" if shape[3] in _COLOURS and shape[1] not in _COLOURS else "NCHW"
    guesses = {1: "N", 2: "ND", 3: "NHW", 5: "NCDHW"}
    if len(shape) not in guesses:
        raise InputError(
            f"an array of shape {shape} has {len(shape)} axes: between 1 and 5 are accepted, examples first"
        )
    return guesses[len(shape)]


def channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    """An array in the given order of axes as (N, C, *spatial), or as (N, D) for vectors.

    Raises:
        InputError: if the layout is unknown or has another number of axes.
    """
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}: it is one of {', '.join(LAYOUTS)}")
    if len(layout) != array.ndim:
        raise InputError(f"layout {layout} has {len(layout)} axes, but the array is of shape {array.shape}")
    if layout == "ND":
        return array
    if "C" not in layout:
        return array[:, None]
    return np.ascontiguousarray(np.moveaxis(array, layout.index("C"), 1))


def original_layout(array: np.ndarray, layout: str) -> np.ndarray:
    """The inverse of `channels_first`: samples in the order of axes that the data came in."""
    if layout == "ND":
        return array
    if "C" not in layout:
        return array[:, 0]
    return np.moveaxis(array, 1, layout.index("C"))
