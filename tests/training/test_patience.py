"""A run stops early when held-out bits/dim bring no new best beyond noise, says why, and goes on when it is asked to."""

import dataclasses

import pytest
import torch
from training.runs import measure_little, tiny_config, tiny_run, train_until

from lowerbound.errors import InputError
from lowerbound.run.overview import overview
from lowerbound.training import recipe, train
from lowerbound.training.checkpoint import checkpoints, read_checkpoint
from lowerbound.training.config import DataConfig
from lowerbound.training.patience import Patience

NOISE = torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SHORT = {"source": "moons", "steps": 12, "num_evaluations": 6}


def after(patience, *measurements):
    for bits in measurements:
        patience.take(bits)
    return patience.num_vain


def test_a_gain_counts_that_all_examples_share():
    """Of 0.05 bits/dim, where each figure has a standard error of 1."""
    assert after(Patience(3), 10 * NOISE, 10 * NOISE - 0.05) == 0


def test_a_gain_does_not_count_that_is_noise():
    gain = 0.05 + NOISE.roll(1) - NOISE.roll(1).mean()
    assert gain.mean() > 0
    assert after(Patience(3), NOISE, NOISE - gain) == 1


def test_small_gains_add_up():
    """Each is smaller than its noise; the sum of three is not."""
    spread = NOISE - NOISE.mean()
    steps = [-(0.1 * number + spread * (number > 0)) for number in range(4)]
    assert after(Patience(5), *steps[:3]) == 2
    assert after(Patience(5), *steps) == 0


def test_no_change_at_all_is_no_gain():
    patience = Patience(2)
    assert after(patience, NOISE, NOISE) == 1
    assert not patience.is_over
    assert after(patience, NOISE) == 2
    assert patience.is_over


@pytest.fixture
def measured(monkeypatch):
    """A run's held-out bits/dim, which a test writes: it learns at first, and never again."""
    script = [9.0, 5.0, 4.0, *[4.5] * 20]  # the first of the mixture that the network stands upon

    def held_out(*_):
        return script.pop(0) + NOISE[:16].abs()

    measure_little(monkeypatch)
    monkeypatch.setattr("lowerbound.training.session.held_out_by_example", held_out)
    return script


def test_a_run_stops_says_why_and_goes_on_when_asked(measured, tmp_path):
    said = []
    config, dataset = tiny_config(**SHORT, patience=2, num_pictures=0)
    folder = train(config, dataset, tmp_path / "run", say=said.append, show_progress=False)
    assert max(record["step"] for record in folder.read_log()) == 8
    assert folder.read_metadata()["step"] == "4"
    (line,) = [line for line in said if line.startswith("stopped early")]
    assert "the last 2 measurements" in line
    assert "the averaged weights of step 4 are kept" in line
    assert "% of its peak" in line
    listed = overview(folder.path)
    assert (listed.state, listed.step) == ("complete", 8)
    assert "no new best" in listed.reason

    again = []
    train(config, dataset, tmp_path / "run", say=again.append, show_progress=False)
    assert len(again) == 2
    assert "has stopped early" in again[1]
    assert max(record["step"] for record in folder.read_log()) == 8

    tiny_run(tmp_path / "run", **{**SHORT, "steps": 24}, patience=2, num_pictures=0)
    assert max(record["step"] for record in folder.read_log()) == 16  # two measurements more
    tiny_run(tmp_path / "run", **{**SHORT, "steps": 24}, patience=3, num_pictures=0)
    assert max(record["step"] for record in folder.read_log()) == 20
    tiny_run(tmp_path / "run", **{**SHORT, "steps": 24}, num_pictures=0)
    assert overview(folder.path).reason == ""
    assert max(record["step"] for record in folder.read_log()) == 24


def test_an_interrupted_run_stops_where_an_unbroken_one_does(measured, tmp_path, monkeypatch):
    config, dataset = tiny_config(**SHORT, patience=2, num_pictures=0)
    with pytest.raises(KeyboardInterrupt):
        train_until(7, config, dataset, tmp_path / "run", monkeypatch)
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert max(record["step"] for record in folder.read_log()) == 8
    tensors, _ = read_checkpoint(checkpoints(folder.checkpoints)[-1])
    assert tensors["patience"]["num_vain"] == 2
    assert torch.equal(tensors["patience"]["best"], 4.0 + NOISE[:16].abs())


@pytest.mark.parametrize(("patience", "words"), [(0, "positive"), (-1, "positive"), (5, "up to 4"), (99, "up to 4")])
def test_a_number_that_stops_nothing_is_refused(patience, words):
    with pytest.raises(InputError, match=words):
        tiny_config(**SHORT, patience=patience)


@pytest.mark.parametrize("name", ["forest", "gan"])
def test_models_that_are_not_measured_along_the_way_refuse_it(name, tmp_path):
    _, dataset = tiny_config("moons")
    with pytest.raises(InputError, match="--patience has no effect"):
        train_impatiently(recipe(dataset, DataConfig("moons"), model=name), dataset, tmp_path / "run")


def train_impatiently(config, dataset, out):
    training = dataclasses.replace(config.training, minutes=None, steps=3, patience=2)
    train(dataclasses.replace(config, training=training), dataset, out, say=lambda line: None, show_progress=False)
