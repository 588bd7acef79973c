"""MNIST from the data directory: one .npz file or the four original idx files; and the same with two levels."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from lowerbound.data.arrays.archive import read_npz
from lowerbound.data.dataset import Dataset, assemble
from lowerbound.data.directory import data_directory
from lowerbound.errors import InputError

_IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_BINARISATION_SEED = 0
_SPLITS = {"test": np.arange(60_000, 70_000)}


def mnist() -> Dataset:
    """60,000 + 10,000 handwritten digits of 28 x 28 pixels with 256 levels; 5,000 of the former are for validation.

    Raises:
        InputError: if the files are not there, with what to put where, or are not MNIST's.
    """
    images, labels = _read()
    return assemble("mnist", images, layout="NHW", splits=_SPLITS, num_levels=256, labels=labels)


def binary_mnist() -> Dataset:
    """`mnist` with two levels, statically binarised: a pixel k is 1 with probability k / 255, drawn once for ever.

    The draws are our own, of a fixed seed, and not those of the files that Larochelle made: likelihoods are comparable to
    figures on these up to the luck of the draw, and are 1 to 2 nats from figures on dynamically binarised digits, which
    are drawn anew whenever they are shown.

    Raises:
        InputError: as `mnist`.
    """
    images, labels = _read()
    threshold = np.random.default_rng(_BINARISATION_SEED).integers(0, 255, images.shape, np.uint8)
    bits = (threshold < images).astype(np.uint8)
    return assemble("binary-mnist", bits, layout="NHW", splits=_SPLITS, num_levels=2, labels=labels)


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Images (70,000, 1, 28, 28), the test's at the end, and labels."""
    root = data_directory()
    for folder in (root, root / "mnist"):
        if (folder / "mnist.npz").is_file():
            arrays = _read_npz(folder / "mnist.npz")
            break
        paths = [path for name in _IDX_FILES if (path := _idx_file(folder, name))]
        if len(paths) == len(_IDX_FILES):
            arrays = [_read_idx(path) for path in paths]
            break
    else:
        raise InputError(
            f"mnist is not in the data directory {root}: put there mnist.npz (with {', '.join(_NPZ_KEYS)}) or the files "
            f"{', '.join(_IDX_FILES)} (as they are or as .gz), or set LOWERBOUND_DATA to the folder that has them"
        )
    train_images, train_labels, test_images, test_labels = arrays
    for images, labels, count in ((train_images, train_labels, 60_000), (test_images, test_labels, 10_000)):
        if images.shape != (count, 28, 28) or labels.shape != (count,) or images.dtype != np.uint8:
            raise InputError(
                f"mnist in {folder}: images of shape {images.shape} and type {images.dtype} with labels of shape "
                f"{labels.shape}; they should be ({count}, 28, 28) of uint8 with ({count},)"
            )
    images = np.concatenate([train_images, test_images])[:, None]
    return images, np.concatenate([train_labels, test_labels]).astype(np.int64)


def _read_npz(path: Path) -> list[np.ndarray]:
    arrays = read_npz(path)
    missing = [key for key in _NPZ_KEYS if key not in arrays]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(arrays)}")
    return [arrays[key] for key in _NPZ_KEYS]


def _idx_file(folder: Path, name: str) -> Path | None:
    """The file, in either of its usual spellings, compressed or not."""
    spellings = (name, name.replace("-idx", ".idx"))
    paths = [folder / f"{spelling}{suffix}" for spelling in spellings for suffix in ("", ".gz")]
    return next(filter(Path.is_file, paths), None)


def _read_idx(path: Path) -> np.ndarray:
    """An array of bytes in the idx format: magic 0, 0, type 8, number of axes; their sizes, big-endian; the bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, num_axes = struct.unpack(">HBB", content[:4])
        shape = struct.unpack(f">{num_axes}I", content[4 : 4 + 4 * num_axes])
        if zeros != 0 or kind != 8:
            raise InputError(f"{path} is not an idx file of bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise InputError(f"{path} cannot be read as an idx file: {error}") from error
