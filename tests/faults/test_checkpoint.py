"""Checkpoints: complete or not there, and damage is named."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from train.runs import tiny_config, tiny_run, train_until

from lowerbound import files
from lowerbound.errors import InputError
from lowerbound.train import checkpoint
from lowerbound.train.checkpoint import Checkpoint, checkpoints, clean, read_checkpoint

TENSORS = {"weights": {"a": torch.arange(1000.0)}, "average": {"a": torch.ones(3)}}


def test_round_trip_and_the_two_newest_stay(tmp_path):
    for step in (1, 2, 3):
        Checkpoint.of(step, TENSORS, {"seconds": 1.5}).write(tmp_path)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000002", "step-000000003"]
    tensors, state = read_checkpoint(checkpoints(tmp_path)[-1])
    assert torch.equal(tensors["weights"]["a"], TENSORS["weights"]["a"])
    assert state == {"seconds": 1.5, "step": 3}


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        *((damage, "weights.safetensors") for damage in (truncate, flip, empty, os.remove)),
        *((damage, "state.json") for damage in (truncate, empty, os.remove)),
    ],
)
def test_damage_is_named(damage, name, tmp_path):
    path = Checkpoint.of(1, TENSORS, {}).write(tmp_path)
    damage(path / name)
    with pytest.raises(InputError, match=rf"damaged checkpoint: .*{name}.*remove the folder"):
        read_checkpoint(path)


def test_damaged_checkpoint_is_not_passed_over(tmp_path):
    folder = tiny_run(tmp_path / "run", steps=4)
    truncate(checkpoints(folder.checkpoints)[-1] / "optimizer.safetensors")
    with pytest.raises(InputError, match=r"optimizer\.safetensors"):
        tiny_run(tmp_path / "run", steps=6)


def test_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    Checkpoint.of(1, TENSORS, {}).write(tmp_path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            Checkpoint.of(2, TENSORS, {}).write(tmp_path)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000001"]
    read_checkpoint(checkpoints(tmp_path)[-1])
    Checkpoint.of(2, TENSORS, {}).write(tmp_path)
    assert not list(tmp_path.glob(".unfinished*"))


def test_checkpoint_of_another_network(tmp_path, monkeypatch):
    config, dataset = tiny_config()
    with pytest.raises(KeyboardInterrupt):
        train_until(2, config, dataset, tmp_path / "run", monkeypatch)
    path = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    tensors, state = read_checkpoint(path)
    name = next(iter(tensors["weights"]))
    tensors["weights"][name] = torch.zeros(1, 2, 3)
    Checkpoint.of(state.pop("step"), tensors, state).write(path.parent)
    with pytest.raises(InputError, match=r"of shape \(1, 2, 3\)"):
        tiny_run(tmp_path / "run")


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
from lowerbound.train import session
from train.runs import tiny_run
torch.set_num_threads(1)  # as the tests: sums over more threads round otherwise
session.CHECKPOINT_SECONDS = 0
tiny_run(Path(sys.argv[1]), steps=60)
"""


def test_kill_at_any_moment(tmp_path):
    """kill -9 while a process writes a checkpoint at every step: the next start goes on, and the end is the same."""
    script = tmp_path / "script.py"
    script.write_text(KILLED.format(tests=os.path.dirname(os.path.dirname(__file__))))
    run = tmp_path / "run"
    reached = []
    for delay in (0.05, 0.21, 0.13):
        process = subprocess.Popen([sys.executable, script, run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        known = len(reached) and reached[-1]
        while process.poll() is None and newest_step(run) <= known:
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached.append(newest_step(run))
    assert reached[0] > 0
    assert reached == sorted(reached)
    folder, unbroken = tiny_run(run, steps=60), tiny_run(tmp_path / "unbroken", steps=60)
    ours, theirs = (read_checkpoint(checkpoints(f.checkpoints)[-1])[0] for f in (folder, unbroken))
    for name, group in theirs.items():
        assert all(torch.equal(ours[name][key], value) for key, value in group.items()), name


def newest_step(run):
    found = checkpoints(run / "checkpoints")
    return int(found[-1].name.removeprefix("step-")) if found else 0


@pytest.mark.parametrize("moment", ["before it is aside", "between aside and in", "before the old one is removed"])
def test_replacing_a_checkpoint_of_the_same_step_never_loses_it(tmp_path, monkeypatch, moment):
    """Killed at any of its moments, the next start finds the old one or the new one, whole."""
    Checkpoint.of(6, TENSORS, {"which": "older"}).write(tmp_path)
    Checkpoint.of(7, TENSORS, {"which": "old"}).write(tmp_path)

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    original = checkpoint.Path.rename
    with monkeypatch.context() as patch:
        if moment == "before the old one is removed":
            patch.setattr(checkpoint.shutil, "rmtree", kill)
        else:
            last = "aside" if moment == "before it is aside" else "in"

            def rename(self, target):
                kind = "aside" if target.name.startswith(checkpoint.ASIDE) else "in"
                return kill() if kind == last else original(self, target)

            patch.setattr(checkpoint.Path, "rename", rename)
        with pytest.raises(Killed):
            Checkpoint.of(7, TENSORS, {"which": "new"}).write(tmp_path)
    clean(tmp_path)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000006", "step-000000007"]
    tensors, state = read_checkpoint(tmp_path / "step-000000007")
    assert state["which"] == ("new" if moment == "before the old one is removed" else "old")
    assert torch.equal(tensors["weights"]["a"], TENSORS["weights"]["a"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000006", "step-000000007"]


def test_what_is_named_otherwise_is_left_alone(tmp_path):
    for name in ("step-1", "step-0000000099", "step-000000001-kept", "mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000000000").write_text("a file")
    for step in (1, 2, 3):
        Checkpoint.of(step, TENSORS, {}).write(tmp_path)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000002", "step-000000003"]
    assert (tmp_path / "step-1").is_dir()
    assert (tmp_path / "step-000000001-kept").is_dir()
