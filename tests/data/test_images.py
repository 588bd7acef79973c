"""Folders of images: structure, pixels, sizes."""

import mmap
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lowerbound.data import DataConfig, Levels, open_dataset
from lowerbound.data.images.examples import read_header, read_image, read_images
from lowerbound.data.source import read_examples
from lowerbound.errors import InputError


def open_folder(path, **settings):
    return read_images(path, **settings).dataset()


def _pixels(*shape, dtype="uint8", seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def _fill(folder, num_images=4, shape=(4, 5), suffix="png"):
    """Different images in a folder; returns their pixels in the order of names."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = [_pixels(*shape, seed=k) for k in range(num_images)]
    for k, array in enumerate(pixels):
        Image.fromarray(array).save(folder / f"{k:03}.{suffix}")
    return np.stack(pixels)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "gif", "jpg"])
def test_formats_are_read(tmp_path, suffix):
    flat = np.full((8, 9, 3), 200, np.uint8)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(flat).save(path)
    assert np.abs(read_image(path).astype(int) - flat).max() <= 2


def test_colour_images_without_classes(tmp_path):
    pixels = _fill(tmp_path, shape=(4, 5, 3))
    dataset = open_folder(tmp_path)
    assert dataset.labels is None
    assert dataset.spec.layout == "NHWC"
    assert dataset.spec.encoding == Levels(256, 0, "uint8")
    assert np.array_equal(dataset.examples, pixels.transpose(0, 3, 1, 2))


def test_classes_are_folders(tmp_path):
    cats, dogs = _fill(tmp_path / "cat" / "black", 3), _fill(tmp_path / "dog", 5, suffix="PNG")
    dataset = open_folder(tmp_path)
    assert dataset.spec.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0] * 3 + [1] * 5
    assert dataset.spec.layout == "NHW"
    assert np.array_equal(dataset.examples[:, 0], np.concatenate([cats, dogs]))


@pytest.mark.parametrize("validation", [None, "validation", "val"])
def test_splits_are_folders(tmp_path, validation):
    for k, split in enumerate(["train", "test"] + [validation] * (validation is not None)):
        for name in ("cat", "dog"):
            _fill(tmp_path / split / name, 10 + k)
    dataset = open_folder(tmp_path)
    sizes = (len(dataset.train), len(dataset.validation), len(dataset.test))
    assert sizes == ((18, 2, 22) if validation is None else (20, 24, 22))
    assert np.bincount(dataset.labels[dataset.test]).tolist() == [11, 11]


def test_splits_without_classes(tmp_path):
    train, test = _fill(tmp_path / "train", 20), _fill(tmp_path / "test", 3)
    dataset = open_folder(tmp_path)
    assert dataset.labels is None
    assert np.array_equal(dataset.examples[dataset.test][:, 0], test)
    assert len(dataset.train) + len(dataset.validation) == len(train)


def test_what_is_no_image_by_its_name_is_left_out(tmp_path):
    _fill(tmp_path / "cat")
    for name in ("Thumbs.db", ".DS_Store", "labels.csv", "cat/.hidden.png", "cat/readme.txt", "cat/meta.json"):
        (tmp_path / name).write_bytes(b"not an image")
    (tmp_path / ".git").mkdir()
    assert len(open_folder(tmp_path).examples) == 4


def test_grey_and_colour_become_colour(tmp_path):
    grey = _fill(tmp_path)
    colour = _pixels(4, 5, 3)
    Image.fromarray(colour).save(tmp_path / "x.png")
    dataset = open_folder(tmp_path)
    assert dataset.shape == (3, 4, 5)
    assert np.array_equal(dataset.examples[:4], np.repeat(grey[:, None], 3, 1))
    assert np.array_equal(dataset.examples[4], colour.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("mode", "pixel", "background", "shown"),
    [
        ("RGBA", (200, 100, 0, 51), "white", (244, 224, 204)),  # a fifth of the pixel, four fifths of white
        ("RGBA", (200, 100, 0, 0), "#102030", (16, 32, 48)),
        ("LA", (100, 51), "white", 224),
        ("LA", (100, 0), "red", 76),  # grey stays grey, and red has this luminance
    ],
)
def test_transparent_pixels_are_laid_upon_a_background(tmp_path, mode, pixel, background, shown):
    image = Image.new(mode, (8, 6), pixel)
    image.putpixel((0, 0), (*pixel[:-1], 255))
    for number in range(4):
        image.save(tmp_path / f"{number}.png")
    with pytest.raises(
        InputError, match="transparent pixels: give the colour beneath them, such as --background white"
    ):
        open_dataset(str(tmp_path))
    found = open_dataset(str(tmp_path), background=background).examples[0]
    assert found.shape == (len(pixel) - 1, 6, 8)
    assert np.abs(found[:, 3, 4].astype(int) - shown).max() <= 1
    assert found[:, 0, 0].tolist() == [*pixel[:-1]]


def test_a_background_is_a_colour(tmp_path):
    Image.new("L", (8, 6)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="--background blurple: there is no such colour"):
        open_dataset(str(tmp_path), background="blurple")


def test_image_size_crops_centrally_and_resizes(tmp_path):
    # a red square between green margins of any size
    for k, margin in enumerate((0, 10, 20, 30)):
        array = np.zeros((40, 40 + 2 * margin, 3), np.uint8)
        array[..., 1] = 255
        array[:, margin : margin + 40] = (255, 0, 0)
        Image.fromarray(array).save(tmp_path / f"{k}.png")
    dataset = open_folder(tmp_path, image_size=(8, 8))
    assert dataset.shape == (3, 8, 8)
    assert (dataset.examples == np.array([255, 0, 0]).reshape(3, 1, 1)).all()
    assert open_folder(tmp_path, image_size=(2, 6)).shape == (3, 2, 6)


def test_resizing_averages(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    assert np.abs(read_image(tmp_path / "board.png", (8, 8)).astype(int) - 127).max() <= 8


def test_sixteen_bits_are_kept_and_resized(tmp_path):
    for k in range(4):
        Image.fromarray(np.full((6, 6), 1000 + k, np.uint16)).save(tmp_path / f"{k}.png")
    for size in (None, (3, 3)):
        dataset = open_folder(tmp_path, image_size=size)
        assert dataset.spec.encoding == Levels(65_536, 0, "uint16")
        assert [np.unique(example).tolist() for example in dataset.examples] == [[1000], [1001], [1002], [1003]]


def test_several_sizes_are_an_error_that_names_two(tmp_path):
    _fill(tmp_path)
    Image.new("L", (7, 3)).save(tmp_path / "odd.png")
    with pytest.raises(InputError, match=r"000\.png has 4 x 5 .*odd\.png 3 x 7.*--image-size"):
        open_folder(tmp_path)


def test_several_depths_are_an_error_that_names_two(tmp_path):
    _fill(tmp_path)
    Image.fromarray(_pixels(4, 5, dtype="uint16")).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"000\.png has 8 bits, .*deep\.png 16"):
        open_folder(tmp_path)


def _limit(monkeypatch, num_bytes):
    monkeypatch.setenv("LOWERBOUND_MEMORY", str(num_bytes / 2**30))


def _is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    """A cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp"])
def test_what_does_not_fit_into_memory_is_decoded_into_a_file(tmp_path, monkeypatch, cache, suffix):
    _fill(tmp_path, shape=(40, 50), suffix=suffix)
    header = read_header(tmp_path / f"000.{suffix}")
    total = 4 * header.num_bytes + header.work
    _limit(monkeypatch, total)
    inside = open_folder(tmp_path)
    assert not _is_mapped(inside.examples)
    _limit(monkeypatch, total - 1)
    outside = open_folder(tmp_path)
    assert _is_mapped(outside.examples)
    assert np.array_equal(inside.examples, outside.examples)
    assert inside.fingerprint() == outside.fingerprint()
    assert torch.equal(inside.encoded(np.array([3, 0])), outside.encoded(np.array([3, 0])))
    assert not any((cache / "lowerbound").iterdir()), "it has no name"
    assert not _is_mapped(open_folder(tmp_path, image_size=(20, 25)).examples)


def test_what_fits_neither_into_memory_nor_on_the_disk_is_refused_before_any_image_is_decoded(
    tmp_path, monkeypatch, cache
):
    _fill(tmp_path, shape=(40, 50))
    header = read_header(tmp_path / "000.png")
    _limit(monkeypatch, 4 * header.num_bytes + header.work - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4 * header.num_bytes - 1))

    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    for image_size in (None, (40, 50)):
        with pytest.raises(InputError, match=rf"4 images of 40 x 50 .*LOWERBOUND_MEMORY.*{cache}.*XDG_CACHE_HOME"):
            open_folder(tmp_path, image_size=image_size)


def test_a_grey_folder_with_one_colour_image_takes_three_channels_each(tmp_path, monkeypatch, cache):
    _fill(tmp_path, shape=(40, 50))
    Image.fromarray(_pixels(40, 50, 3)).save(tmp_path / "colour.png")
    work = read_header(tmp_path / "colour.png").work
    _limit(monkeypatch, 3 * 5 * 40 * 50 + work - 1)
    assert _is_mapped(open_folder(tmp_path).examples)
    _limit(monkeypatch, 3 * 5 * 40 * 50 + work)
    assert open_folder(tmp_path).shape == (3, 40, 50)
    assert not _is_mapped(open_folder(tmp_path).examples)


def _memory(name):
    """A line of this process's status, in bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's account of memory")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK", "JPEG", "WEBP"])
@pytest.mark.parametrize("turned", [False, True])
def test_decoding_takes_no_more_than_the_header_says(tmp_path, mode, turned):
    path = tmp_path / f"x.{ {'CMYK': 'tiff', 'JPEG': 'jpg', 'WEBP': 'webp'}.get(mode, 'png') }"
    colour = {"RGBA": (1, 2, 3, 255), "LA": (9, 255)}.get(mode, 0)
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    Image.new("RGB" if mode in {"JPEG", "WEBP"} else mode, (3000, 2000), colour).save(path, exif=exif)
    header = read_header(path)
    for image_size in (None, (16, 16)):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _memory("VmRSS")
        array = read_image(path, image_size)
        assert _memory("VmHWM") - before < header.work + 2e6, image_size
        assert header.channels == (1 if array.ndim == 2 else 3)
        assert image_size or header.num_bytes == array.nbytes


def test_a_file_too_large_to_decode_is_bad_and_named(tmp_path, monkeypatch):
    _fill(tmp_path, shape=(40, 50))
    Image.new("L", (500, 400)).save(tmp_path / "large.png")
    _limit(monkeypatch, 300_000)
    with pytest.raises(
        InputError, match=r"1 of 5 files .*\n  large\.png: decoding 500 x 400 pixels would take .*MEMORY"
    ):
        open_folder(tmp_path, image_size=(40, 50))
    with pytest.raises(InputError, match="decoding 500 x 400 pixels"):
        read_image(tmp_path / "large.png")
    with pytest.warns(UserWarning, match="large"):
        assert len(open_folder(tmp_path, image_size=(40, 50), skip_bad_files=True).examples) == 4


def test_a_colour_image_that_is_left_out_leaves_the_others_grey(tmp_path):
    pixels = _fill(tmp_path, shape=(40, 50))
    Image.fromarray(_pixels(40, 50, 3)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-300])
    with pytest.warns(UserWarning, match=r"cut\.png"):
        dataset = open_folder(tmp_path, skip_bad_files=True)
    assert dataset.spec.layout == "NHW"
    assert np.array_equal(dataset.examples[:, 0], pixels)


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_image_size_is_positive(tmp_path, size):
    with pytest.raises(InputError, match="at least one pixel"):
        open_folder(tmp_path, image_size=size)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "holds no images"),
        (["cat", "dog/"], "class folder .*dog holds no images"),
        (["cat", "."], "beside them"),
        (["train", "test", "extra"], "extra beside the folder train"),
        (["train", "val", "validation"], "both val and validation"),
        (["train/cat", "test/cat", "test/dog"], "class dog has no images in train"),
        (["train/cat", "test"], "beside them"),
    ],
)
def test_structures_that_contradict_themselves(tmp_path, folders, message):
    for name in folders:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            _fill(tmp_path / name)
    with pytest.raises(InputError, match=message):
        open_folder(tmp_path)


def test_a_folder_of_a_table_names_the_file(tmp_path):
    (tmp_path / "load.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"holds no images .*; to read load\.csv, give the file instead of its folder"):
        open_folder(tmp_path)
    with zipfile.ZipFile(tmp_path / "load.zip", "w") as archive:
        archive.write(tmp_path / "load.csv", "load.csv")
    with pytest.raises(InputError, match=r"to read load\.csv, unpack it and give the file"):
        open_folder(tmp_path / "load.zip")


def test_images_of_several_sizes_say_what_to_give(tmp_path):
    for size in (8, 9):
        Image.fromarray(np.zeros((size, 8, 3), np.uint8)).save(tmp_path / f"{size}.png")
    with pytest.raises(InputError, match=r"9\.png 9 x 8: .*such as --image-size 8 8"):
        open_folder(tmp_path)


_CIFAR = Path(os.environ.get("LOWERBOUND_DATA", "/nowhere")) / "cifar10-jpg"


@pytest.mark.skipif(not (_CIFAR / "test").is_dir(), reason="needs the unpacked cifar10-jpg in LOWERBOUND_DATA")
def test_a_real_folder():
    dataset = open_folder(_CIFAR / "test")
    assert dataset.examples.shape == (10_000, 3, 32, 32)
    assert np.bincount(dataset.labels).tolist() == [1000] * 10
    # published channel means of CIFAR-10
    assert np.abs(dataset.examples.mean((0, 2, 3)) / 255 - [0.491, 0.482, 0.447]).max() < 0.01


@pytest.mark.parametrize("suffix", ["png", "BMP"])
def test_a_single_image_is_one_example(tmp_path, suffix):
    _fill(tmp_path, shape=(6, 7))
    array = _pixels(6, 7, seed=9)
    Image.fromarray(array).save(tmp_path / f"one.{suffix}")
    one = read_examples(DataConfig(str(tmp_path / f"one.{suffix}")))
    assert np.array_equal(one.values[:, 0], array[None])
    assert one.files == (f"one.{suffix}",)


def test_a_single_image_may_be_linked_to_and_is_refused_in_a_line(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    Image.fromarray(_pixels(4, 5)).save(tmp_path / "far" / "x.png")
    (tmp_path / "near" / "x.png").symlink_to(tmp_path / "far" / "x.png")
    assert len(read_examples(DataConfig(str(tmp_path / "near" / "x.png"))).values) == 1
    for content, fault in ((b"no image", "not an image of the formats"), (b"", "empty")):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(InputError, match=rf"bad\.png: {fault}[^\n]*$"):
            read_examples(DataConfig(str(tmp_path / "bad.png")))
