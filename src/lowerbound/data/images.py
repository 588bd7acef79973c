"""A folder of images as a data set."""

import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lowerbound.data.dataset import Dataset
from lowerbound.data.examples import Examples
from lowerbound.data.folder import find_images
from lowerbound.data.memory import check_memory
from lowerbound.errors import InputError

MAX_PIXELS = 89_478_485  # of one file: a quarter of a GiB as RGB
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_NUM_LISTED = 10


def open_folder(
    path: str | Path, *, image_size: tuple[int, int] | None = None, skip_bad_files: bool = False
) -> Dataset:
    """Images of one size from a folder, with classes and splits if it is divided so.

    The folders directly under the root are classes; under `train`, `test` and `validation` (or `val`) if the root has
    these. Images that lie there themselves have no labels. Grey stays grey unless there are colour images too: then all
    become RGB. 16-bit grey keeps its 65,536 levels; fewer than 8 bits become 8, palettes and CMYK become RGB, a rotation
    by EXIF is applied.

    Arguments:
        path: the root.
        image_size: height and width; images are cropped centrally to this shape and resized with antialiasing.
        skip_bad_files: leave out, with a warning, what can't be used.

    Raises:
        InputError: if there are bad files, which are named; sizes differ; images do not fit into memory; or the
            folder has another structure.
    """
    return read_folder(path, image_size=image_size, skip_bad_files=skip_bad_files).dataset()


def read_folder(
    path: str | Path, *, image_size: tuple[int, int] | None = None, skip_bad_files: bool = False
) -> Examples:
    """The images of a folder, as `open_folder` understands it.

    Raises:
        InputError: if there are bad files, or images that cannot stand in one array.
    """
    if image_size is not None and min(image_size) < 1:
        raise InputError(f"image_size {image_size}: give a height and a width of at least one pixel")
    root = Path(path)
    listing = find_images(root)
    bad = dict(listing.bad)
    images = _read_all([file.path for file in listing.files], image_size, bad)
    if bad:
        _report(root, bad, len(listing.files) + len(listing.bad), skip_bad_files)
    files = [file for file in listing.files if file.path in images]
    if not files:
        raise InputError(f"{root} holds no images of the formats {', '.join(_FORMATS)}")
    examples = _stack(images)
    splits = {
        split: np.array([i for i, file in enumerate(files) if file.split == split], dtype=np.int64)
        for split in sorted({file.split for file in files if file.split})
    }
    position = {name: k for k, name in enumerate(listing.class_names)}
    return Examples(
        str(root),
        examples,
        layout="NHW" if examples.shape[1] == 1 else "NHWC",
        splits=splits,
        labels=np.array([position[file.class_name] for file in files], dtype=np.int64) if position else None,
        class_names=listing.class_names,
        # a name that is no text, as file systems allow, is still to be printed
        files=tuple(os.fsencode(file.path.relative_to(root)).decode(errors="replace") for file in files),
    )


def read_image(path: Path, image_size: tuple[int, int] | None = None) -> np.ndarray:
    """One image file as (H, W), grey of uint8 or uint16, or (H, W, 3), RGB of uint8.

    Raises:
        InputError: with the reason, without the path, if it is not an image that can be used as it is.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_header(image)
            rotated = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            plain = _plain(ImageOps.exif_transpose(image) if rotated else image)
            return np.asarray(plain if image_size is None else _fit(plain, *image_size))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"not an image of the formats {', '.join(_FORMATS)}") from error
    # decoders raise errors of many types on damaged files
    except Exception as error:
        raise InputError(str(error) or type(error).__name__) from error


def _check_header(image: Image.Image) -> None:
    """Refuse, before anything is decoded, what is too large, animated, or deeper than Pillow reads."""
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} allowed")
    # the frames of MPO, which phones write as .jpg, are previews and depth maps behind one photograph
    num_frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if num_frames > 1:
        raise InputError(f"{num_frames} frames in one file: store each as an image of its own")
    codecs = [
        tile.args if isinstance(tile.args, str) else str((tile.args or [""])[0]) for tile in getattr(image, "tile", [])
    ]
    # Pillow would silently keep 8 bits of these
    if not image.mode.startswith("I;16") and any(re.search(";16[BLN]", codec) for codec in codecs):
        raise InputError("colours of 16 bits per channel, which are not read: convert to 8 bits or store as .npy")


def _plain(image: Image.Image) -> Image.Image:
    """The image as 8-bit grey, 16-bit grey or RGB; refuses what would lose something."""
    grey_16 = image.mode.startswith("I;16")
    if image.has_transparency_data:
        if grey_16 or image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
            raise InputError("it has transparent pixels: flatten it onto a background colour")
        return image.convert("L" if image.mode in {"L", "LA", "La"} else "RGB")
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


def _read_all(paths: list[Path], image_size: tuple[int, int] | None, bad: dict[Path, str]) -> dict[Path, np.ndarray]:
    """All images that can be read; the others go to `bad` with their reasons."""
    from tqdm import tqdm

    def read(path: Path) -> np.ndarray | str:
        try:
            return read_image(path, image_size)
        except InputError as error:
            return str(error)

    images: dict[Path, np.ndarray] = {}
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        with warnings.catch_warnings():
            # what a decoder doubts is bad
            for category in (UserWarning, RuntimeWarning):
                warnings.simplefilter("error", category)
            results = zip(paths, pool.map(read, paths), strict=True)
            for path, image in tqdm(results, "reading images", len(paths), delay=2, unit="file", disable=None):
                if isinstance(image, str):
                    bad[path] = image
                    continue
                _check_alike(images, path, image, len(paths))
                images[path] = image
    finally:
        pool.shutdown(cancel_futures=True)
    return images


def _check_alike(images: dict[Path, np.ndarray], path: Path, image: np.ndarray, num_files: int) -> None:
    """Refuse images that can't stand in one array with those before, or with as many of their size in memory."""
    name = f"{num_files:,} images of {image.shape[0]} x {image.shape[1]} pixels ({path.name})"
    check_memory(name, image.nbytes * num_files, "give a smaller image_size")
    if not images:
        return
    first_path, first = next(iter(images.items()))
    if image.shape[:2] != first.shape[:2]:
        raise InputError(
            f"images of several sizes: {first_path} has {first.shape[0]} x {first.shape[1]} pixels (height x width), {path} "
            f"{image.shape[0]} x {image.shape[1]}: give image_size, to which all are cropped and resized"
        )
    if image.dtype != first.dtype:
        raise InputError(
            f"images of several depths: {first_path} has {8 * first.itemsize} bits, {path} {8 * image.itemsize}: convert "
            "them to one depth"
        )


def _stack(images: dict[Path, np.ndarray]) -> np.ndarray:
    """All in one array, (N, C, H, W); empties the dictionary, so that no image is in memory twice for long."""
    channels = max(1 if image.ndim == 2 else 3 for image in images.values())
    first = next(iter(images.values()))
    stacked = np.empty((len(images), channels, *first.shape[:2]), first.dtype)
    for i, path in enumerate(list(images)):
        image = images.pop(path)
        stacked[i] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return stacked


def _report(root: Path, bad: dict[Path, str], num_files: int, skip: bool) -> None:
    """Name the bad files: in a warning if they may be skipped, else in an error."""
    listed = [f"  {path.relative_to(root)}: {bad[path]}" for path in sorted(bad)[:_NUM_LISTED]]
    if len(bad) > _NUM_LISTED:
        listed.append(f"  and {len(bad) - _NUM_LISTED:,} more")
    named = "\n".join(listed)
    if skip:
        warnings.warn(f"{root}: {len(bad):,} of {num_files:,} files left out:\n{named}", stacklevel=3)
    else:
        raise InputError(
            f"{root}: {len(bad):,} of {num_files:,} files cannot be used:\n{named}\nRepair or remove them, or set "
            "skip_bad_files to leave them out"
        )
