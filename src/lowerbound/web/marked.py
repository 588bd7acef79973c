"""What a person has marked to be filled in: by paint, by numbers, by the names of columns or channels."""

import numpy as np

from lowerbound.errors import InputError

SPATIAL = {
    1: ("first position, number of positions", "0, 4"),
    2: ("top, left, height, width", "0, 0, 4, 8"),
    3: ("first slice, top, left, slices, height, width", "0, 0, 0, 2, 4, 4"),
}
"""What a box is, by the number of its axes, with an example."""


def painted(layers: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels that layers (height, width, 4) of paint cover by a half or more, (H, W) of an example (C, H, W)."""
    height, width = shape[1:]
    covered = np.zeros((height, width), bool)
    for layer in layers:
        paint = layer[..., 3] > 0
        rows, columns = paint.shape[0] // height, paint.shape[1] // width
        if rows and columns:
            cells = paint[: rows * height, : columns * width].reshape(height, rows, width, columns)
            covered |= cells.mean((1, 3)) >= 0.5
    return covered


def box(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Where a box lies, whose corner and then whose size are given, in an example (C, *axes); nowhere of an empty text.

    Returns:
        True within the box, of shape `axes`.

    Raises:
        InputError: for anything else, or what lies outside.
    """
    axes = shape[1:]
    covered = np.zeros(axes, bool)
    if not text.strip():
        return covered
    what, _ = SPATIAL[len(axes)]
    try:
        numbers = [int(number) for number in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != 2 * len(axes):
        raise InputError(f"{text!r:.40} marks nothing: give {2 * len(axes)} whole numbers, {what}")
    corner, size = numbers[: len(axes)], numbers[len(axes) :]
    ends = [start + extent for start, extent in zip(corner, size, strict=True)]
    if min(corner) < 0 or min(size) < 1 or any(end > most for end, most in zip(ends, axes, strict=True)):
        raise InputError(f"{text!r:.40} lies outside of the example, which has {' x '.join(map(str, axes))}: {what}")
    covered[tuple(slice(start, end) for start, end in zip(corner, ends, strict=True))] = True
    return covered


def marked(shape: tuple[int, ...], layers: list[np.ndarray], text: str, chosen: list[int]) -> np.ndarray:
    """The entries of an example that are to be filled in.

    Arguments:
        shape: of the example: (D,), or (C, *axes).
        layers: of paint over a picture.
        text: of a box.
        chosen: of vectors the columns; else the channels in which the box lies, all of them if there are none. Without a
            box it is the whole of a chosen channel.

    Raises:
        InputError: for a text that is no box.
    """
    missing = np.zeros(shape, bool)
    if len(shape) == 1:
        missing[chosen] = True
        return missing
    covered = box(text, shape) | (painted(layers, shape) if layers else False)
    if chosen and not covered.any():
        covered[:] = True
    missing[chosen or slice(None)] = covered
    return missing
