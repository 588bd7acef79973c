"""What is written: whole or not at all, whoever else writes there, and whatever the disk says."""

import errno
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lowerbound.cli.main import run
from lowerbound.cli.writing import write_samples
from lowerbound.data import DataSpec, Levels
from lowerbound.errors import InputError
from lowerbound.files import whole as files
from lowerbound.files.whole import UNFINISHED, replacing, write_file

SPEC = DataSpec("pictures", (1, 4, 4), Levels(256), "NCHW")


def pictures(level, num=5):
    return np.full((num, 1, 4, 4), level, np.uint8)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def abandoned(path, pid):
    """What a process left that was writing to a path."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(b"")
    path.unlink()
    return path.with_name(unfinished.name.replace(f"-{os.getpid()}-", f"-{pid}-"))


def gone():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a"])
def test_what_killed_processes_left_is_removed_and_never_taken(tmp_path, name):
    stale, alive, old = (
        *(abandoned(tmp_path / name, pid) for pid in (gone(), os.getppid())),
        tmp_path / f"{UNFINISHED}{name}",
    )
    for left in (stale, alive, old):
        left.mkdir()
        (left / "99.png").write_bytes(b"of another")
    write_samples(SPEC, pictures(7), tmp_path / name)
    assert names(tmp_path) == sorted([name, alive.name, old.name])
    if name == "a":
        assert names(tmp_path / "a") == [f"{i}.png" for i in range(5)]


def test_of_many_that_write_to_one_folder_the_first_is_there_whole(tmp_path, monkeypatch):
    together, said = threading.Barrier(4), []
    complete = files._synchronise_all

    def wait(path):
        complete(path)
        if path.parent == tmp_path:
            together.wait(20)

    monkeypatch.setattr(files, "_synchronise_all", wait)

    def write(num):
        try:
            write_samples(SPEC, pictures(num, num), tmp_path / "out")
            said.append(num)
        except InputError as error:
            said.append(str(error))

    threads = [threading.Thread(target=write, args=(num,)) for num in (3, 4, 5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (each for each in said if isinstance(each, int))
    assert names(tmp_path / "out") == [f"{i}.png" for i in range(winner)]
    assert sum("choose another name" in str(each) for each in said) == 3
    assert names(tmp_path) == ["out"]


def test_a_long_name_can_be_written(tmp_path):
    write_file(tmp_path / ("a" * 250 + ".npy"), b"x")
    assert names(tmp_path) == ["a" * 250 + ".npy"]


def fill(monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)


def test_a_full_disk_is_told_with_the_file_and_its_size(tmp_path, monkeypatch):
    write_file(tmp_path / "a", b"before")
    fill(monkeypatch)
    with pytest.raises(files.DiskFullError) as told:
        write_file(tmp_path / "a", bytes(12_345))
    assert str(told.value).startswith(f"No space left on the disk for {tmp_path / 'a'}: 12,345 bytes are needed, ")
    assert (tmp_path / "a").read_bytes() == b"before"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a"])
def test_samples_on_a_full_disk_leave_nothing(tmp_path, monkeypatch, name):
    fill(monkeypatch)
    with pytest.raises(InputError, match=f"No space left on the disk for .*{name}"):
        write_samples(SPEC, pictures(7), tmp_path / name)
    assert names(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.png", "a"])
def test_samples_that_are_not_finite_are_never_written(tmp_path, value, name):
    samples = pictures(7).astype(np.float32)
    samples[3, 0, 1, 1] = value
    with pytest.raises(InputError, match=r"1 of 5 samples .*sample 3"):
        write_samples(SPEC, samples, tmp_path / name)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "log.jsonl"), ["log.jsonl: No space left", "make room"]),
        (OSError(errno.EACCES, "Permission denied", "x"), ["x: Permission denied"]),
        (MemoryError("Unable to allocate 3.20 GiB for an array"), ["3.20 GiB", "OMP_NUM_THREADS"]),
        (
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes."
            ),
            ["8 GiB", "OMP_NUM_THREADS"],
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0"), ["2.00 GiB"]),
    ],
)
@pytest.mark.parametrize(
    ("verb", "advice"), [("train", "--micro-batch-size"), ("sample", "--batch-size"), ("score", "")]
)
def test_a_lack_of_room_or_memory_is_a_line_with_advice(monkeypatch, capsys, error, words, verb, advice):
    def lacking(arguments):
        raise error

    monkeypatch.setattr(f"lowerbound.cli.{verb}.main", lacking)
    assert run([verb]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert all(word in said for word in words)
    assert isinstance(error, OSError) or advice in said


def test_other_errors_keep_their_traceback(monkeypatch):
    def wrong(arguments):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("lowerbound.cli.sample.main", wrong)
    with pytest.raises(RuntimeError, match="of ours"):
        run(["sample"])
