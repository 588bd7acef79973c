"""Checkpoints: complete or not there, and damage is named."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from train.runs import measure_little, tiny_config, tiny_run, train_until

from lowerbound import files
from lowerbound.errors import InputError
from lowerbound.files import clean
from lowerbound.train import train
from lowerbound.train.checkpoint import checkpoints, read_checkpoint, step_of, write_checkpoint

TENSORS = {"weights": {"a": torch.arange(1000.0)}, "average": {"a": torch.ones(3)}}


def test_round_trip_and_the_two_newest_stay(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step, TENSORS, {"seconds": 1.5})
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


def later(path):
    path.write_text(path.read_text().replace("1.5", "2.5"))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        *((damage, "weights.safetensors") for damage in (truncate, flip, empty, os.remove)),
        *((damage, "state.json") for damage in (truncate, later, empty, os.remove)),
    ],
)
def test_damage_is_named(damage, name, tmp_path):
    path = write_checkpoint(tmp_path, 1, TENSORS, {"seconds": 1.5})
    damage(path / name)
    with pytest.raises(InputError, match=rf"damaged checkpoint: .*{name}"):
        read_checkpoint(path)


def test_damaged_checkpoint_is_passed_over_only_when_told(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    config, dataset = tiny_config(steps=4)
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    before, newest = checkpoints(folder.checkpoints)
    truncate(newest / "optimizer.safetensors")
    log = folder.log.read_bytes()
    longer, _ = tiny_config(steps=6)
    with pytest.raises(InputError, match=rf"optimizer\.safetensors.*--fall-back .* step {step_of(before)},.*--restart"):
        train(longer, dataset, tmp_path / "run", show_progress=False)
    assert folder.log.read_bytes() == log
    said = []
    train(longer, dataset, tmp_path / "run", say=said.append, show_progress=False, start="previous")
    assert "optimizer.safetensors" in said[0]
    assert (folder.checkpoints / f"damaged-{newest.name}-1").is_dir()
    assert [r["step"] for r in folder.read_log() if "loss" in r] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "lose", [shutil.rmtree, lambda path: truncate(path / "weights.safetensors")], ids=["gone", "damaged"]
)
def test_no_run_starts_over_unasked(lose, tmp_path, monkeypatch):
    measure_little(monkeypatch)
    config, dataset = tiny_config(steps=4)
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    before, newest = checkpoints(folder.checkpoints)
    shutil.rmtree(before)
    lose(newest)
    log = folder.log.read_bytes()
    for start in ("newest", "previous"):
        with pytest.raises(InputError, match=r"--restart"):
            train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False, start=start)
    assert folder.log.read_bytes() == log
    said = []
    train(config, dataset, tmp_path / "run", say=said.append, show_progress=False, start="anew")
    assert "is kept in" in said[0]
    assert (tmp_path / "run-before-1" / "log.jsonl").read_bytes() == log
    assert len(checkpoints(folder.checkpoints)) == 2


def test_a_folder_without_a_run_is_not_set_aside(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    config, dataset = tiny_config(steps=1)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False, start="anew")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    others = [tmp_path / name for name in ("step-final", "step-1", "step-0000000001", "old-step-000000001")]
    for other in others:
        other.mkdir()
    (tmp_path / "step-000000009").symlink_to(others[0])
    for step in range(1, 5):
        write_checkpoint(tmp_path, step, TENSORS, {})
    assert [step_of(path) for path in checkpoints(tmp_path)] == [3, 4]
    assert all(other.is_dir() for other in others)


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_killed_while_a_checkpoint_is_replaced(moment, tmp_path):
    """The checkpoint of a step is written anew, and the process dies at a rename: the step's checkpoint is there."""
    script = """
import os, sys
from pathlib import Path
import torch
from lowerbound.train.checkpoint import write_checkpoint
write_checkpoint(Path(sys.argv[1]), 1, {"weights": {"a": torch.zeros(3)}}, {})
rename, count = Path.rename, 0
def killed(self, target):
    global count
    count += 1
    if count == {"before": 1, "between": 2}.get(sys.argv[2]):
        os.kill(os.getpid(), 9)
    rename(self, target)
    if count == 2:
        os.kill(os.getpid(), 9)
Path.rename = killed
write_checkpoint(Path(sys.argv[1]), 1, {"weights": {"a": torch.ones(3)}}, {})
"""
    code = subprocess.run([sys.executable, "-c", script, tmp_path, moment], check=False).returncode
    assert code == -signal.SIGKILL
    clean(tmp_path)
    (path,) = checkpoints(tmp_path)
    tensors, _ = read_checkpoint(path)
    assert tensors["weights"]["a"].tolist() == [float(moment == "after")] * 3
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, 1, TENSORS, {})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(tmp_path, 2, TENSORS, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000001"]
    read_checkpoint(checkpoints(tmp_path)[-1])
    write_checkpoint(tmp_path, 2, TENSORS, {})
    assert not list(tmp_path.glob(".unfinished*"))


def test_checkpoint_of_another_network(tmp_path, monkeypatch):
    config, dataset = tiny_config()
    with pytest.raises(KeyboardInterrupt):
        train_until(2, config, dataset, tmp_path / "run", monkeypatch)
    path = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    tensors, state = read_checkpoint(path)
    name = next(iter(tensors["weights"]))
    tensors["weights"][name] = torch.zeros(1, 2, 3)
    write_checkpoint(path.parent, state.pop("step"), tensors, state)
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
