"""Data sets of the hub: images by the rules of folders, numbers as vectors, and what is said where there are none.

The library is a fake that has what is used of it; where the real one is installed, it reads its own files as well.
"""

import io
import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Picture

from lowerbound.cli.main import run
from lowerbound.data import DataConfig, open_dataset
from lowerbound.data import hub as hub_source
from lowerbound.data.hub import load_first
from lowerbound.data.source import read_examples
from lowerbound.errors import InputError


def png(seed):
    buffer = io.BytesIO()
    Picture.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 5), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Image:
    """The library's feature of a column of images."""

    def __init__(self, decode=True):
        self.decode = decode


class ClassLabel:
    """The library's feature of a column of labels."""

    dtype = "int64"

    def __init__(self, names):
        self.names = names


class Value:
    """The library's feature of another column."""

    def __init__(self, dtype):
        self.dtype = dtype


class Part:
    """A split in memory, with what is used of the library's."""

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: column[key] for name, column in self.columns.items()}

    def cast_column(self, name, feature):
        assert not feature.decode
        return Part(self.columns, {**self.features, name: feature})


def collected(rows, features):
    """Rows as a split."""
    return Part({name: [row[name] for row in rows] for name in features}, features)


class Streamed:
    """A split that is fetched row by row, and notes how many were."""

    def __init__(self, part, fetched, num=None):
        self.part, self.fetched, self.num = part, fetched, num
        self.features = part.features

    def cast_column(self, name, feature):
        return Streamed(self.part.cast_column(name, feature), self.fetched)

    def take(self, num):
        return Streamed(self.part, self.fetched, num)

    def __iter__(self):
        for number in range(min(self.num, len(self.part))):
            self.fetched.append(number)
            yield self.part[number]


@pytest.fixture
def hub(monkeypatch):
    """The fake library; `sets` are those that it knows."""
    library = ModuleType("datasets")
    library.sets, library.fetched = {}, []
    library.Dataset = SimpleNamespace(from_list=collected)

    def load_dataset(name, split=None, streaming=False):
        if name not in library.sets:
            raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nand a second line")
        parts = library.sets[name]
        if streaming:
            return Streamed(parts[split], library.fetched)
        return parts if split is None else parts[split]

    library.load_dataset, library.Image = load_dataset, Image
    monkeypatch.setitem(sys.modules, "datasets", library)
    return library


FEATURES = {"image": Image(), "label": ClassLabel(["dog", "cat"])}


def part(seeds):
    return Part(
        {"image": [{"bytes": png(seed), "path": None} for seed in seeds], "label": [seed % 2 for seed in seeds]},
        FEATURES,
    )


def test_images_with_labels_and_splits(hub):
    hub.sets["me/pets"] = {"train": part(range(20)), "test": part(range(20, 25)), "extra": part(range(30, 33))}
    dataset = open_dataset("hf:me/pets")
    assert dataset.spec.class_names == ("cat", "dog")
    assert (len(dataset.train) + len(dataset.validation), len(dataset.test)) == (20, 5)
    expected = {seed: np.asarray(Picture.open(io.BytesIO(png(seed)))) for seed in range(25)}
    for seed, array in expected.items():
        (found,) = np.flatnonzero((dataset.examples[:, 0] == array).all((1, 2)))
        assert dataset.spec.class_names[dataset.labels[found]] == ("dog", "cat")[seed % 2]
        assert (found in dataset.test) == (seed >= 20)
    assert len(open_dataset("hf:me/pets:extra").examples) == 3
    assert open_dataset("hf:me/pets", image_size=(2, 2)).shape == (1, 2, 2)
    hub.sets["me/pets"]["train"].columns["image"][3] = {"bytes": b"nothing", "path": None}
    with pytest.raises(InputError, match=r"1 of 25 files cannot be used:\n  train/cat/000000003\.png: not an image"):
        open_dataset("hf:me/pets")


def test_of_the_first_examples_no_others_are_fetched(hub, tmp_path):
    (tmp_path / "3.png").write_bytes(png(3))
    pets = hub.sets["me/pets"] = {"train": part(range(20))}
    pets["train"].columns["image"][3] = {"bytes": None, "path": str(tmp_path / "3.png")}
    dataset = open_dataset("hf:me/pets:train[:7]")
    assert hub.fetched == list(range(7))
    assert dataset.examples.shape == (7, 1, 4, 5)
    expected = [np.asarray(Picture.open(io.BytesIO(png(seed)))) for seed in range(7)]
    found = sorted(image.tobytes() for image in dataset.examples)
    assert found == sorted(image.tobytes() for image in expected)
    assert sorted(dataset.labels) == [0, 0, 0, 1, 1, 1, 1]
    assert len(open_dataset("hf:me/pets:train[:30]").examples) == 20
    hub.sets["numbers"] = {"train": Part({"a": list(range(9))}, {"a": Value("float32")})}
    assert open_dataset("hf:numbers:train[:5]").examples[:, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"hf:none:train\[:5\] cannot be opened \(ConnectionError"):
        open_dataset("hf:none:train[:5]")


def test_numbers_are_vectors(hub):
    features = {"a": Value("float32"), "b": Value("int64"), "label": ClassLabel(["x", "y"])}
    columns = {"a": [0.5, None, *range(8)], "b": list(range(10)), "label": [0, 1] * 5}
    hub.sets["numbers"] = {"train": Part(columns, features)}
    dataset = open_dataset("hf:numbers")
    assert dataset.shape == (2,)
    assert np.array_equal(dataset.examples[:, 1], np.arange(10))
    assert np.isnan(dataset.examples[1, 0])
    assert dataset.labels.tolist() == [0, 1] * 5
    assert read_examples(DataConfig("hf:numbers:train")).values.dtype == np.float64


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf:", "give hf:NAME or hf:NAME:split"),
        ("hf:none", r"ConnectionError: Couldn't reach 'none' on the Hub\): .*without a network"),
        ("hf:words", "column text is neither of images nor of numbers"),
        ("hf:pairs", r"several columns of images \(a, b\)"),
        ("hf:odd", "splits first and none called train: give hf:odd:SPLIT"),
    ],
)
def test_what_cannot_be_used_is_said(hub, source, message):
    hub.sets["words"] = {"train": Part({"text": ["a"]}, {"text": Value("string")})}
    hub.sets["pairs"] = {"train": Part({"a": [], "b": []}, {"a": Image(), "b": Image()})}
    hub.sets["odd"] = {"first": part(range(3))}
    with pytest.raises(InputError, match=message):
        open_dataset(source)


def test_without_the_library_it_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert run(["train", "hf:me/pets", "--dry-run"]) == 2
    assert "needs datasets, which is not installed: pip install 'lowerbound[hub]'" in capsys.readouterr().err


@pytest.mark.parametrize("is_known", [True, False])
def test_the_library_is_told_if_there_is_no_network(is_known, monkeypatch):
    def look_up(host, port):
        if not is_known:
            raise OSError(f"no address of {host}")

    told = []
    monkeypatch.delenv(hub_source.OFFLINE, raising=False)
    monkeypatch.delitem(sys.modules, "huggingface_hub", raising=False)
    monkeypatch.setattr(hub_source, "getproxies", dict)
    monkeypatch.setattr(hub_source.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(hub_source, "extra", lambda *names: told.append(os.environ.get(hub_source.OFFLINE)))
    hub_source._library()
    assert told == [None if is_known else "1"]
    assert hub_source.OFFLINE not in os.environ


def test_a_run_keeps_the_name_as_it_is(hub, tmp_path):
    hub.sets["me/pets"] = {"train": part(range(20))}
    arguments = ["train", "hf:me/pets:train", "-o", str(tmp_path / "run"), "--steps", "1", "--batch-size", "4"]
    assert run([*arguments, "--network.width", "8", "--network.multipliers", "1", "--num-pictures", "0"]) == 0
    assert '"source": "hf:me/pets:train"' in (tmp_path / "run" / "config.json").read_text()


def test_the_library_itself_reads_its_own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("datasets")
    for k in range(6):
        (path := tmp_path / "pets" / "train" / ("cat", "dog")[k % 2] / f"{k}.png").parent.mkdir(
            parents=True, exist_ok=True
        )
        path.write_bytes(png(k))
    dataset = open_dataset(f"hf:{tmp_path / 'pets'}")
    assert dataset.spec.class_names == ("cat", "dog")
    assert dataset.examples.shape == (6, 1, 4, 5)


@pytest.mark.filterwarnings("ignore")  # of the library's own dependencies
def test_the_library_itself_fetches_the_first_examples(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    library = pytest.importorskip("datasets")
    for k in range(6):
        (path := tmp_path / "pets" / "train" / ("cat", "dog")[k % 2] / f"{k}.png").parent.mkdir(
            parents=True, exist_ok=True
        )
        path.write_bytes(png(k))
    loaded = load_first(library, str(tmp_path / "pets"), "train", 4)
    assert len(loaded) == 4
    stored = [image["bytes"] for image in loaded["image"]]
    assert set(stored) < {png(k) for k in range(6)}
