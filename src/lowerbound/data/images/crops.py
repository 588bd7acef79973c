"""Pieces of images that are larger than what a model is of: at random places for training, in the middle for all else."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lowerbound.errors import InputError


def middle(values: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """The piece in the middle of each image, (N, C, *size), a view.

    Arguments:
        values: images (N, C, H, W).
        size: height and width of a piece.
        name: of the data, for messages.

    Raises:
        InputError: if they are no images, or smaller.
    """
    if values.ndim != 4:
        raise InputError(
            f"--crop has no effect on {name}, whose examples have the shape {values.shape[1:]}: it cuts images of height "
            "and width"
        )
    height, width = size
    top, left = (values.shape[2] - height) // 2, (values.shape[3] - width) // 2
    if min(top, left) < 0:
        raise InputError(
            f"--crop {height} {width} is larger than the images of {name}, of {values.shape[2]} x {values.shape[3]} pixels "
            "(height x width): give a smaller one"
        )
    return values[:, :, top : top + height, left : left + width]


def at_places(values: np.ndarray, indices: np.ndarray, size: tuple[int, ...], cuts: np.ndarray) -> np.ndarray:
    """One piece of each of some images, (n, C, *size).

    Arguments:
        values: images (N, C, H, W), possibly larger than memory.
        indices: of the images, (n,).
        size: height and width of a piece.
        cuts: (n, 2), uniform on [0, 1]: how far down and to the right, of all places that there are.
    """
    windows = sliding_window_view(values, size, axis=(2, 3))
    num = np.array(windows.shape[2:4])
    top, left = np.minimum(np.floor(cuts * num), num - 1).astype(np.int64).T
    return windows[indices, :, top, left]
