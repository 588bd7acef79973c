"""Checkpoints: complete or not there, and damage is named."""

import errno
import hashlib
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest
import torch
from training.runs import measure_little, tiny_config, tiny_run, train_until

from lowerbound.errors import InputError
from lowerbound.files import whole as files
from lowerbound.training import train
from lowerbound.training.checkpoint import checkpoints, clean, read_checkpoint, step_of, write_checkpoint
from lowerbound.training.folder import RunFolder
from lowerbound.training.resume import restore
from lowerbound.training.trainer import Trainer

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


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        *((damage, "weights.safetensors") for damage in (truncate, flip, empty, os.remove)),
        *((damage, "state.json") for damage in (truncate, later, empty, os.remove, pipe)),
    ],
)
def test_damage_is_named(damage, name, tmp_path):
    path = write_checkpoint(tmp_path, 1, TENSORS, {"seconds": 1.5})
    damage(path / name)
    with pytest.raises(InputError, match=rf"damaged checkpoint: .*{name}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "changed",
    [
        *({"seconds": bad} for bad in ("x", None, math.inf, -3.0, [1])),
        *({"average_count": bad} for bad in (None, 1.5, -1)),
        *({"rate_scale": bad} for bad in ([1], "1", 2.0)),
        *({"step": bad} for bad in ("x", -5, 10**30, 3, None)),
        *({"sha256": bad} for bad in (None, [1], {}, {"../../x.safetensors": "0"}, {"weights.safetensors": 1})),
        {"more": 1},
    ],
    ids=str,
)
def test_values_of_a_state_are_checked(changed, trained, tmp_path):
    """Also of one that carries no hash of its own, as earlier versions wrote it and others may."""
    trainer, saved = trained
    path = tmp_path / saved.name
    shutil.copytree(saved, path)
    state = json.loads((path / "state.json").read_text())
    assert state.pop("own_sha256")
    (path / "state.json").write_text(json.dumps(state))
    restore(trainer, path)
    (path / "state.json").write_text(json.dumps({**state, **changed}))
    with pytest.raises(InputError, match="damaged checkpoint"):
        restore(trainer, path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer, and a checkpoint of it."""
    trainer = Trainer(*tiny_config("moons"))
    next(trainer.records())
    return trainer, write_checkpoint(tmp_path_factory.mktemp("saved"), trainer.step, *trainer.state())


@pytest.mark.parametrize("group", ["optimizer", "weights", "average"])
def test_tensors_of_another_shape_are_refused(group, trained, tmp_path):
    trainer, saved = trained
    tensors, state = read_checkpoint(saved)
    name = max(tensors[group], key=lambda each: tensors[group][each].numel())
    tensors[group][name] = torch.zeros(2, 3, 5, 7)
    path = write_checkpoint(tmp_path, state.pop("step"), tensors, state)
    with pytest.raises(InputError, match="damaged checkpoint"):
        restore(trainer, path)


STRANGE = [
    None,
    True,
    -1,
    0,
    1e308,
    math.inf,
    math.nan,
    10**40,
    "x",
    "",
    [],
    [1],
    [0, 10**9],
    {},
    {"a": 1},
    "F64",
    "../x",
]


def forged(path, rng):
    """Change one thing in a checkpoint as somebody would who makes its hashes fit."""
    state = json.loads((path / "state.json").read_text())
    del state["own_sha256"]
    file = path / rng.choice(["weights.safetensors", "average.safetensors", "optimizer.safetensors"])
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = rng.choice(list(header))
    match rng.choice(["state", "header", "type", "lacking", "bytes"]):
        case "state":
            state[rng.choice(list(state))] = rng.choice(STRANGE)
        case "header":
            header[name][rng.choice(["dtype", "shape", "data_offsets"])] = rng.choice(STRANGE)
        case "type":
            header[name]["dtype"] = rng.choice(["I32", "U32", "F16", "BOOL"])
        case "lacking":
            del header[name]
        case "bytes":
            place = rng.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    written = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(written)) + written + data)
    if isinstance(state["sha256"], dict):
        state["sha256"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (path / "state.json").write_text(json.dumps(state))


def test_forged_checkpoints_are_refused_or_gone_on_from(trained, tmp_path):
    trainer, saved = trained
    rng, num_refused = random.Random(0), 0
    for number in range(60):
        path = tmp_path / str(number) / saved.name
        shutil.copytree(saved, path)
        forged(path, rng)
        other = Trainer(trainer.config, trainer.dataset)
        try:
            restore(other, path)
            next(other.records())
        except InputError:
            num_refused += 1
    assert 30 < num_refused < 60


def test_half_an_optimiser_is_refused(trained, tmp_path):
    trainer, saved = trained
    tensors, state = read_checkpoint(saved)
    del tensors["optimizer"][next(name for name in tensors["optimizer"] if name.endswith("exp_avg_sq"))]
    path = write_checkpoint(tmp_path, state.pop("step"), tensors, state)
    with pytest.raises(InputError, match="the optimiser remembers exp_avg, step"):
        restore(Trainer(trainer.config, trainer.dataset), path)


def test_a_damaged_checkpoint_is_passed_over_only_when_told(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    folder = tiny_run(tmp_path / "run", steps=4)
    before, newest = checkpoints(folder.checkpoints)
    assert step_of(before) == 3
    truncate(newest / "optimizer.safetensors")
    log = folder.log.read_bytes()
    config, dataset = tiny_config(steps=6)
    with pytest.raises(InputError, match=r"optimizer\.safetensors.*--fall-back .* before it, of step 3$"):
        train(config, dataset, tmp_path / "run", show_progress=False)
    assert folder.log.read_bytes() == log
    said = []
    train(config, dataset, tmp_path / "run", say=said.append, show_progress=False, fall_back=True)
    assert "optimizer.safetensors" in said[0]
    assert (folder.checkpoints / f"damaged-{newest.name}-1").is_dir()
    assert [record["step"] for record in folder.read_log() if "loss" in record] == [1, 2, 3, 4, 5, 6]
    assert step_of(checkpoints(folder.checkpoints)[-1]) == 6
    for path in checkpoints(folder.checkpoints):
        truncate(path / "optimizer.safetensors")
    config, dataset = tiny_config(steps=8)
    with pytest.raises(
        InputError, match=r"step-000000006/opt.*, and damaged checkpoint: .*/opt.*: .*--restart to begin"
    ):
        train(config, dataset, tmp_path / "run", show_progress=False, fall_back=True)


def test_the_only_checkpoint_being_damaged_is_no_silent_restart(tmp_path, monkeypatch):
    measure_little(monkeypatch)
    folder = tiny_run(tmp_path / "run", steps=2)
    before, newest = checkpoints(folder.checkpoints)
    shutil.rmtree(before)
    truncate(newest / "weights.safetensors")
    config, dataset = tiny_config(steps=4)
    for fall_back in (False, True):
        with pytest.raises(InputError, match=r"weights\.safetensors.*no checkpoint before it.*--restart"):
            train(config, dataset, tmp_path / "run", show_progress=False, fall_back=fall_back)


def test_links_are_no_checkpoints(tmp_path):
    elsewhere = write_checkpoint(tmp_path / "elsewhere", 9, TENSORS, {})
    (tmp_path / "step-000000001").symlink_to(elsewhere)
    for step in (2, 3, 4):
        write_checkpoint(tmp_path, step, TENSORS, {})
    assert [step_of(path) for path in checkpoints(tmp_path)] == [3, 4]
    read_checkpoint(elsewhere)


def test_damaged_checkpoint_is_not_passed_over(tmp_path):
    folder = tiny_run(tmp_path / "run", steps=4)
    truncate(checkpoints(folder.checkpoints)[-1] / "optimizer.safetensors")
    with pytest.raises(InputError, match=r"optimizer\.safetensors"):
        tiny_run(tmp_path / "run", steps=6)


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


@pytest.mark.parametrize("name", ["lock", "log.jsonl"])
def test_a_full_disk_is_told_with_what_is_written_in_place(name, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, open("/dev/full", "a") as log:
        if name == "lock":
            patch.setattr(os, "write", full)
        else:
            patch.setattr(RunFolder, "open_log", lambda *_: log)
        with pytest.raises(files.DiskFullError, match=f"No space left on the disk for .*{name}: .* Make room"):
            tiny_run(tmp_path / "run", steps=2)
    assert tiny_run(tmp_path / "run", steps=2).model.exists()


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
from lowerbound.training import stretch
from training.runs import tiny_run
torch.set_num_threads(1)  # as the tests: sums over more threads round otherwise
stretch.CHECKPOINT_SECONDS = 0
tiny_run(Path(sys.argv[1]), steps=60)
"""


@pytest.mark.slow
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


def written_and_killed(tmp_path, moment):
    """Whether a process that writes a checkpoint was killed before it had asked so many things of the disk."""
    process = os.fork()
    if process:
        return os.WIFSIGNALED(os.waitpid(process, 0)[1])
    left = moment

    def counted(original):
        def call(*arguments, **settings):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **settings)

        return call

    try:
        for name in ("mkdir", "fsync", "rename", "replace", "rmdir", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        write_checkpoint(tmp_path, 7, TENSORS, {"which": "new"})
        os._exit(0)
    except BaseException:
        os._exit(1)


def test_a_checkpoint_of_the_same_step_is_never_lost(tmp_path):
    """Killed at any of its moments, the next start finds the old one or the new one, whole, and nothing else."""
    found, moment, killed = [], 0, True
    while killed:
        for step, which in ((6, "older"), (7, "old")):
            write_checkpoint(tmp_path, step, TENSORS, {"which": which})
        killed = written_and_killed(tmp_path, moment)
        moment += 1
        clean(tmp_path)
        tensors, state = read_checkpoint(tmp_path / "step-000000007")
        assert torch.equal(tensors["weights"]["a"], TENSORS["weights"]["a"])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000006", "step-000000007"], moment
        found.append(state["which"])
    assert found.count("old") > 5
    assert found == sorted(found, reverse=True), "old up to a moment and new from then on"
    assert found[-1] == "new"


def test_what_others_left_among_the_checkpoints_is_not_followed(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "checkpoints"
    kept = write_checkpoint(elsewhere, 9, TENSORS, {})
    folder.mkdir()
    (folder / ".replaced-step-000000009").symlink_to(kept)
    (folder / ".replaced-mine").mkdir()
    (folder / ".unfinished-link").symlink_to(elsewhere)
    (folder / ".unfinished-file").write_text("x")
    for step in (1, 2, 3):
        write_checkpoint(folder, step, TENSORS, {})
    assert [step_of(path) for path in checkpoints(folder)] == [2, 3]
    assert not list(folder.glob(".unfinished*"))
    assert (folder / ".replaced-mine").is_dir()
    read_checkpoint(kept)


def test_what_is_named_otherwise_is_left_alone(tmp_path):
    for name in ("step-1", "step-0000000099", "step-000000001-kept", "mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000000000").write_text("a file")
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step, TENSORS, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000002", "step-000000003"]
    assert (tmp_path / "step-1").is_dir()
    assert (tmp_path / "step-000000001-kept").is_dir()
