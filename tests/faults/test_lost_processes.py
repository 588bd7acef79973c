"""One of several processes ends, or cannot write: the others end as well, and the run goes on from its checkpoint."""

import os
import signal
import subprocess
import sys
import time

import pytest
from training.runs import tiny_run
from training.together import finish, start, stopping

from lowerbound.training import train
from lowerbound.training.checkpoint import checkpoints
from lowerbound.training.folder import RunFolder

pytestmark = pytest.mark.slow
SECONDS = 20.0
"""Within which the survivor of a killed process has ended: at its next exchange."""


def wait_for(condition, workers, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        assert all(worker.poll() is None for worker in workers), finish(workers)
        time.sleep(0.05)


@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_is_killed_the_other_ends_and_the_run_goes_on(killed, tmp_path):
    workers = start("go_on_slowly", tmp_path)
    saved = tmp_path / "run" / "checkpoints"
    wait_for(lambda: saved.exists() and any(path.name > "step-000000005" for path in checkpoints(saved)), workers)
    workers[killed].send_signal(signal.SIGKILL)
    began = time.monotonic()
    outcomes = finish(workers)
    assert time.monotonic() - began < SECONDS
    status, said = outcomes[1 - killed]
    assert status not in (0, -signal.SIGKILL)
    assert f"process {killed} (pid {workers[killed].pid}) has ended" in said
    newest = int(checkpoints(saved)[-1].name.removeprefix("step-"))
    config, dataset = stopping(newest + 3)  # on one process now
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert max(record["step"] for record in folder.read_log()) == newest + 3


def test_when_one_is_killed_as_it_draws_the_other_says_so_and_writes_nothing(tmp_path):
    tiny_run(tmp_path / "run", "moons", steps=2, num_evaluations=1, num_pictures=0)
    workers = start("draw_until_killed", tmp_path)
    (status, said), (killed, _) = finish(workers)
    assert killed == -signal.SIGKILL
    assert status == 2
    assert f"process 1 (pid {workers[1].pid}) has ended" in said
    assert not list(tmp_path.glob("*samples*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes everywhere")
def test_when_the_first_cannot_save_all_fail(tmp_path):
    check_that_all_fail(tmp_path, lambda folder: folder.chmod(0o500))


def test_when_checkpoints_have_no_place_all_fail(tmp_path):
    check_that_all_fail(tmp_path, lambda folder: (folder.rename(folder.with_name("away")), folder.write_text("")))


def check_that_all_fail(tmp_path, spoil):
    workers = start("go_on_slowly", tmp_path)
    saved = tmp_path / "run" / "checkpoints"
    wait_for(lambda: saved.exists() and checkpoints(saved), workers)
    spoil(saved)
    (first, its_words), (second, other_words) = finish(workers)
    assert first not in (0, None)
    assert second not in (0, None)
    assert "checkpoints" in its_words
    assert "process 0 of 2" in other_words


@pytest.mark.parametrize("task", ["run_out_of_disk", "run_out_of_disk_for_a_part"])
def test_when_one_finds_no_room_all_fail_and_what_was_saved_stays(task, tmp_path):
    outcomes = finish(start(task, tmp_path))
    assert all(status not in (0, None) for status, _ in outcomes)
    assert all("No space left" in said for _, said in outcomes), outcomes
    saved = tmp_path / "run" / "checkpoints"
    assert [path.name for path in checkpoints(saved)] == ["step-000000000"]
    config, dataset = stopping(6, num_evaluations=1, num_pictures=0)  # on one process, whole, with room
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert [record["step"] for record in folder.read_log() if "loss" in record] == [1, 2, 3, 4, 5, 6]
    assert not list(saved.glob(".unfinished*"))


def test_a_slow_one_is_waited_for_and_both_end_at_one_step(tmp_path):
    outcomes = finish(start("wait_for_a_slow_one", tmp_path))
    assert all(status == 0 for status, _ in outcomes), outcomes
    log = RunFolder(tmp_path / "run").read_log()
    steps = [record for record in log if "loss" in record]
    assert 1 <= len(steps) <= 1.35 / 0.2 + 1  # 0.9 of a fortieth of a minute
    assert steps[-1]["seconds"] >= 0.2 * len(steps)
    newest = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert newest.name == f"step-{len(steps):09d}"


def test_one_that_does_not_answer_is_not_waited_for_for_ever(tmp_path):
    workers = start("go_on_impatiently", tmp_path)
    wait_for(lambda: checkpoints(tmp_path / "run" / "checkpoints"), workers)
    workers[1].send_signal(signal.SIGSTOP)
    try:
        ((status, said),) = finish(workers[:1], 20 + SECONDS)
    finally:
        workers[1].kill()
        finish(workers[1:])
    assert status not in (0, None)
    assert "one of the processes 1 has ended or does not answer" in said


def test_a_second_command_beside_them_is_refused_in_all(tmp_path):
    workers = start("go_on_slowly", tmp_path)
    wait_for(lambda: checkpoints(tmp_path / "run" / "checkpoints"), workers)
    others = finish(start("go_on", tmp_path))
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    for _, said in finish(workers):
        assert "KeyboardInterrupt" in said or "Stopped" in said
    for status, said in others:
        assert status not in (0, None)
        assert "is training in" in said


def test_processes_that_are_told_to_stop_save_everything_and_say_so_once(tmp_path):
    command = [sys.executable, "-m", "lowerbound", "train", "moons", "--steps", "100000", "--batch-size", "33"]
    command += ["--out", str(tmp_path / "run"), "--processes", "2", "--denoiser.components", "0"]
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "log.jsonl"
    saved = tmp_path / "run" / "checkpoints"
    wait_for(lambda: log.exists() and checkpoints(saved), [])
    time.sleep(1)
    launcher.send_signal(signal.SIGTERM)
    said, warned = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + signal.SIGTERM
    assert warned.count("stopped by SIGTERM") == 1
    assert "Traceback" not in warned
    step = int(checkpoints(saved)[-1].name.removeprefix("step-"))
    assert said.count(f"stopped at step {step} with everything saved") == 1
    assert max(record["step"] for record in RunFolder(tmp_path / "run").read_log()) == step > 0
