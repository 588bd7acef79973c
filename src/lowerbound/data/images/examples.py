"""A folder or an archive of images, or a single one, as a data set."""

import os
import re
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from lowerbound.data.dataset import Examples
from lowerbound.data.images.folder import find_images
from lowerbound.data.images.labels import labelled
from lowerbound.data.images.tiff import is_beyond_pillow, read_tiff_image, tiff_size
from lowerbound.data.listing import Listing, OpenFile, open_listing
from lowerbound.data.memory import allocate, check_memory, fits, memory_limit, release
from lowerbound.data.parts import PART
from lowerbound.errors import InputError
from lowerbound.words.counts import counted
from lowerbound.words.printable import printable

MAX_PIXELS = 89_478_485  # of one file: a quarter of a GiB as RGB
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_NUM_LISTED = 10
_MAX_WORKERS = 8
_MOST_TOGETHER = 64
"""Files that a worker takes at a time, so that small ones cost no more than their decoding."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Header:
    """What an image takes, known before it is decoded.

    Arguments:
        height, width: in pixels, as stored.
        channels: 1 of grey, 3 of colours.
        dtype: of the array that it becomes.
        work: bytes in use while it is decoded, turned, converted, and cropped or copied.
    """

    height: int
    width: int
    channels: int
    dtype: str
    work: int

    @property
    def num_bytes(self) -> int:
        """Of the array that it becomes."""
        return self.height * self.width * self.channels * np.dtype(self.dtype).itemsize


def read_images(
    source: Path | Listing,
    *,
    image_size: tuple[int, int] | None = None,
    background: str | None = None,
    skip_bad_files: bool = False,
    labels: dict[str, str] | None = None,
) -> Examples:
    """Images of one size from a folder, an archive or a file, with classes and splits if it is divided so.

    The folders directly under the root are classes; under `train`, `test` and `validation` (or `val`) if the root has
    these. Images that lie there themselves have no labels. Folders that all files of an archive lie in count as nothing.
    Grey stays grey unless there are colour images too: then all become RGB. 16-bit grey keeps its 65,536 levels; fewer
    than 8 bits become 8, palettes and CMYK become RGB, a rotation by EXIF is applied. Of TIFF all channels and types are
    kept.

    Images that do not fit into memory are decoded into a file (see `allocate`).

    Arguments:
        source: the path of a folder, of an archive whose name ends as `ARCHIVES` do, or of an image; or their listing.
        image_size: height and width; images are cropped centrally to this shape and resized with antialiasing.
        background: the colour, a name or #RRGGBB, that images with transparent pixels are laid upon; if None they are bad.
        skip_bad_files: leave out, with a warning, what can't be used.
        labels: each file's class by its name, in the place of the folders; see `read_labels`.

    Raises:
        InputError: if there are bad files, which are named; sizes differ; there is no room for them; files and labels do
            not go together; or the folder has another structure.
    """
    if image_size is not None and min(image_size) < 1:
        raise InputError(
            f"--image-size {image_size[0]} {image_size[1]}: give a height and a width of at least one pixel"
        )
    transparent_as = colour(background)
    with source if isinstance(source, Listing) else open_listing(source) as listing:
        path = listing.root
        files = find_images(listing, has_classes=labels is None)
        if labels is not None:
            files = labelled(path, files, labels)
        bad = {file.name: file.fault for file in files if file.fault}
        with warnings.catch_warnings():
            # what a decoder doubts is bad
            for category in (UserWarning, RuntimeWarning):
                warnings.simplefilter("error", category)
            examples = _read_all(
                listing, [file.name for file in files if not file.fault], image_size, transparent_as, bad
            )
    if bad:
        _report(path, bad, len(files), skip_bad_files)
    if not len(examples):
        raise InputError(f"{path} holds no images of the formats {', '.join(_FORMATS)}")
    class_names = tuple(sorted({file.class_name for file in files if not file.fault} - {""}))
    position = {name: k for k, name in enumerate(class_names)}
    files = [file for file in files if file.name not in bad]
    split_of = np.array([file.split for file in files])
    splits = {split: np.flatnonzero(split_of == split) for split in sorted({file.split for file in files} - {""})}
    numbers = np.array([position[file.class_name] for file in files]) if class_names else None
    layout = "NHW" if examples.shape[1] == 1 else "NHWC"
    names = tuple(printable(file.name) for file in files)
    return Examples(str(path), examples, layout, splits, numbers, class_names, files=names)


def colour(name: str | None) -> tuple[int, ...] | None:
    """RGB of a colour, by its name or as #RRGGBB; None of none."""
    if name is None:
        return None
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise InputError(
            f"--background {name}: there is no such colour: give a name, such as white, or #RRGGBB"
        ) from error


def read_image(
    file: Path | OpenFile, image_size: tuple[int, int] | None = None, background: tuple[int, ...] | None = None
) -> np.ndarray:
    """One image file as (H, W), grey of uint8 or uint16, or (H, W, 3), RGB of uint8.

    Arguments:
        file: its path, or what was opened.
        image_size: height and width to which it is cropped and resized.
        background: RGB of the colour that transparent pixels are laid upon.

    Raises:
        InputError: with the reason, without the path, if it is not an image that can be used as it is, or decoding it
            takes more memory than is allowed.
    """
    if is_beyond_pillow(file):
        array = read_tiff_image(file)
        return array if image_size is None else _fit_channels(array, *image_size)
    with _opened(file) as image:
        _header(image)
        plain = _plain(ImageOps.exif_transpose(image) if _is_turned(image) else image, background)
        return np.asarray(plain if image_size is None else _fit(plain, *image_size))


def read_header(file: Path | OpenFile) -> Header:
    """What an image file would take, without decoding it.

    Raises:
        InputError: as `read_image`, as far as the file's beginning tells.
    """
    if is_beyond_pillow(file):
        height, width, channels, dtype = tiff_size(file)
        _check_pixels(height, width)
        return Header(height, width, channels, str(dtype), 3 * height * width * channels * dtype.itemsize)
    with _opened(file) as image:
        return _header(image)


@contextmanager
def _opened(file: Path | OpenFile) -> Generator[Image.Image]:
    """An opened file; errors of any kind inside are InputErrors."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"not an image of the formats {', '.join(_FORMATS)}") from error
    # decoders raise errors of many types on damaged files
    except Exception as error:
        raise InputError(str(error) or type(error).__name__) from error


def _header(image: Image.Image) -> Header:
    """What the image takes; refuses, before it is decoded, what is too large, animated, or deeper than Pillow reads."""
    _check_pixels(image.height, image.width)
    # the frames of MPO, which phones write as .jpg, are previews and depth maps behind one photograph
    num_frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if num_frames > 1:
        raise InputError(f"{num_frames} frames in one file: store each as an image of its own")
    is_deep = image.mode.startswith("I;16")
    settings = [tile.args for tile in getattr(image, "tile", [])]
    codecs = [each if isinstance(each, str) else (each or [""])[0] for each in settings]
    # Pillow would silently keep 8 bits of these
    if not is_deep and any(re.search(";16[BLN]", str(codec)) for codec in codecs):
        raise InputError("colours of 16 bits per channel, which are not read: convert to 8 bits or store as .npy")
    num_pixels = image.width * image.height
    item = 2 if is_deep else 1
    channels = 1 if is_deep or image.mode in {"1", "L", "LA", "La"} else 3
    # Pillow keeps colours, and grey with alpha, in four bytes. There is a copy as decoded and two on the way to an array,
    # one more if the image is turned, one if it is converted, and two that WebP's decoder keeps. A PNG may say behind its
    # pixels that it is turned: to ask would decode it
    copies = 3 + (image.format == "PNG" or _is_turned(image)) + 2 * (image.format == "WEBP")
    copies += image.mode not in {"L", "RGB", "I;16", "I;16B", "I;16L"}
    copies += image.has_transparency_data  # a background
    work = copies * num_pixels * (item if is_deep or image.mode in {"1", "L"} else 4)
    check_memory(f"decoding {image.width} x {image.height} pixels", work, "store it with fewer pixels")
    return Header(image.height, image.width, channels, "uint16" if is_deep else "uint8", work)


def _check_pixels(height: int, width: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{width} x {height} pixels, more than the {MAX_PIXELS:,} allowed")


def _is_turned(image: Image.Image) -> bool:
    """Whether the camera says that the image has another side up."""
    return image.getexif().get(ExifTags.Base.Orientation, 1) != 1


def _plain(image: Image.Image, background: tuple[int, ...] | None) -> Image.Image:
    """The image as 8-bit grey, 16-bit grey or RGB; refuses what would lose something."""
    grey_16 = image.mode.startswith("I;16")
    if image.has_transparency_data:
        if grey_16:
            raise InputError("it has transparent pixels of 16 bits: flatten it onto a background")
        mode, layers = "L" if image.mode in {"L", "LA", "La"} else "RGB", image.convert("RGBA")
        if layers.getchannel("A").getextrema()[0] == 255:
            return image.convert(mode)
        if background is None:
            raise InputError("it has transparent pixels: give the colour beneath them, such as --background white")
        return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), layers).convert(mode)
    if grey_16 or image.mode in {"L", "RGB"}:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"P", "RGBX", "CMYK", "YCbCr"}:
        return image.convert("RGB")
    raise InputError(f"pixels of mode {image.mode} are not read: convert to 8-bit or store as .npy")


def _fit(image: Image.Image, height: int, width: int) -> Image.Image:
    """The largest central part of this shape, resized with antialiasing."""
    scale = min(image.width / width, image.height / height)
    crop_width, crop_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
    cropped = image.crop((left, top, left + crop_width, top + crop_height))
    return cropped.resize((width, height), Image.Resampling.LANCZOS)


def _fit_channels(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same of values that Pillow does not keep as an image, (H, W) or (H, W, C): channel by channel, in floats."""
    planes = np.moveaxis(np.atleast_3d(array), 2, 0)
    fitted = np.stack(
        [np.asarray(_fit(Image.fromarray(plane.astype(np.float32)), height, width)) for plane in planes], 2
    )
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        fitted = np.clip(np.rint(fitted.astype(np.float64)), limits.min, limits.max)
    return fitted.astype(array.dtype).reshape(*fitted.shape[:2], *array.shape[2:])


def _read_all(
    listing: Listing,
    names: list[str],
    image_size: tuple[int, int] | None,
    background: tuple[int, ...] | None,
    bad: dict[str, str],
) -> np.ndarray:
    """All images that can be read in one array (N, C, H, W), in the order of their names; the others go to `bad`.

    What they take is summed up from their headers before any of them is decoded; as many are decoded at a time as the memory
    allows.
    """
    num_workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    headers = dict(_each(listing, names, read_header, num_workers, _MOST_TOGETHER, "looking at images", bad))
    if not headers:
        return np.empty((0, 1, 1, 1), np.uint8)
    largest = max(headers.values(), key=lambda header: header.work)
    channels = max(header.channels for header in headers.values())
    height, width = image_size or (largest.height, largest.width)
    name = f"{listing.root}: {counted(len(headers), 'image')} of {height} x {width} pixels"
    total = len(headers) * channels * height * width * np.dtype(largest.dtype).itemsize
    has_room = fits(name, total, largest.work)
    num_workers = max(1, min(num_workers, (memory_limit() - total * has_room) // largest.work))
    num_together = max(1, min(_MOST_TOGETHER, PART // (total // len(headers))))
    examples, first_name = np.empty((0, channels, 1, 1), np.uint8), ""
    num_read, has_colours, num_waiting = 0, False, 0
    read = partial(read_image, image_size=image_size, background=background)
    for file_name, image in _each(listing, [*headers], read, num_workers, num_together, "reading images", bad):
        if not num_read:
            shape = (len(headers), channels, *image.shape[:2])
            examples, first_name = allocate(name, shape, image.dtype, largest.work), file_name
        _check_alike(listing.root, first_name, examples, file_name, image)
        examples[num_read] = image if image.ndim == 2 else image.transpose(2, 0, 1)
        has_colours |= image.ndim == 3
        num_read += 1
        num_waiting += image.size
        if num_waiting > PART:
            release(examples)
            num_waiting = 0
    return examples[:num_read, : None if has_colours else 1]


def _each(
    listing: Listing,
    names: list[str],
    read: Callable[[OpenFile], Result],
    num_workers: int,
    num_together: int,
    title: str,
    bad: dict[str, str],
) -> Iterator[tuple[str, Result]]:
    """What can be read, in order and with its name, some at a time; the others go to `bad` with their reasons."""
    from tqdm import tqdm

    def read_named(chunk: list[str]) -> list[Result | InputError]:
        return [_read(listing, name, read) for name in chunk]

    chunks = [names[first : first + num_together] for first in range(0, len(names), num_together)]
    pool = ThreadPoolExecutor(num_workers)
    # a window, so that images do not wait in memory to be taken
    waiting: deque[Future[list[Result | InputError]]] = deque()
    bar = tqdm(total=len(names), desc=title, delay=2, unit="file", disable=None)
    try:
        to_read = iter(chunks)
        for chunk in chunks:
            waiting.extend(pool.submit(read_named, each) for each in islice(to_read, num_workers - len(waiting)))
            for name, result in zip(chunk, waiting.popleft().result(), strict=True):
                if isinstance(result, InputError):
                    bad[name] = str(result)
                else:
                    yield name, result
            bar.update(len(chunk))
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)


def _read(listing: Listing, name: str, read: Callable[[OpenFile], Result]) -> Result | InputError:
    """What is read of a file, or why it is not."""
    try:
        with listing.open(name) as file:
            return read(file)
    except InputError as error:
        return error
    except Exception as error:  # a damaged member of an archive raises errors of many types
        return InputError(str(error) or type(error).__name__)


def _check_alike(root: Path, first_name: str, examples: np.ndarray, name: str, image: np.ndarray) -> None:
    """Refuse an image that can't stand in one array with the first."""
    names = printable(f"{root}/{first_name}"), printable(f"{root}/{name}")
    height, width = examples.shape[2:]
    if image.shape[:2] != (height, width):
        raise InputError(
            f"images of several sizes: {names[0]} has {height} x {width} pixels (height x width), {names[1]} "
            f"{image.shape[0]} x {image.shape[1]}: give the height and width to which all are cropped and resized, "
            f"such as --image-size {height} {width}"
        )
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels != examples.shape[1] and (channels, examples.shape[1]) != (1, 3):
        raise InputError(
            f"images of several numbers of channels: {names[1]} has {channels}, others {examples.shape[1]}: give alike "
            "images"
        )
    if image.dtype != examples.dtype:
        raise InputError(
            f"images of several depths: {names[0]} has {8 * examples.itemsize} bits, {names[1]} {8 * image.itemsize}: "
            "convert them to one depth"
        )


def _report(root: Path, bad: dict[str, str], num_files: int, skip: bool) -> None:
    """Name the bad files: in a warning if they may be skipped, else in an error."""
    if [*bad] == [root.name]:
        raise InputError(f"{root}: {printable(bad[root.name])}")
    reasons = {*bad.values()}
    if not skip and len(bad) == num_files and len(reasons) == 1:
        raise InputError(f"{root}: none of its {num_files:,} files can be used; of each, {printable(*reasons)}")
    lines = [f"  {printable(name)}: {printable(bad[name])}" for name in sorted(bad)]
    if len(bad) > _NUM_LISTED:
        lines = [*lines[:_NUM_LISTED], f"  and {len(bad) - _NUM_LISTED:,} more"]
    named = "\n".join(lines)
    if skip:
        warnings.warn(f"{root}: {len(bad):,} of {num_files:,} files left out:\n{named}", stacklevel=3)
    else:
        raise InputError(
            f"{root}: {len(bad):,} of {num_files:,} files cannot be used:\n{named}\nRepair or remove them, or give "
            "--skip-bad-files to leave them out"
        )
