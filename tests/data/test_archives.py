"""Archives of images: what a folder is, an archive of it is, and what an archive can be that a folder can't is refused."""

import contextlib
import io
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from lowerbound.cli.main import run
from lowerbound.data import open_dataset
from lowerbound.data.listing import ARCHIVES
from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.run.examples import read_for

KINDS = (".zip", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "lowerbound"


def png(seed=0, shape=(4, 5)):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    "train/cat/1.png": png(1),
    "train/cat/deep/2.png": png(2),
    "train/dog/1.png": png(3),
    "train/dog/10.png": png(4),
    "train/dog/2.png": png(5),
    "test/cat/1.png": png(6),
    "test/dog/1.png": png(7),
    "readme.txt": b"words",
    "train/.hidden.png": b"nothing",
    "train/cat/Thumbs.db": b"nothing",
}


def packed(path, files):
    """An archive of contents by name, or of entries as they are; its kind by the end of its name."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return str(path)
    ending = path.name.rpartition(".")[2]
    with tarfile.open(path, "w" if ending == "tar" else f"w:{ending}") as archive:
        for name, content in files.items():
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = entry.size or len(content)
            archive.addfile(entry, io.BytesIO(content))
    return str(path)


def unpacked(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


@pytest.mark.parametrize("before", ["", "./", "pictures/", "home/me/pictures/"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_what_its_folder_is(tmp_path, cache, kind, before):
    shuffled = [*FILES.items()][::-1]
    archive = packed(tmp_path / f"pictures{kind}", {before + name: content for name, content in shuffled})
    ours, theirs = open_dataset(archive), open_dataset(unpacked(tmp_path / "folder", FILES))
    assert np.array_equal(ours.examples, theirs.examples)
    assert np.array_equal(ours.labels, theirs.labels)
    assert ours.spec.class_names == theirs.spec.class_names == ("cat", "dog")
    assert len(ours.test) == 2
    assert ours.fingerprint() == theirs.fingerprint()
    assert not cache.exists() or not any(cache.iterdir()), "nothing is left"


def test_all_endings_are_known():
    assert set(KINDS) <= set(ARCHIVES)


def test_folders_that_an_archive_names_are_no_images(tmp_path):
    path = tmp_path / "x.tar"
    unpacked(tmp_path / "x", {name: content for name, content in FILES.items() if name.startswith("train")})
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "x", "x")
    assert open_dataset(str(path)).spec.class_names == ("cat", "dog")
    (tmp_path / "x" / "train" / "cow").mkdir()
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "x", ".")
    with pytest.raises(InputError, match=r"x\.tar/train/cow holds no images"):
        open_dataset(str(path))


def test_an_archive_larger_than_memory_is_read_into_a_file(tmp_path, monkeypatch, cache):
    archive = packed(tmp_path / "x.tar.gz", {f"{k}.png": png(k) for k in range(200)})
    whole = open_dataset(archive)
    monkeypatch.setenv("LOWERBOUND_MEMORY", str(4000 / 2**30))
    assert open_dataset(archive).fingerprint() == whole.fingerprint()
    assert not any(cache.iterdir())


def _entry(name, kind, target="", size=0):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, target, size
    return entry


GOOD = {f"good{k}.png": png(k) for k in range(4)}
TAR_FAULTS = {
    "symbolic link": (_entry("a.png", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
    "hard link": (_entry("a.png", tarfile.LNKTYPE, "good1.png"), "a link"),
    "device": (_entry("a.png", tarfile.CHRTYPE), "not a regular file"),
    "fifo": (_entry("a.png", tarfile.FIFOTYPE), "not a regular file"),
    "climbing": (_entry("../a.png", tarfile.REGTYPE), "a path that leads out"),
    "climbing inside": (_entry("b/../../a.png", tarfile.REGTYPE), "a path that leads out"),
    "absolute": (_entry("/tmp/a.png", tarfile.REGTYPE), "a path that leads out"),
    "drive": (_entry("C:/a.png", tarfile.REGTYPE), "a path that leads out"),
    "twice": (_entry("./good3.png", tarfile.REGTYPE), "twice in the archive"),
    "nested": (_entry("a.zip", tarfile.REGTYPE), "an archive in an archive"),
    "other": (_entry("a.exe", tarfile.REGTYPE), r"not an image by its suffix '\.exe'"),
}


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
@pytest.mark.parametrize("fault", TAR_FAULTS)
def test_members_of_a_tar_that_are_no_images_are_named(tmp_path, fault, kind):
    entry, reason = TAR_FAULTS[fault]
    entry.size = 0
    archive = packed(tmp_path / f"x{kind}", {**GOOD, entry: png() if entry.isreg() else b""})
    refused = r"files cannot be used:\n  \S+: .*" + reason
    if entry.size == 0 and kind == ".tar.gz":
        refused = reason  # or at once
    with pytest.raises(InputError, match=refused):
        open_dataset(archive)
    if not entry.isreg():
        return
    with pytest.warns(UserWarning, match=reason):
        assert len(open_dataset(archive, skip_bad_files=True).examples) == 4 - (fault == "twice")


@pytest.mark.parametrize(
    "fault", ["encrypted", "link", "climbing", "absolute", "twice", "long", "short", "crc", "method"]
)
def test_members_of_a_zip_that_are_no_images_are_named(tmp_path, fault):
    path = tmp_path / "x.zip"
    name = {"climbing": "..\\a.png", "absolute": "/a.png", "twice": "good3.png"}.get(fault, "a.png")
    entry = zipfile.ZipInfo(name)
    if fault == "link":
        entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        for good, content in GOOD.items():
            archive.writestr(good, content)
        if fault == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(entry, png())
        else:
            archive.writestr(entry, png(shape=(40, 50)))
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    size = struct.unpack_from("<I", content, central + 24)[0]
    if fault == "encrypted":
        content[central + 8] |= 1
    elif fault == "method":
        content[central + 10] = 99
    elif fault == "crc":
        content[central + 16] ^= 255
    elif fault in ("long", "short"):
        struct.pack_into("<I", content, central + 24, size * 2 if fault == "long" else size // 2)
        struct.pack_into("<I", content, central + 20, size * 2 if fault == "long" else size // 2)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"1 of \d files cannot be used:\n  (\.\./)?(a|good3)\.png: \S+"):
        open_dataset(str(path))


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
def test_a_member_larger_than_memory_is_never_unpacked(tmp_path, monkeypatch, kind):
    archive = packed(tmp_path / f"x{kind}", {**GOOD, "bomb.png": bytes(30_000_000)})
    monkeypatch.setenv("LOWERBOUND_MEMORY", "0.02")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bomb\.png: it would take .*LOWERBOUND_MEMORY"):
        open_dataset(archive)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_tar_that_grows_without_end_is_refused_where_there_is_no_room(tmp_path, monkeypatch):
    archive = packed(tmp_path / "x.tar.gz", {f"{k}.png": bytes(1000) for k in range(100)})
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.statvfs_result)
    monkeypatch.setattr("os.statvfs_result.free", 999, raising=False)
    with pytest.raises(InputError, match=r"unpacking .*has 9.3e-07 GiB left"):
        open_dataset(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive_is_an_input_error_or_none(tmp_path, kind):
    path = tmp_path / f"x{kind}"
    packed(path, {f"{name}/{k}.png": png(k) for name in ("cat", "dog") for k in range(4)})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    began = time.process_time()
    for trial in range(40):
        content = bytearray(whole)
        if trial % 2:
            content = content[: rng.integers(len(content))]
        else:
            first = rng.integers(len(content) - 20)
            content[first : first + 20] = rng.bytes(20)
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            open_dataset(str(path))
    assert time.process_time() - began < 20
    for content in (b"", b"PK\x03\x04", b"words" * 1000):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"is damaged, cut off|holds no images"):
            open_dataset(str(path))


def test_labels_of_a_table_are_those_of_folders(tmp_path):
    files = {f"{folder}/{k}.png": png(10 * k + (folder == "b")) for folder in ("a", "b") for k in range(4)}
    by_folder = open_dataset(packed(tmp_path / "x.zip", files))
    labels = tmp_path / "labels.csv"
    for text in (
        "file,label\n" + "".join(f"{name},{name[0]}\n" for name in files),
        "\ufeffid,Label,File\n" + "".join(f"7,{name[0]},./{name}\n" for name in files),
        "".join(f"{name};{name[0]}\r\n" for name in files) + "\n",
    ):
        labels.write_text(text, encoding="utf-8")
        by_table = open_dataset(str(tmp_path / "x.zip"), labels=str(labels))
        assert np.array_equal(by_table.labels, by_folder.labels)
        assert by_table.fingerprint() == by_folder.fingerprint()
    # places mean nothing then, and a file that is alone in being called so needs no folder
    loose = {f"{name.replace('/', '-')}": content for name, content in files.items()}
    labels.write_text("".join(f"{name},{'ab'[k % 2]}\n" for k, name in enumerate(loose)))
    dataset = open_dataset(unpacked(tmp_path / "deep" / "er" / "x", loose), labels=str(labels))
    assert np.array_equal(dataset.labels, np.arange(8) % 2)
    assert np.array_equal(open_dataset(str(tmp_path / "deep"), labels=str(labels)).labels, np.arange(8) % 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no labels"),
        ("file,label\n", "holds no labels"),
        ("good0.png,a\ngood1.png\n", "line 2: 1 column"),
        ("good0.png,\n", "line 1: the label is empty"),
        (",a\n", "line 1: the file is empty"),
        ("good0.png,a\ngood0.png,b\n", "line 2: good0.png is b here and a further up"),
        ("good0.png,a\n", "3 files have no label in --labels: good1.png, good2.png, good3.png$"),
        (
            "".join(f"good{k}.png,a\n" for k in range(6)),
            "2 labels are of files that are not there: good4.png, good5.png$",
        ),
        ("good0.png,a\0\n", "bytes of value 0"),
    ],
)
def test_labels_that_do_not_go_with_the_files(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        open_dataset(unpacked(tmp_path / "x", GOOD), labels=str(tmp_path / "labels.csv"))


def test_labels_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"--labels .*none\.csv cannot be read"):
        open_dataset(unpacked(tmp_path / "x", GOOD), labels=str(tmp_path / "none.csv"))


def test_a_run_finds_its_labels_again(tmp_path, monkeypatch):
    packed(tmp_path / "x.tar", {f"{k}.png": png(k) for k in range(12)})
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{k}.png,{'ab'[k % 2]}\n" for k in range(12)))
    monkeypatch.chdir(tmp_path)
    network = ["--network.width", "8", "--network.multipliers", "1", "--num-pictures", "0", "--batch-size", "4"]
    train = [
        "train",
        "x.tar",
        "--labels",
        "labels.csv",
        "--conditional",
        "--flip",
        "--steps",
        "1",
        "-o",
        "run",
        *network,
    ]
    assert run(train) == 0
    monkeypatch.chdir("/")
    opened = open_run(tmp_path / "run")
    assert opened.open_dataset().labels.tolist() == [int(k) % 2 for k in sorted(map(str, range(12)))]
    assert read_for(opened, str(tmp_path / "x.tar")).class_names == ("a", "b")
    other = packed(tmp_path / "y.tar", {f"{k}.png": png(k) for k in range(3)})
    assert read_for(opened, other).labels is None, "they are of other files"
