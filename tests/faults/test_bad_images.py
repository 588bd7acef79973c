"""Bad images are refused by name and reason: nothing is dropped silently, nothing hangs, nothing fills the memory."""

import io
import os
import socket
import struct
import sys
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from lowerbound.cli import main
from lowerbound.data import DataSpec, describe
from lowerbound.data.images.examples import MAX_PIXELS, read_images
from lowerbound.errors import InputError


def open_folder(path, **settings):
    return read_images(path, **settings).dataset()


def _image(mode="RGB", size=(16, 16), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def _encoded(form, image=None, **options):
    buffer = io.BytesIO()
    (image or _image()).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A folder of four good images."""
    root = tmp_path / "images"
    root.mkdir()
    for k in range(4):
        _image(seed=k).save(root / f"good{k}.png")
    return root


def _png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width, height, depth, colour, rows=b""):
    """A PNG file written by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


_FRAMES = [_image(seed=k) for k in range(3)]
_ANIMATION = {"save_all": True, "append_images": _FRAMES[1:]}
_BAD = {
    "empty.png": (b"", "empty"),
    "cut.png": (_encoded("PNG")[:-300], "trunc|broken|stream"),
    "cut.jpg": (_encoded("JPEG", quality=95)[:-200], "truncated"),
    "cut.webp": (_encoded("WEBP")[:-40], "."),
    "cut.tiff": (_encoded("TIFF")[:200], "."),
    "header.gif": (_encoded("GIF")[:8], "not an image"),
    "text.png": (b"I am no image", "not an image of the formats PNG"),
    "zeros.jpg": (bytes(500), "not an image"),
    "photo.psd": (b"8BPS", "suffix '.psd'"),
    "good.dat": (_encoded("PNG"), "suffix '.dat'"),
    "no-suffix": (_encoded("PNG"), "suffix ''"),
    "pcx.png": (_encoded("PCX"), "not an image of the formats"),
    "moving.gif": (_encoded("GIF", _FRAMES[0], **_ANIMATION), "3 frames"),
    "moving.png": (_encoded("PNG", _FRAMES[0], **_ANIMATION), "3 frames"),
    "moving.webp": (_encoded("WEBP", _FRAMES[0], **_ANIMATION), "3 frames"),
    "pages.tiff": (_encoded("TIFF", _FRAMES[0], **_ANIMATION), "3 frames"),
    "glass.png": (_encoded("PNG", Image.new("RGBA", (16, 16), (9, 9, 9, 128))), "transparent"),
    "palette-glass.png": (_encoded("PNG", _image("P"), transparency=_image("P").getpixel((0, 0))), "transparent"),
    "bomb.png": (_png(20_000, 20_000, 8, 2), "pixels"),
    "large.png": (_png(MAX_PIXELS // 1000 + 1, 1000, 8, 0), "pixels"),
    "deep-colour.png": (_png(16, 16, 16, 2, (b"\0" + bytes(96)) * 16), "16 bits per channel"),
    "doubtful.jpg": (_encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"), "EXIF"),
    "float.tiff": (_encoded("TIFF", Image.new("F", (16, 16))), "mode F"),
}


@pytest.mark.parametrize("name", _BAD)
def test_each_bad_file_is_named_with_its_reason(folder, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)  # which would read floats
    content, reason = _BAD[name]
    (folder / name).write_bytes(content)
    with pytest.raises(
        InputError, match=rf"1 of 5 files cannot be used:\n  {name}: .*({reason})(.|\n)*--skip-bad-files"
    ):
        open_folder(folder)
    with pytest.warns(UserWarning, match=rf"1 of 5 files left out:\n  {name}: .*({reason})"):
        dataset = open_folder(folder, skip_bad_files=True)
    assert len(dataset.examples) == 4


def test_a_bomb_costs_neither_time_nor_memory(folder):
    # four gigabytes of pixels in some kilobytes
    (folder / "bomb.png").write_bytes(_png(40_000, 33_000, 8, 2, bytes(4_000_000)))
    start = time.process_time()  # whatever else the machine does
    with pytest.raises(InputError, match=r"bomb\.png: .*pixels"):
        open_folder(folder)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("kind", ["outside", "outside folder", "loop", "dangling", "fifo", "socket", "device"])
def test_what_is_no_regular_file_in_the_folder_is_never_opened(folder, kind, monkeypatch):
    strange = folder / "strange.png"
    outside = folder.parent / "outside"
    outside.mkdir()
    _image().save(outside / "secret.png")
    match kind:
        case "outside":
            strange.symlink_to(outside / "secret.png")
        case "outside folder":
            strange.symlink_to(outside)
        case "loop":
            strange.symlink_to(folder)
        case "dangling":
            strange.symlink_to(folder / "nothing.png")
        case "fifo":
            os.mkfifo(strange)
        case "socket":
            monkeypatch.chdir(folder)
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("strange.png")
        case "device":
            strange = folder / "null.png"
            try:
                os.mknod(strange, 0o020666, os.makedev(1, 3))
            except OSError:
                pytest.skip("needs the right to make device files")
    with pytest.raises(InputError, match=rf"1 of 5 files .*\n  {strange.name}: "):
        open_folder(folder)


def test_a_link_inside_the_folder_is_as_good_as_a_file(folder):
    (folder / "link.png").symlink_to(folder / "good0.png")
    assert len(open_folder(folder).examples) == 5


def test_many_bad_files_are_counted_and_ten_listed(folder):
    for k in range(25):
        (folder / f"bad{k:02}.png").write_bytes(b"" if k % 2 else b"text")
    with pytest.raises(InputError) as caught:
        open_folder(folder)
    message = str(caught.value)
    assert "25 of 29 files" in message
    assert "and 15 more" in message
    assert sum("bad" in line for line in message.splitlines()[1:-1]) == 10


def test_nothing_left_is_an_error_even_when_skipping(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"text")
    with pytest.warns(UserWarning, match="1 of 1 files"), pytest.raises(InputError, match="holds no images"):
        open_folder(tmp_path, skip_bad_files=True)


def test_reading_leaves_the_warning_filters_alone(folder):
    before = list(warnings.filters)
    open_folder(folder)
    assert warnings.filters == before


def _only(tmp_path, content, suffix):
    """Four copies of one file as a data set; returns the first example."""
    for k in range(4):
        (tmp_path / f"{k}.{suffix}").write_bytes(content)
    return open_folder(tmp_path).examples[0]


def test_an_image_under_another_images_suffix_is_read_by_its_content(tmp_path):
    expected = np.asarray(_image()).transpose(2, 0, 1)
    assert np.array_equal(_only(tmp_path, _encoded("PNG"), "jpg"), expected)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_kept(tmp_path, form):
    pixels = np.random.default_rng(0).integers(0, 65_536, (5, 6), dtype=np.uint16)
    example = _only(tmp_path, _encoded(form, Image.fromarray(pixels)), form.lower())
    assert example.dtype == np.uint16
    assert np.array_equal(example[0], pixels)


def test_a_palette_becomes_colours(tmp_path):
    image = _image("P")
    assert np.array_equal(
        _only(tmp_path, _encoded("PNG", image), "png"), np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    )


def test_cmyk_becomes_colours(tmp_path):
    example = _only(tmp_path, _encoded("JPEG", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95), "jpg")
    assert np.abs(example.astype(int) - np.array([255, 0, 0]).reshape(3, 1, 1)).max() <= 3


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1)])
def test_opaque_alpha_is_dropped(tmp_path, mode, channels):
    image = _image("RGB" if channels == 3 else "L")
    example = _only(tmp_path, _encoded("PNG", image.convert(mode)), "png")
    assert np.array_equal(example, np.atleast_3d(np.asarray(image)).transpose(2, 0, 1))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
@pytest.mark.parametrize(("form", "mode"), [("PNG", "RGB"), ("PNG", "I;16"), ("JPEG", "L")])
def test_exif_rotation_is_applied(tmp_path, form, mode, orientation, turns):
    pixels = np.zeros((16, 24), np.uint16 if mode == "I;16" else np.uint8)
    pixels[:8, :8] = 200
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    example = _only(tmp_path, _encoded(form, image.convert("RGB") if mode == "RGB" else image, exif=exif), form.lower())
    assert np.abs(example[0].astype(int) - np.rot90(pixels, turns)).max() <= (3 if form == "JPEG" else 0)


def test_one_image_is_too_few(tmp_path):
    _image().save(tmp_path / "one.png")
    with pytest.raises(InputError, match="at least three"):
        open_folder(tmp_path)


def _hostile_folder(root):
    """Names that would clear a terminal, turn the writing around, and pass for a line of ours or a formula."""
    for name in ("cat\x1b[2J", "d\u202eog"):
        for k in range(6):
            path = root / name / f"={k}\x1b]0;title\x07\n{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            _image("L", seed=k).save(path)
    return root


def _shows_nothing_hidden(text):
    return text.replace("\n", "").isprintable()


def test_names_of_classes_and_files_are_printed_as_they_are_seen(tmp_path):
    examples = read_images(_hostile_folder(tmp_path))
    assert examples.class_names == (r"cat\x1b[2J", r"d\u202eog")
    assert examples.files[0] == r"cat\x1b[2J/=0\x1b]0;title\x07\n0.png"
    assert _shows_nothing_hidden(describe(examples.dataset()))


@pytest.mark.parametrize("fault", ["empty", "size", "depth", "loose", "class"])
def test_an_error_shows_the_names_in_it(tmp_path, fault, capsys):
    root = _hostile_folder(tmp_path)
    strange = root / "cat\x1b[2J" / "~\x1b[2J\nerror: nothing.png"
    match fault:
        case "empty":
            strange.write_bytes(b"")
        case "size":
            _image("L", (3, 3)).save(strange)
        case "depth":
            Image.fromarray(np.zeros((16, 16), np.uint16)).save(strange)
        case "loose":
            _image("L").save(root / strange.name)
        case _:
            (root / strange.name).mkdir()
    assert main.run(["train", str(root), "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert r"\x1b[2J\nerror: nothing" in told
    assert _shows_nothing_hidden(told)


def test_a_warning_shows_the_names_in_it(tmp_path, capsys):
    root = _hostile_folder(tmp_path)
    (root / "cat\x1b[2J" / "~\x1b[2J.png").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main.run(["train", str(root), "--dry-run", "--skip-bad-files", "--batch-size", "9999"]) == 2
    told = capsys.readouterr().err
    assert "warning: " in told
    assert r"~\x1b[2J.png: empty" in told
    assert _shows_nothing_hidden(told)


def test_what_all_files_have_in_common_is_said_once(tmp_path):
    for number in range(12):
        Image.new("RGBA", (16, 16), (9, 9, 9, 128)).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match=r"none of its 12 files can be used; of each, [^\n]* --background white$"):
        open_folder(tmp_path)


def test_two_classes_of_one_printed_name_are_refused(tmp_path):
    for name in ("cat\x1b", r"cat\x1b"):
        (tmp_path / name).mkdir()
        _image().save(tmp_path / name / "1.png")
    with pytest.raises(InputError, match=r"two classes .*cat\\x1b: rename"):
        open_folder(tmp_path)


def test_the_names_in_a_strangers_run_are_shown_too(tmp_path):
    facts = open_folder(_hostile_folder(tmp_path)).spec.to_dict()
    hostile = {**facts, "name": "a\x1b[2J", "class_names": ["b\x1b[2J", "c"]}
    read = DataSpec.from_dict(hostile)
    assert read.name == r"a\x1b[2J"
    assert read.class_names == (r"b\x1b[2J", "c")
    assert DataSpec.from_dict(facts).class_names == open_folder(tmp_path).spec.class_names
