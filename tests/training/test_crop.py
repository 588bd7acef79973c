"""Pieces of larger images: at random places, by seed, step and place in the batch alone; of those held out in the middle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from training.runs import measure_little, train_until
from training.test_flip import seen

from lowerbound import open_run, score
from lowerbound.cli.main import run
from lowerbound.data import DataConfig, describe, open_dataset
from lowerbound.data.images.crops import at_places
from lowerbound.data.source import read_examples
from lowerbound.errors import InputError
from lowerbound.training import recipe, train
from lowerbound.training.trainer import Trainer

SIZE = (4, 6)


@pytest.fixture
def images(tmp_path):
    """A file of images whose every pixel says where it stands: 16 times its row and once its column, and one of its own."""
    values = np.arange(9)[:, None] * 16 + np.arange(13)
    values = np.tile(values, (30, 1, 1)).astype(np.uint8)
    np.save(tmp_path / "large.npy", values)
    return tmp_path / "large.npy"


def tiny(source, **training):
    """A configuration of pieces whose steps take milliseconds, and its data."""
    data = DataConfig(str(source), crop=SIZE)
    dataset = open_dataset(data)
    config = recipe(dataset, data)
    network = replace(config.network, width=8, multipliers=(1, 2), blocks_per_level=1)
    few = {"minutes": None, "steps": 12, "batch_size": 8, "num_evaluations": 3, "num_pictures": 0}
    training = replace(config.training, **few, **training)
    return replace(config, network=network, training=training), dataset


def corners(x):
    """Row and column of the upper left pixel of pieces of such images, each checked to be whole."""
    levels = ((x.numpy() + 1) / 2 * 256 - 0.5).round().astype(int)[:, 0]
    expected = levels[:, :1, :1] + np.arange(SIZE[0])[:, None] * 16 + np.arange(SIZE[1])
    assert (levels == expected).all()
    return levels[:, 0, 0] // 16, levels[:, 0, 0] % 16


def test_every_place_is_seen_and_the_middle_held_out(images, monkeypatch):
    config, dataset = tiny(images)
    assert dataset.shape == (1, *SIZE)
    assert "crop      4 x 6 of 9 x 13 pixels: at random places to train on, else the middle" in describe(dataset)
    row, column = corners(dataset.encoded(dataset.test))
    assert (set(row), set(column)) == ({2}, {3})
    x = seen(Trainer(config, dataset), 12, monkeypatch)
    counts = np.zeros((6, 8), int)
    np.add.at(counts, corners(x), 1)
    assert counts.max() < 12  # of 96 pieces at 48 places
    draws = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws[0], draws[1] = 1.0, 2.0**-33
    pieces = at_places(dataset.whole, np.arange(20_000) % 30, SIZE, draws.numpy())
    counts = np.zeros((6, 8), int)
    np.add.at(counts, (pieces[:, 0, 0, 0] // 16, pieces[:, 0, 0, 0] % 16), 1)
    expected = 20_000 / 48
    assert np.abs(counts - expected).max() < 4.5 * expected**0.5
    micro = replace(config, training=replace(config.training, micro_batch_size=3))
    assert torch.equal(seen(Trainer(micro, dataset), 4, monkeypatch), x[: 4 * 8])


def test_a_piece_as_large_as_the_images_changes_nothing(images, monkeypatch):
    config, _ = tiny(images)
    data = DataConfig(str(images), crop=(9, 13))
    cut, plain = open_dataset(data), open_dataset(images)
    assert np.array_equal(cut.examples, plain.examples)
    assert cut.fingerprint() == plain.fingerprint()
    x = seen(Trainer(replace(config, data=data), cut), 2, monkeypatch)
    assert torch.equal(x, seen(Trainer(replace(config, data=DataConfig(str(images))), plain), 2, monkeypatch))


def test_a_resumed_run_is_the_unbroken_one(images, tmp_path, monkeypatch):
    measure_little(monkeypatch)
    config, dataset = tiny(images)
    config = replace(config, training=replace(config.training, steps=8, num_evaluations=1))
    train(config, dataset, tmp_path / "whole", say=lambda line: None, show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        train_until(5, config, dataset, tmp_path / "broken", monkeypatch, say=lambda line: None)
    train(config, dataset, tmp_path / "broken", say=lambda line: None, show_progress=False)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    opened = open_run(tmp_path / "whole")
    assert opened.spec.shape == (1, *SIZE)
    raw = read_examples(opened.config.data, opened.spec).values  # as the verbs read DATA
    assert np.array_equal(raw, np.load(images)[:, None, 2:6, 3:9])
    assert np.isfinite(score(opened, raw[:2]).bits_per_dim).all()
    changed = np.load(images)
    changed[0, 0, 0] += 1  # outside the middle
    np.save(images, changed)
    with pytest.raises(InputError, match="does not hold the examples"):
        opened.open_dataset()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["large.npy", "--crop", "9", "14"], "--crop 9 14 is larger than the images of"),
        (["large.npy", "--crop", "0", "4"], "--crop 0 4: give a height and a width of at least one pixel"),
        (["rows.npy", "--crop", "2", "2"], "whose examples have the shape (3,): it cuts images"),
        (["gaps.npy", "--crop", "2", "2"], "--crop is for images of which no entry is missing"),
        (["digits", "--crop", "2", "2"], "--crop has no effect on digits"),
    ],
)
def test_what_cannot_be_cut_is_said(images, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(images.parent)
    np.save("rows.npy", np.random.default_rng(0).normal(size=(20, 3)))
    gaps = np.random.default_rng(0).normal(size=(20, 6, 6))
    gaps[:, 0] = np.nan
    np.save("gaps.npy", gaps)
    assert run(["train", *arguments, "--dry-run"]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_is_brought_to_one_size_before(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        shape = (8 + 4 * (number % 2), 12)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{number}.png")
    dataset = open_dataset(tmp_path, image_size=(8, 8), crop=(4, 4))
    assert dataset.shape == (1, 4, 4)
    assert np.array_equal(dataset.examples, open_dataset(tmp_path, image_size=(8, 8)).examples[:, :, 2:6, 2:6])
