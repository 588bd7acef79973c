"""MNIST from the data directory, in either form."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from lowerbound.data import Levels, open_dataset
from lowerbound.data.mnist import _read_idx
from lowerbound.errors import InputError


def _idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("shape", [(7,), (3, 4, 5)])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read(tmp_path, shape, suffix):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"file-ubyte{suffix}"
    path.write_bytes(gzip.compress(_idx(array)) if suffix else _idx(array))
    assert np.array_equal(_read_idx(path), array)


@pytest.mark.parametrize("damage", ["cut", "empty", "magic", "type", "gzip"])
def test_damaged_idx_files_are_named(tmp_path, damage):
    content = _idx(np.zeros((3, 4), np.uint8))
    path = tmp_path / ("labels.gz" if damage == "gzip" else "labels")
    path.write_bytes(
        {
            "cut": content[:-1],
            "empty": b"",
            "magic": b"\1" + content[1:],
            "type": content[:2] + b"\x0d" + content[3:],
            "gzip": gzip.compress(content)[:-9],
        }[damage]
    )
    with pytest.raises(InputError, match=r"labels.* idx file"):
        _read_idx(path)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Idx files of the right shapes, whose images are 0 but for pixel (0, 0), which is the label, and (1, 0), 255."""
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    images, labels = np.zeros((60_000, 28, 28), np.uint8), (np.arange(60_000) % 10).astype(np.uint8)
    images[:, 0, 0], images[:, 1, 0] = labels, 255
    for name, array in {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images.idx3-ubyte": images[:10_000],
        "t10k-labels-idx1-ubyte": labels[:10_000],
    }.items():
        (tmp_path / "mnist" / name).write_bytes(_idx(array))


@pytest.mark.usefixtures("tiny")
def test_idx_files_make_the_data_set():
    mnist = open_dataset("mnist")
    assert np.array_equal(mnist.examples[:, 0, 0, 0], mnist.labels)
    assert (len(mnist.train), len(mnist.validation), len(mnist.test)) == (55_000, 5_000, 10_000)
    assert mnist.spec.encoding == Levels(256, 0, "uint8")


@pytest.mark.usefixtures("tiny")
def test_binary_mnist_is_drawn_with_the_pixels_probabilities_once_for_ever():
    mnist, binary = open_dataset("mnist"), open_dataset("binary-mnist")
    assert binary.spec.encoding == Levels(2, 0, "uint8")
    for split in ("train", "validation", "test"):
        assert np.array_equal(getattr(binary, split), getattr(mnist, split)), "the same examples are held out"
    assert np.array_equal(binary.labels, mnist.labels)
    assert (binary.examples[:, 0, 1, 0] == 1).all(), "255 is certain"
    assert (binary.examples[:, 0, 1:, 1:] == 0).all(), "and 0 is"
    drawn = [binary.examples[mnist.labels == digit, 0, 0, 0] for digit in range(10)]
    for digit, values in enumerate(drawn):
        assert values.mean() == pytest.approx(digit / 255, abs=5 * (digit / 255 / len(values)) ** 0.5)
    assert np.array_equal(open_dataset("binary-mnist").examples, binary.examples)


@pytest.mark.parametrize("name", ["mnist", "binary-mnist"])
def test_what_to_put_where_is_said(tmp_path, monkeypatch, name):
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"mnist\.npz"):
        open_dataset(name)


@pytest.mark.parametrize("keys", [("x",), ("train_images", "train_labels", "test_images", "test_labels")])
def test_another_data_set_is_not_taken_for_mnist(tmp_path, monkeypatch, keys):
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path))
    np.savez(tmp_path / "mnist.npz", **{key: np.zeros((5, 28, 28), np.uint8) for key in keys})
    with pytest.raises(InputError, match=r"mnist.*(lacks|should be)"):
        open_dataset("mnist")


@pytest.mark.skipif(
    not (Path(os.environ.get("LOWERBOUND_DATA", "")) / "mnist.npz").is_file(),
    reason="needs mnist.npz in LOWERBOUND_DATA",
)
def test_the_real_one():
    mnist = open_dataset("mnist")
    assert mnist.examples.shape == (70_000, 1, 28, 28)
    # published class counts of the test images
    assert np.bincount(mnist.labels[mnist.test]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(mnist.examples[:60_000].mean() / 255, 4) == 0.1307
