"""A run that was stopped and resumed is the run that was not."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from training.runs import tiny_config, tiny_run, train_until

from lowerbound.errors import InputError
from lowerbound.training import train
from lowerbound.training.checkpoint import checkpoints, read_checkpoint
from lowerbound.training.folder import CLOCKS
from lowerbound.training.session import Session


def outcome(folder):
    """Everything that must be equal: the final state, the log without its clock, the averaged model."""
    tensors, state = read_checkpoint(checkpoints(folder.checkpoints)[-1])
    log = [{k: v for k, v in record.items() if k not in CLOCKS} for record in folder.read_log()]
    return tensors, {k: v for k, v in state.items() if k != "seconds"}, log


def assert_same(ours, theirs):
    assert ours[1:] == theirs[1:]
    for name, group in theirs[0].items():
        assert group.keys() == ours[0][name].keys()
        for key, value in group.items():
            assert torch.equal(ours[0][name][key], value), f"{name}: {key}"


@pytest.fixture(scope="module")
def unbroken_run(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("unbroken") / "run")


@pytest.fixture(scope="module")
def unbroken(unbroken_run):
    return outcome(unbroken_run)


@pytest.mark.parametrize("stops", [(5,), (2, 9), (1, 4, 11)], ids=["once", "twice", "three times"])
def test_resumed_run_equals_unbroken_one(stops, unbroken, tmp_path, monkeypatch):
    config, dataset = tiny_config()
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            train_until(stop, config, dataset, tmp_path / "run", monkeypatch)
        assert checkpoints(tmp_path / "run" / "checkpoints")[-1].name == f"step-{stop:09d}"
    assert_same(outcome(tiny_run(tmp_path / "run")), unbroken)


def test_log_after_the_checkpoint_is_written_anew(unbroken, tmp_path, monkeypatch):
    config, dataset = tiny_config()
    with pytest.raises(KeyboardInterrupt):
        train_until(5, config, dataset, tmp_path / "run", monkeypatch)
    log = tmp_path / "run" / "log.jsonl"
    later = {"step": 6, "loss": 1e9, "gradient_norm": 0.0, "learning_rate": 0.0, "seconds": 0.0}
    log.write_text(log.read_text() + json.dumps(later) + '\n{"step": 7, "lo')  # killed while writing
    assert_same(outcome(tiny_run(tmp_path / "run")), unbroken)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_micro_batches_give_the_same_run(optimizer, tmp_path):
    """To rounding, which both optimisers turn into small steps where a gradient is nearly zero."""
    tensors, state, log = outcome(tiny_run(tmp_path / "run", micro_batch_size=3, optimizer=optimizer))
    whole = outcome(tiny_run(tmp_path / "whole", optimizer=optimizer))
    assert state == whole[1]
    for ours, theirs in zip(log, whole[2], strict=True):
        key = "loss" if "loss" in ours else "held_out_bits_per_dim"
        assert ours[key] == pytest.approx(theirs[key], rel=1e-6)
    for key, value in whole[0]["weights"].items():
        assert (tensors["weights"][key] - value).abs().max() < 2e-3, key


def test_complete_run_is_left_alone_and_can_be_prolonged(unbroken_run, unbroken, tmp_path):
    shutil.copytree(unbroken_run.path, tmp_path / "run")
    folder = tiny_run(tmp_path / "run")
    assert_same(outcome(folder), unbroken)
    tiny_run(tmp_path / "run", steps=15)
    assert [r["step"] for r in folder.read_log() if "loss" in r] == list(range(1, 16))


@pytest.mark.parametrize(
    ("changed", "told"), [({"seed": 3}, "--seed: 0 against 3"), ({"steps": 9}, "--steps: 12 against 9")]
)
def test_settings_that_have_no_effect_on_a_complete_run_are_refused(changed, told, unbroken_run):
    before = unbroken_run.config.read_text()
    with pytest.raises(InputError, match=rf"complete, at step 12, .*no effect on it \({told}\): choose another folder"):
        tiny_run(unbroken_run.path, **changed)
    assert unbroken_run.config.read_text() == before


def test_all_settings_of_another_run_are_named(unbroken_run):
    config, dataset = tiny_config()
    others = {
        "schedule": replace(config.schedule, gamma_min=-9.0, gamma_max=7.0),
        "network": replace(config.network, width=16),
        "data": replace(config.data, conditional=True),
    }
    with pytest.raises(InputError, match="a run with other settings") as refused:
        train(replace(config, **others), dataset, unbroken_run.path, show_progress=False)
    for setting in ("--conditional", "--schedule.gamma-min", "--schedule.gamma-max", "--network.width"):
        assert setting in str(refused.value)


def test_it_is_said_which_weights_are_kept_if_not_the_last(tmp_path, monkeypatch):
    config, dataset = tiny_config()
    bits = iter([1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(Session, "_held_out", lambda session: (next(bits), 0.1))
    told: list[str] = []
    folder = train(config, dataset, tmp_path / "run", say=told.append, show_progress=False)
    kept = folder.read_metadata()["step"]
    assert int(kept) < 12
    assert any(f"weights of step {kept} are kept" in line and line.endswith("at the last step, 12") for line in told)


def test_another_seed_is_another_run(unbroken, tmp_path):
    _, _, log = outcome(tiny_run(tmp_path / "run", seed=1, steps=2))
    assert log[0]["loss"] != unbroken[2][0]["loss"]


def test_what_a_run_is_for_is_asked_when_it_begins(tmp_path):
    folder = tiny_run(tmp_path / "run")
    config, dataset = tiny_config()
    other = replace(config, training=replace(config.training, purpose="samples"))
    for restart in (False, True):
        with pytest.raises(InputError, match=r"--for: both against samples\): choose another folder with --out"):
            train(other, dataset, folder.path, restart=restart, show_progress=False)
