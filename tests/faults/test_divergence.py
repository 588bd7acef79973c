"""A run that diverges loses nothing: what is saved is good, and a smaller rate goes on from it."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from training.runs import measure_little, tiny_config, tiny_run

from lowerbound.cli.main import run
from lowerbound.errors import InputError, flag
from lowerbound.training import stretch, train
from lowerbound.training.checkpoint import checkpoints, read_checkpoint, write_checkpoint
from lowerbound.training.divergence import LARGEST_WEIGHT, check_sound
from lowerbound.training.session import MOST_SKIPPED
from lowerbound.training.trainer import Trainer
from lowerbound.training.training import DivergenceError

ABSURD = {"learning_rate": 1e20, "clip": 1e30, "warmup_steps": 1}


def tiny_train(out, **settings):
    config, dataset = tiny_config(**settings)
    said = []
    train(config, dataset, out, say=said.append, show_progress=False)
    return said


def assert_sound(out):
    tensors, _ = read_checkpoint(newest(out))
    for group, named in tensors.items():
        for name, value in named.items():
            assert value.isfinite().all(), f"{name} in {group}"
    assert all(value.abs().max() < 100 for value in tensors["weights"].values())


def newest(out):
    return checkpoints(out / "checkpoints")[-1]


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """A run of four steps, to copy."""
    with pytest.MonkeyPatch.context() as patch:
        measure_little(patch)
        return tiny_run(tmp_path_factory.mktemp("four") / "run", "moons", steps=4, learning_rate=1e-3).path


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """A run of eight steps, to copy."""
    return tiny_run(tmp_path_factory.mktemp("eight") / "run", steps=8).path


@pytest.mark.parametrize("save_seconds", [60, 0], ids=["seldom", "at every step"])
@pytest.mark.parametrize("more", [{}, {"num_evaluations": 12}], ids=["", "measured at every step"])
def test_a_smaller_rate_goes_on_from_the_last_good_state(eight, tmp_path, monkeypatch, save_seconds, more):
    monkeypatch.setattr(stretch, "CHECKPOINT_SECONDS", save_seconds)
    out = shutil.copytree(eight, tmp_path / "run")
    with pytest.raises(
        DivergenceError, match=r"step-000000008 is kept: repeat the command with a smaller --learning-rate"
    ):
        tiny_train(out, steps=12, **ABSURD, **more)
    tensors, state = read_checkpoint(newest(out))
    assert state["step"] == 8
    assert all(weight.abs().max() < 100 for weight in tensors["weights"].values())
    assert all(weight.isfinite().all() for weight in load_file(out / "model.safetensors").values())
    said = tiny_train(out, steps=12)
    assert said[0].endswith("after step 8")
    assert read_checkpoint(newest(out))[1]["step"] == 12


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
    assert [r["step"] for r in folder.read_log() if "left_out" in r] == [5, 6]


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
    assert [record["step"] for record in log if "rolled_back" in record] == [4]
    assert rates[4] == pytest.approx(2 * rates[5])
    assert read_checkpoint(newest(tmp_path / "run"))[1]["rate_scale"] == 0.5


def test_rolling_back_ends(tmp_path):
    with pytest.raises(DivergenceError, match="kept"):
        tiny_train(tmp_path / "run", on_divergence="roll-back", **ABSURD)
    assert read_checkpoint(newest(tmp_path / "run"))[1]["step"] == 0


def test_a_ruined_checkpoint_is_named_and_passed_over_when_told(tmp_path, monkeypatch):
    """It cannot come about any more, but such folders are there; its numbers are finite, its loss is not."""
    measure_little(monkeypatch)
    out = tmp_path / "run"
    tiny_run(out, steps=8, num_evaluations=2)
    tensors, state = read_checkpoint(newest(out))
    tensors["weights"] = {name: 1e7 * value for name, value in tensors["weights"].items()}
    write_checkpoint(out / "checkpoints", state.pop("step"), tensors, state)
    with pytest.raises(InputError, match=r"step-000000008 .*the loss of the same examples.*--fall-back .* of step 4"):
        tiny_train(out, steps=12)
    config, dataset = tiny_config(steps=12)
    train(config, dataset, out, say=lambda line: None, show_progress=False, fall_back=True)
    assert_sound(out)


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


@pytest.mark.parametrize("rate", [1e3, 1e5, 1e20])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_finite_but_lost_weights_are_not_kept(four, tmp_path, monkeypatch, rate, policy):
    """After the last step nothing but a loss under its weights shows what they are worth, nor do batches left out help."""
    measure_little(monkeypatch)
    out = shutil.copytree(four, tmp_path / "run")
    model = (out / "model.safetensors").read_bytes()
    config, dataset = tiny_config(
        "moons", **{**ABSURD, "learning_rate": rate}, steps=5, num_evaluations=1, on_divergence=policy
    )
    with pytest.raises(DivergenceError, match=r"after step 5 .* step-000000004 is kept"):
        train(config, dataset, out, say=lambda line: None, show_progress=False)
    assert newest(out).name == "step-000000004"
    assert_sound(out)
    assert (out / "model.safetensors").read_bytes() == model
    tiny_run(out, "moons", steps=6, learning_rate=1e-3)
    assert newest(out).name == "step-000000006"


@pytest.mark.parametrize("group", ["weights", "average", "optimizer"])
def test_a_single_value_is_seen(group):
    trainer = Trainer(*tiny_config("moons"))
    next(trainer.records())
    loss = check_sound(trainer)
    name, value = next(iter(trainer.state()[0][group].items()))
    with torch.no_grad():
        value.view(-1)[0] = math.nan
    with pytest.raises(DivergenceError, match=rf"after step 1 .*{name} is not finite"):
        check_sound(trainer, loss)


@pytest.mark.parametrize("objective", ["elbo", "persistent-contrastive-divergence"])
def test_watching_changes_nothing(objective):
    """A watched trainer takes the same steps as one that is not; persistent chains move at each loss."""
    config, dataset = tiny_config("moons")
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, objective=objective))
    if objective != "elbo":
        model = dataclasses.replace(config.model, name="energy")
        config = dataclasses.replace(config, model=model, denoiser=type(config.denoiser)())
    watched, other = Trainer(config, dataset), Trainer(config, dataset)
    for _ in range(3):
        check_sound(watched)
        next(watched.records())
        next(other.records())
    check_sound(watched)
    for name, group in other.state()[0].items():
        assert all(torch.equal(watched.state()[0][name][key], value) for key, value in group.items()), name


@pytest.mark.parametrize("bad", [[1], [12], [1, 2, 12]], ids=["first", "last", "both"])
@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_run_has_its_length_with_the_steps_left_out(tmp_path, monkeypatch, bad):
    measure_little(monkeypatch)
    spoil(monkeypatch, bad)
    folder = tiny_run(tmp_path / "run", "moons", on_divergence="skip")
    assert [r["step"] for r in folder.read_log() if "loss" in r] == [k for k in range(1, 13) if k not in bad]
    assert newest(tmp_path / "run").name == "step-000000012"
    assert folder.model.exists()


def test_what_diverged_leaves_nothing_after_rolling_back(tmp_path, monkeypatch):
    """Nor in the optimiser's memory, where the checkpoint has none: that of the start."""
    measure_little(monkeypatch)
    remembered = []
    spoil(monkeypatch, [4])
    original = Trainer.gradient

    def gradient(self):
        if self.step == 0:
            remembered.append(len(self.optimizer.state()))
        return original(self)

    monkeypatch.setattr(Trainer, "gradient", gradient)
    tiny_run(tmp_path / "run", "moons", on_divergence="roll-back", num_evaluations=1)
    assert remembered == [0, 0]


def test_another_learning_rate_is_not_that_of_a_roll_back(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    spoil(monkeypatch, [4])
    settings = {"on_divergence": "roll-back", "decay_from": 0.9, "warmup_steps": 1, "learning_rate": 0.008}
    tiny_run(tmp_path / "run", "moons", **settings)
    rates = []
    for steps, rate in ((16, 0.008), (20, 0.002)):
        folder = tiny_run(tmp_path / "run", "moons", **{**settings, "learning_rate": rate, "steps": steps})
        rates.append(next(r["learning_rate"] for r in folder.read_log() if r["step"] == steps - 3 and "loss" in r))
    assert rates == pytest.approx([0.004, 0.002])


def test_a_model_that_is_gone_is_written_again(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    folder = tiny_run(tmp_path / "run", "moons", steps=4)
    folder.model.unlink()
    tiny_run(tmp_path / "run", "moons", steps=6, learning_rate=0.5)  # too large to become better than before
    assert folder.model.exists()


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("name", ["weight_decay", "clip", "decay_from", "average_width"])
def test_settings_are_finite(name, value):
    with pytest.raises(InputError, match=rf"{flag(f'training.{name}')} is {value}"):
        tiny_config("moons", **{name: value})
    config, _ = tiny_config("moons")
    with pytest.raises(InputError, match=rf"--denoiser\.sigma-data is {value}"):
        dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, sigma_data=value))
