"""Data that would lead out of their folder, fill the memory, or change on the way through the model."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from lowerbound.data import check_batch_size, open_dataset
from lowerbound.data.dataset import assemble
from lowerbound.errors import InputError


def _save_image(path, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_linked_split_is_not_followed_out_of_the_folder(tmp_path, split):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for name in ("train", "test"):
        for i in range(4):
            _save_image(root / name / "a" / f"{i}.png", i)
    (root / split).rename(outside)
    (root / split).symlink_to(outside)
    with pytest.raises(InputError, match=f"{split} is a link that leads out"):
        open_dataset(str(root))


def test_a_folder_that_is_itself_a_link_is_read(tmp_path):
    for i in range(4):
        _save_image(tmp_path / "real" / "train" / f"{i}.png", i)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(open_dataset(str(tmp_path / "link")).examples) == 4


def test_a_photograph_with_a_preview_behind_it_is_one_image(tmp_path):
    preview = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    for i in range(4):
        pixels = _save_image(
            tmp_path / f"{i}.jpg", i, format="MPO", save_all=True, append_images=[preview], quality=100, subsampling=0
        )
    with Image.open(tmp_path / "3.jpg") as image:
        assert getattr(image, "n_frames", 1) == 2
    read = open_dataset(str(tmp_path)).examples[3].transpose(1, 2, 0)
    assert np.abs(read.astype(int) - pixels).max() <= 8


def test_an_array_that_unpacks_to_more_than_the_memory_is_refused_before(tmp_path, monkeypatch):
    monkeypatch.setenv("LOWERBOUND_MEMORY", "0.03")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (64, 2**20)})
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64 * 2**20))
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"bomb\.npz would take 0\.0625 GiB .*LOWERBOUND_MEMORY"):
            open_dataset(str(path))
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_an_archive_larger_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", x=np.zeros((64, 2**14), np.uint8))
    monkeypatch.setenv("LOWERBOUND_MEMORY", "0.0005")
    with pytest.raises(InputError, match=r"x\.npz would take"):
        open_dataset(str(tmp_path / "x.npz"))


@pytest.mark.parametrize(("dtype", "num_levels"), [("bool", 3), ("uint8", 257), ("int8", 129), ("uint16", 65_536)])
def test_levels_that_the_stored_type_cannot_hold_are_refused(dtype, num_levels):
    examples = np.array([0, 1] * 10).astype(dtype)[:, None]
    if dtype == "uint16":
        assert assemble("x", examples, layout="ND", num_levels=num_levels).spec.encoding.num_levels == num_levels
        return
    with pytest.raises(InputError, match=f"{num_levels} levels .*{dtype}"):
        assemble("x", examples, layout="ND", num_levels=num_levels)


def test_integers_beyond_63_bits_are_refused():
    examples = np.array([2**63 + 1, 2**63 + 8] * 10, np.uint64)[:, None]
    with pytest.raises(InputError, match="do not fit into 64 bits"):
        assemble("x", examples, layout="ND")


@pytest.mark.parametrize("batch_size", [0, -1])
def test_an_empty_batch_is_refused(batch_size):
    with pytest.raises(InputError, match="at least 1"):
        check_batch_size(batch_size, 10)


def test_a_png_that_promises_more_than_it_holds_is_named(tmp_path):
    for i in range(4):
        _save_image(tmp_path / f"{i}.png", i)
    content = bytearray((tmp_path / "3.png").read_bytes())
    content[16:24] = struct.pack(">II", 16, 4000)
    (tmp_path / "3.png").write_bytes(content)
    with pytest.raises(InputError, match=r"3\.png: "):
        open_dataset(str(tmp_path))


def test_an_archive_is_checked_for_flipped_bits_though_it_is_stored_uncompressed(tmp_path):
    np.savez(tmp_path / "x.npz", train=np.arange(4000.0).reshape(100, 40), test=np.arange(400.0).reshape(10, 40))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[5000] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz: train is damaged .*CRC"):
        open_dataset(str(tmp_path / "x.npz"))
