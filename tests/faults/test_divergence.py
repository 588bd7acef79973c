"""A run that diverges loses nothing: what is saved is good, and a smaller rate goes on from it."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from train.runs import tiny_config, tiny_run

from lowerbound.cli.main import run
from lowerbound.errors import InputError
from lowerbound.train import session, train
from lowerbound.train.checkpoint import checkpoints, read_checkpoint
from lowerbound.train.loop import LARGEST_WEIGHT, MOST_SKIPPED, DivergenceError, Trainer

ABSURD = {"learning_rate": 1e20, "clip": 1e30, "warmup_steps": 1}


def tiny_train(out, **settings):
    config, dataset = tiny_config(**settings)
    said = []
    train(config, dataset, out, say=said.append, show_progress=False)
    return said


def newest(out):
    return checkpoints(out / "checkpoints")[-1]


@pytest.mark.parametrize("save_seconds", [60, 0], ids=["seldom", "at every step"])
@pytest.mark.parametrize("more", [{}, {"num_evaluations": 40}], ids=["", "measured at every step"])
def test_a_smaller_rate_goes_on_from_the_last_good_state(tmp_path, monkeypatch, save_seconds, more):
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", save_seconds)
    out = tmp_path / "run"
    tiny_run(out, steps=20)
    with pytest.raises(
        DivergenceError, match=r"step-000000020 is kept: repeat the command with a smaller --learning-rate"
    ):
        tiny_train(out, steps=40, **ABSURD, **more)
    tensors, state = read_checkpoint(newest(out))
    assert state["step"] == 20
    assert all(weight.abs().max() < 100 for weight in tensors["weights"].values())
    assert all(weight.isfinite().all() for weight in load_file(out / "model.safetensors").values())
    said = tiny_train(out, steps=40)
    assert said[0].endswith("after step 20")
    assert read_checkpoint(newest(out))[1]["step"] == 40


@pytest.mark.parametrize("model", ["diffusion", "gan"])
def test_the_last_step_of_a_run_is_checked_too(tmp_path, model):
    """No step comes after it that would show what its weights are worth."""
    arguments = ["train", "digits", "--out", str(tmp_path / "run"), "--model", model, "--batch-size", "8"]
    arguments += ["--network.width", "8"] if model == "diffusion" else ["--model.width", "8"]
    assert run([*arguments, "--steps", "2"]) == 0
    assert (
        run([*arguments, "--steps", "3", "--learning-rate", "1e20", "--warmup-steps", "1", "--decay-from", "0.9"]) == 2
    )
    assert newest(tmp_path / "run").name == "step-000000002"
    for weight in load_file(tmp_path / "run" / "model.safetensors").values():
        assert weight.abs().max() < LARGEST_WEIGHT


@pytest.mark.parametrize("rate", [math.inf, math.nan, 0.0, -1.0])
def test_a_rate_that_is_no_rate_is_refused(rate):
    with pytest.raises(InputError, match=r"learning.rate is .*: it must be positive and finite"):
        tiny_config(learning_rate=rate)


def spoil(monkeypatch, at):
    """Let the loss of some steps, each once, be NaN."""
    original, left = Trainer.gradient, list(at)

    def gradient(self):
        if self.step + 1 in left:
            left.remove(self.step + 1)
            raise DivergenceError(f"step {self.step + 1}: the loss is nan")
        return original(self)

    monkeypatch.setattr(Trainer, "gradient", gradient)


def test_skipping_leaves_out_the_batch(tmp_path, monkeypatch):
    spoil(monkeypatch, [5, 6])
    with pytest.warns(UserWarning, match="step [56]: the loss is nan: left out"):
        folder = tiny_run(tmp_path / "run", on_divergence="skip")
    assert [r["step"] for r in folder.read_log() if "loss" in r] == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_skipping_ends(tmp_path, monkeypatch):
    spoil(monkeypatch, range(3, 3 + MOST_SKIPPED + 1))
    with pytest.raises(DivergenceError, match=f"step {3 + MOST_SKIPPED}"):
        tiny_run(tmp_path / "run", on_divergence="skip", steps=40)


def test_rolling_back_goes_on_at_half_the_rate(tmp_path, monkeypatch):
    spoil(monkeypatch, [7])
    said = tiny_train(tmp_path / "run", on_divergence="roll-back", decay_from=0.9, warmup_steps=1)
    assert any("Going back to step 4, and on with a learning rate of 0.003" in line for line in said)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    rates = {record["step"]: record["learning_rate"] for record in log if "loss" in record}
    assert list(rates) == list(range(1, 13)), "every step once"
    assert rates[4] == pytest.approx(2 * rates[5])
    assert read_checkpoint(newest(tmp_path / "run"))[1]["rate_scale"] == 0.5


def test_rolling_back_ends(tmp_path):
    with pytest.raises(DivergenceError, match="kept"):
        tiny_train(tmp_path / "run", on_divergence="roll-back", **ABSURD)
    assert read_checkpoint(newest(tmp_path / "run"))[1]["step"] == 0


def test_a_ruined_checkpoint_is_named(tmp_path, monkeypatch):
    """It cannot come about any more, but such folders are there."""
    out = tmp_path / "run"
    tiny_run(out, steps=8, num_evaluations=2)
    original = Trainer.restore

    def restore(self, tensors, state):
        original(self, {**tensors, "weights": {k: v * math.inf for k, v in tensors["weights"].items()}}, state)

    monkeypatch.setattr(Trainer, "restore", restore)
    with pytest.raises(DivergenceError, match=r"newest checkpoint itself is ruined: remove .*step-000000008"):
        tiny_train(out, steps=12)


def test_checkpoints_that_are_gone_are_no_silent_restart(tmp_path, monkeypatch):
    out = tmp_path / "run"
    tiny_run(out)
    for path in checkpoints(out / "checkpoints"):
        path.rename(tmp_path / path.name)
    log = (out / "log.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"trained for 12 steps, but its checkpoints are gone: .* --restart"):
        tiny_run(out)
    assert (out / "log.jsonl").read_bytes() == log
    config, dataset = tiny_config(steps=3)
    said = []
    train(config, dataset, out, restart=True, say=said.append, show_progress=False)
    assert (out / "before-restart-1" / "log.jsonl").read_bytes() == log
    assert (out / "before-restart-1" / "model.safetensors").exists()
    assert newest(out).name == "step-000000003"
    train(config, dataset, out, restart=True, say=said.append, show_progress=False)
    assert (out / "before-restart-2" / "checkpoints" / "step-000000003").is_dir()


def test_a_run_has_a_checkpoint_from_its_start(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(self):
        raise Killed
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "records", killed)
        with pytest.raises(Killed):
            tiny_run(tmp_path / "run")
    assert read_checkpoint(newest(tmp_path / "run"))[1]["step"] == 0
    assert tiny_train(tmp_path / "run")[0].endswith("after step 0")


def test_weights_with_nan_are_never_written(tmp_path, monkeypatch):
    original = Trainer.records

    def records(self):
        for record in original(self):
            if record.step == 4:
                with torch.no_grad():
                    next(self.model.parameters()).fill_(math.nan)
            yield record

    monkeypatch.setattr(Trainer, "records", records)
    with pytest.raises(DivergenceError, match=r"after step 4 the weight .* is not finite"):
        tiny_run(tmp_path / "run")
    assert newest(tmp_path / "run").name == "step-000000000"
    assert not (tmp_path / "run" / "model.safetensors").exists()
