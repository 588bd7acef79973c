"""TIFF of many channels, types and pages: the values are those that were written."""

import sys

import numpy as np
import pytest
from PIL import Image

from lowerbound.cli import main
from lowerbound.data import open_dataset
from lowerbound.errors import InputError

RNG = np.random.default_rng(0)
DTYPES = ["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64"]


@pytest.fixture
def tifffile():
    return pytest.importorskip("tifffile")


def values(shape, dtype):
    raw = RNG.standard_normal(shape) if dtype.startswith("float") else RNG.integers(0, 200, shape)
    return raw.astype(dtype)


def write(tifffile, path, image):
    """One page, its channels last."""
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig" if image.ndim == 3 else None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_pages_are_examples(tmp_path, tifffile, dtype, compression, byteorder):
    pages = values((6, 5, 7), dtype)
    tifffile.imwrite(
        tmp_path / "x.tif", pages, compression=compression, photometric="minisblack", byteorder=byteorder, metadata=None
    )
    dataset = open_dataset(str(tmp_path / "x.tif"), num_levels=None if dtype.startswith("float") else 200)
    assert dataset.examples.dtype.newbyteorder("=") == dtype
    assert np.array_equal(dataset.examples[:, 0], pages)
    assert dataset.spec.layout == "NHW"
    assert (dataset.spec.num_levels is None) == dtype.startswith("float")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pages_of_many_channels(tmp_path, tifffile, dtype):
    last, first = values((6, 8, 7, 5), dtype), values((6, 5, 8, 7), dtype)
    tifffile.imwrite(tmp_path / "last.tif", last, photometric="minisblack", planarconfig="contig", metadata=None)
    tifffile.imwrite(tmp_path / "first.tiff", first, imagej=True, metadata={"axes": "TCYX"})
    ours = open_dataset(str(tmp_path / "last.tif"))
    assert np.array_equal(ours.examples, last.transpose(0, 3, 1, 2))
    assert ours.spec.layout == "NHWC"
    ours = open_dataset(str(tmp_path / "first.tiff"))
    assert np.array_equal(ours.examples, first)
    assert ours.spec.layout == "NCHW"


def test_compressed_pages_beyond_memory_are_decoded_into_a_file(tmp_path, tifffile, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pages = values((50, 9, 11), "uint16")
    tifffile.imwrite(tmp_path / "x.tif", pages, compression="zlib", photometric="minisblack")
    inside = open_dataset(str(tmp_path / "x.tif"), num_levels=200)
    monkeypatch.setenv("LOWERBOUND_MEMORY", str((pages.nbytes - 1) / 2**30))
    outside = open_dataset(str(tmp_path / "x.tif"), num_levels=200)
    assert np.array_equal(outside.examples[:, 0], pages)
    assert inside.fingerprint() == outside.fingerprint()
    assert not any((tmp_path / "cache" / "lowerbound").iterdir())


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_a_folder_of_what_pillow_does_not_keep(tmp_path, tifffile, dtype, channels):
    stored = values((4, 6, 5, channels), dtype)
    for k, each in enumerate(stored):
        write(tifffile, tmp_path / f"{k}.tif", each if channels > 1 else each[..., 0])
    num_levels = None if dtype.startswith("float") else 300
    dataset = open_dataset(str(tmp_path), num_levels=num_levels)
    assert dataset.examples.dtype == dtype
    assert np.array_equal(dataset.examples, stored.transpose(0, 3, 1, 2))
    constant = np.full((6, 5, channels), 7, dtype)
    for k in range(4):
        write(tifffile, tmp_path / f"{k}.tif", constant + k if channels > 1 else constant[..., 0] + k)
    resized = open_dataset(str(tmp_path), image_size=(3, 2), num_levels=num_levels)
    assert np.array_equal(resized.examples, np.broadcast_to(np.arange(7, 11)[:, None, None, None], (4, channels, 3, 2)))


def test_missing_pixels_of_floats_are_missing_entries(tmp_path, tifffile):
    pages = values((20, 5, 7), "float32")
    pages[:, 0] = np.nan
    pages[3, 2, 2] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric="minisblack")
    dataset = open_dataset(str(tmp_path / "x.tif"))
    assert dataset.spec.has_missing
    assert dataset.num_observed.tolist() == [28 - (k == 3) for k in range(20)]


def test_images_that_are_not_alike(tmp_path, tifffile):
    for k in range(3):
        write(tifffile, tmp_path / f"{k}.tif", values((4, 5, 5), "uint16"))
    write(tifffile, tmp_path / "3.tif", values((4, 5, 2), "uint16"))
    with pytest.raises(InputError, match=r"several numbers of channels: .*3\.tif has 2, others 5"):
        open_dataset(str(tmp_path))
    write(tifffile, tmp_path / "3.tif", values((4, 5, 5), "float32"))
    with pytest.raises(InputError, match=r"several depths: .*0\.tif has 16 bits, .*3\.tif 32"):
        open_dataset(str(tmp_path))


def test_other_axes_are_named(tmp_path, tifffile):
    tifffile.imwrite(tmp_path / "x.tif", values((2, 3, 4, 5, 6), "uint8"), photometric="minisblack")
    with pytest.raises(InputError, match=r"x\.tif: its axes are \w+, of lengths \(2, 3, 4, 5, 6\)"):
        open_dataset(str(tmp_path / "x.tif"))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_damage_is_an_input_error_or_none(tmp_path, tifffile, compression):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values((6, 20, 30), "uint16"), compression=compression, photometric="minisblack")
    whole = path.read_bytes()
    for trial in range(60):
        content = bytearray(whole)
        if trial % 2:
            content = content[: RNG.integers(len(content))]
        else:
            first = RNG.integers(len(content) - 20) if trial % 4 else RNG.integers(300)
            content[first : first + 20] = RNG.bytes(20)
        path.write_bytes(content)
        try:
            open_dataset(str(path))
        except InputError as error:
            told = str(error)
            assert told.startswith(str(path))
    for content in (b"", b"II*\0", b"words"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.tif: it is (not a TIFF|damaged)"):
            open_dataset(str(path))


def test_without_the_library_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    pages = [Image.fromarray(np.full((5, 6), k, np.uint8)) for k in range(4)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    assert main.run(["train", str(tmp_path / "x.tif"), "--dry-run"]) == 2
    assert "needs tifffile, which is not installed: pip install 'lowerbound[science]'" in capsys.readouterr().err
