"""Training that goes astray: seen before anything is kept, and gone on with as it was configured."""

import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from train.runs import measure_little, tiny_config, tiny_run

from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.train import loop, session, train
from lowerbound.train.checkpoint import checkpoints, read_checkpoint, step_of, write_checkpoint
from lowerbound.train.divergence import Watch
from lowerbound.train.loop import BadBatchError, DivergenceError, Trainer

ABSURD = {"learning_rate": 1e20, "clip": 1e30, "warmup_steps": 1}


@pytest.fixture(autouse=True)
def _little(monkeypatch):
    measure_little(monkeypatch)


def quiet(config, dataset, out, say=lambda line: None, **settings):
    return train(config, dataset, out, say=say, show_progress=False, **settings)


def assert_sound(tensors):
    for group, named in tensors.items():
        for name, value in named.items():
            assert value.isfinite().all(), f"{name} in {group}"
    assert all(value.abs().max() < 1e4 for value in tensors["weights"].values())


@pytest.mark.parametrize("rate", [1e3, 1e20, 1e38])
def test_divergence_keeps_the_last_good_state(rate, tmp_path):
    """A rate that is too large, in the course of a run: what was kept before stays, and a smaller one goes on from there."""
    good = tiny_run(tmp_path / "run", "moons", steps=4, learning_rate=1e-3)
    model = good.model.read_bytes()
    config, dataset = tiny_config("moons", **{**ABSURD, "learning_rate": rate}, steps=12)
    with pytest.raises(DivergenceError, match=r"step \d+.*kept as it was after step 4.*smaller --learning-rate"):
        quiet(config, dataset, tmp_path / "run")
    newest = checkpoints(good.checkpoints)[-1]
    assert step_of(newest) == 4
    assert_sound(read_checkpoint(newest)[0])
    assert good.model.read_bytes() == model
    records = [json.loads(line) for line in good.log.read_text().splitlines()]
    assert all(math.isfinite(record["loss"]) for record in records if "loss" in record)
    tiny_run(tmp_path / "run", "moons", steps=12, learning_rate=1e-3)
    assert [record["step"] for record in good.read_log() if "loss" in record] == list(range(1, 13))


def test_divergence_in_the_last_step_is_seen(tmp_path):
    config, dataset = tiny_config("moons", **ABSURD, steps=1)
    with pytest.raises(DivergenceError, match="after step 0"):
        quiet(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_held_out_bits_that_are_not_finite_keep_no_weights(tmp_path, monkeypatch):
    config, dataset = tiny_config("moons", steps=4)
    monkeypatch.setattr("lowerbound.train.denoising.DenoisingStep.held_out", lambda *_: (math.nan, math.nan))
    with pytest.raises(DivergenceError, match=r"held-out bits/dim are nan"):
        quiet(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("group", ["weights", "average", "optimizer"])
def test_a_single_value_is_seen(group):
    trainer = Trainer(*tiny_config("moons"))
    next(trainer.records())
    watch = Watch(trainer)
    tensors, _ = trainer.state()
    with torch.no_grad():
        next(iter(tensors[group].values())).view(-1)[0] = math.nan
    with pytest.raises(DivergenceError, match=rf"\({group}\) holds values that are not finite"):
        watch.check()


@pytest.mark.parametrize("objective", ["elbo", "persistent-contrastive-divergence"])
def test_watching_changes_nothing(objective):
    """A watched trainer takes the same steps as one that is not."""
    config, dataset = tiny_config("moons")
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, objective=objective))
    if objective != "elbo":
        model = dataclasses.replace(config.model, name="energy")
        config = dataclasses.replace(config, model=model, denoiser=type(config.denoiser)())
    trainers = Trainer(config, dataset), Trainer(config, dataset)
    for _ in range(3):
        Watch(trainers[0])
        for trainer in trainers:
            next(trainer.records())
    Watch(trainers[0])
    ours, theirs = (trainer.state()[0] for trainer in trainers)
    for name, group in theirs.items():
        assert all(torch.equal(ours[name][key], value) for key, value in group.items()), name


def bad_batches(monkeypatch, bad):
    """From now on the gradients at some steps are not finite."""
    original = Trainer.gradient

    def gradient(self):
        found = original(self)
        if self.step + 1 in bad:
            raise BadBatchError(f"step {self.step + 1}: the loss is nan")
        return found

    monkeypatch.setattr(loop.Trainer, "gradient", gradient)


def test_a_bad_batch_stops_by_itself(tmp_path, monkeypatch):
    config, dataset = tiny_config("moons")
    bad_batches(monkeypatch, {6})
    with pytest.raises(DivergenceError, match="kept as it was after step 5"):
        quiet(config, dataset, tmp_path / "run")


@pytest.mark.parametrize("bad", [{1}, {6}, {12}, set(range(3, 9))], ids=["first", "one", "last", "many"])
def test_bad_batches_are_left_out(bad, tmp_path, monkeypatch):
    config, dataset = tiny_config("moons", on_divergence="skip")
    bad_batches(monkeypatch, bad)
    said = []
    folder = quiet(config, dataset, tmp_path / "run", said.append)
    records = folder.read_log()
    assert [r["step"] for r in records if "left_out" in r] == sorted(bad)
    assert [r["step"] for r in records if "loss" in r] == sorted(set(range(1, 13)) - bad)
    assert sum("left out: step" in line for line in said) == len(bad)
    assert step_of(checkpoints(folder.checkpoints)[-1]) == 12
    open_run(folder.path)


def test_too_many_bad_batches_stop(tmp_path, monkeypatch):
    config, dataset = tiny_config("moons", steps=30, on_divergence="skip")
    bad_batches(monkeypatch, set(range(3, 30)))
    with pytest.raises(DivergenceError, match=rf"{session.MOST_SKIPPED} batches before it were left out"):
        quiet(config, dataset, tmp_path / "run")


def test_bad_weights_are_no_bad_batch(tmp_path):
    config, dataset = tiny_config("moons", **ABSURD, steps=12, num_evaluations=1, on_divergence="skip")
    with pytest.raises(DivergenceError, match="after step 0"):
        quiet(config, dataset, tmp_path / "run")


def test_rolling_back_halves_the_rate_until_it_goes_on(tmp_path, monkeypatch):
    config, dataset = tiny_config("moons", steps=12, learning_rate=0.01, on_divergence="roll-back")
    original = Trainer.gradient

    def gradient(self):  # above a rate that is known to the test alone, the run diverges at step 6
        if self.step == 5 and self.num_roll_backs < 2:
            raise BadBatchError("step 6: the loss is inf")
        return original(self)

    monkeypatch.setattr(loop.Trainer, "gradient", gradient)
    said = []
    folder = quiet(config, dataset, tmp_path / "run", said.append)
    events = [record for record in folder.read_log() if "rolled_back" in record]
    assert len(events) == 2 == sum("half the learning rate" in line for line in said)
    rates = {r["step"]: r["learning_rate"] for r in folder.read_log() if "loss" in r}
    assert sorted(rates) == list(range(1, 13))
    assert rates[6] == pytest.approx(0.01 / 4)
    assert read_checkpoint(checkpoints(folder.checkpoints)[-1])[1]["num_roll_backs"] == 2


def test_rolling_back_ends(tmp_path):
    config, dataset = tiny_config("moons", **ABSURD, steps=12, on_divergence="roll-back")
    said = []
    with pytest.raises(DivergenceError, match=rf"even after {session.MOST_ROLL_BACKS} halvings"):
        quiet(config, dataset, tmp_path / "run", said.append)
    assert sum("back to step 0" in line for line in said) == session.MOST_ROLL_BACKS
    assert_sound(read_checkpoint(checkpoints(tmp_path / "run" / "checkpoints")[-1])[0])


def test_a_checkpoint_that_diverged_is_not_gone_on_from(tmp_path):
    """As earlier versions wrote it: the newest is refused, and the one before it taken when told to."""
    folder = tiny_run(tmp_path / "run", "moons", steps=4)
    newest = checkpoints(folder.checkpoints)[-1]
    tensors, state = read_checkpoint(newest)
    tensors["weights"] = {name: 1e19 * value for name, value in tensors["weights"].items()}
    write_checkpoint(folder.checkpoints, state.pop("step"), tensors, state)
    config, dataset = tiny_config("moons", steps=8)
    with pytest.raises(InputError, match=r"step-000000004 .*the loss of the same examples is.*--fall-back"):
        quiet(config, dataset, tmp_path / "run")
    quiet(config, dataset, tmp_path / "run", start="previous")
    assert_sound(read_checkpoint(checkpoints(folder.checkpoints)[-1])[0])


def test_weights_that_are_not_finite_are_not_opened(tmp_path):
    folder = tiny_run(tmp_path / "run", "moons", steps=1)
    weights = load_file(folder.model)
    name = next(iter(weights))
    weights[name].view(-1)[0] = math.inf
    save_file(weights, folder.model)
    with pytest.raises(InputError, match=rf"model\.safetensors: {name} holds values that are not finite"):
        open_run(folder.path)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("name", ["learning_rate", "clip", "weight_decay", "minutes"])
def test_settings_are_finite(name, value):
    config, _ = tiny_config("moons")
    settings = {"steps": None, name: value} if name == "minutes" else {name: value}
    with pytest.raises(InputError, match=rf"training\.{name} is {value}"):
        dataclasses.replace(config, training=dataclasses.replace(config.training, **settings))
