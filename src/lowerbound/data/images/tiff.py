"""TIFF that Pillow does not keep: many channels, colours of 16 bits, integers of 32 bits, floats, and many pages."""

import io
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.damage import undamaged
from lowerbound.data.dataset import Examples
from lowerbound.data.extras import extra
from lowerbound.data.fitting import check_type
from lowerbound.data.listing import OpenFile
from lowerbound.data.memory import allocate, check_memory, release
from lowerbound.data.parts import PART
from lowerbound.data.spec import naming
from lowerbound.errors import InputError

SUFFIXES = (".tif", ".tiff")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CHANNELS = "SC"
"""What axes of channels are called: samples of a pixel, and channels in pages of their own."""


def is_beyond_pillow(file: Path | OpenFile) -> bool:
    """Whether a file is a TIFF of one page whose values Pillow would not keep, and tifffile is there to read it."""
    if _beginning(file) not in _MAGIC:
        return False
    try:
        with _opened(file) as tiff:
            page = tiff.pages.first
            usual = (page.dtype in (np.bool_, np.uint8) and page.samplesperpixel in (1, 3, 4)) or (
                page.dtype == np.uint16 and page.samplesperpixel == 1
            )
            # of 2 samples the second is alpha
            return not usual and not (page.dtype == np.uint8 and page.extrasamples) and len(tiff.pages) == 1
    except InputError:
        return False  # damaged, which Pillow says, or tifffile is lacking


def tiff_size(file: Path | OpenFile) -> tuple[int, int, int, np.dtype]:
    """Height, width, channels and type of a TIFF of one page.

    Raises:
        InputError: if it is damaged, or would not fit into memory.
    """
    with _opened(file) as tiff:
        page = tiff.pages.first
        num_bytes = page.size * page.dtype.itemsize
        check_memory(f"decoding {page.imagewidth} x {page.imagelength} pixels", 3 * num_bytes)
        return page.imagelength, page.imagewidth, page.samplesperpixel, page.dtype


def read_tiff_image(file: Path | OpenFile) -> np.ndarray:
    """A TIFF of one page as (H, W) or (H, W, C), in the type that it is stored in.

    Raises:
        InputError: if it is damaged, would not fit into memory, or has other axes.
    """
    tiff_size(file)
    with _opened(file) as tiff:
        page = tiff.pages.first
        if sorted(page.axes) not in (sorted("YX"), sorted("YXS")):
            raise InputError(f"axes {page.axes}: rows, columns and channels are read")
        return np.moveaxis(page.asarray(), [page.axes.index(axis) for axis in page.axes if axis != "S"], [0, 1])


def read_tiff(path: Path) -> Examples:
    """The pages of one TIFF as examples.

    Pages that are stored one after the other without compression are mapped into memory, and others decoded one at a time
    (see `allocate`).

    Arguments:
        path: of the file, whose first axis counts examples; rows, columns and perhaps channels follow.

    Raises:
        InputError: if it is damaged, or its axes are others.
    """
    with naming(str(path)):
        if _beginning(path) not in _MAGIC:
            raise InputError("it is not a TIFF: give images of other kinds in a folder or an archive")
        with _opened(path) as tiff:
            if len(tiff.series) != 1:
                raise InputError(
                    f"{len(tiff.series)} series of pages of different kinds: store each in a file of its own"
                )
            series = tiff.series[0]
            check_type(series.dtype)
            axes, shape = series.axes, series.shape
            channels = [axis for axis in axes if axis in _CHANNELS]
            counted = [axis for axis in axes if axis not in ("Y", "X", *channels)]
            if (
                len(channels) > 1
                or len(counted) > 1
                or not {"Y", "X"} <= set(axes)
                or (counted and axes[0] != counted[0])
            ):
                raise InputError(
                    f"its axes are {axes}, of lengths {shape}: one that counts examples is read, and then rows Y, columns X "
                    "and perhaps channels (C or S): store other axes as .npy"
                )
            values = _values(path, tiff, series)
    if not counted:
        values, axes = values[None], f"N{axes}"
    layout = "NHW"
    if channels:
        channel_axis = axes.index(channels[0])
        layout = "NHWC" if channel_axis == 3 else "NCHW"
        if channel_axis == 2:
            raise InputError(f"{path}: its axes are {axes}: channels stand before the rows or after the columns")
        values = np.moveaxis(values, channel_axis, 1)
    else:
        values = values[:, None]
    return Examples(str(path), values, layout)


def _values(path: Path, tiff: Any, series: Any) -> np.ndarray:
    """All of a series, as it is stored."""
    shape, dtype = series.shape, series.dtype
    if series.dataoffset is not None:  # one after the other
        stored = np.dtype(dtype).newbyteorder(tiff.byteorder)
        return np.asarray(np.memmap(path, stored, "r", series.dataoffset, shape))
    values = allocate(str(path), shape, dtype)
    pages = list(series.pages)
    planes = values.reshape(len(pages), *pages[0].shape) if pages else values
    num_waiting = 0
    for plane, page in zip(planes, pages, strict=True):
        plane[...] = page.asarray()
        num_waiting += plane.size
        if num_waiting > PART:
            release(values)
            num_waiting = 0
    return values


def _beginning(file: Path | OpenFile) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(4)
    start = file.read(4)
    file.seek(0)
    return start


class _Strict(logging.Handler):
    """What tifffile only notes in its log is an error: it would go on with other values than were stored."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError(record.getMessage())


@contextmanager
def _opened(file: Path | OpenFile) -> Generator[Any]:
    """An opened TIFF; errors of any kind inside are InputErrors."""
    tifffile = extra("tifffile", "science", "TIFF of many channels, of more than 8 bits or of many pages")
    log, strict = logging.getLogger("tifffile"), _Strict(logging.WARNING)
    log.addHandler(strict)
    try:
        with undamaged(), tifffile.TiffFile(file) as tiff:
            yield tiff
    finally:
        log.removeHandler(strict)
        if isinstance(file, io.IOBase):
            file.seek(0)
