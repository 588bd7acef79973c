"""The page trains by the command itself: what it starts, what it refuses, and that a run stops, is kept and goes on."""

import errno
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.run.overview import overview
from lowerbound.web import train as panel
from lowerbound.web import trainings as module
from lowerbound.web.limits import Limits
from lowerbound.web.shelf import Shelf
from lowerbound.web.trainings import Trainings


class Recorded:
    """A process that only says how it was started."""

    def __init__(self, command, **settings):
        self.command, self.returncode, self.signals = command, None, []

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        self.signals.append(number)

    def wait(self, timeout=None):
        self.returncode = 0
        return 0


@pytest.fixture
def trainings(folder, limits, monkeypatch):
    monkeypatch.setattr(module.subprocess, "Popen", Recorded)
    trainings = Trainings(Shelf(folder), replace(limits, most_minutes=5))
    yield trainings
    trainings.end()


def test_a_training_is_the_command_of_the_terminal(trainings, folder):
    trainings.begin("mine", "moons", 2, conditional=True)
    out = str((folder / "mine").resolve())
    told = ["train", "moons", "--out", out, "--minutes", "2", "--conditional"]
    assert trainings._process.command == [sys.executable, "-m", "lowerbound", *told]
    assert trainings.is_running
    with pytest.raises(InputError, match="mine is being trained"):
        trainings.begin("other", "moons", 2)
    trainings.stop()
    assert trainings._process.signals == [2]


def test_what_was_stopped_ends_before_another_begins(trainings):
    trainings.begin("mine", "moons", 2)
    trainings.stop()
    trainings.begin("other", "moons", 2)
    assert trainings.folder.path.name == "other"
    assert trainings.is_running


@pytest.mark.parametrize(("code", "has_failed"), [(None, False), (0, False), (130, False), (1, True), (-9, True)])
def test_a_training_that_is_stopped_has_not_failed(trainings, code, has_failed):
    trainings.begin("mine", "moons", 2)
    trainings._process.returncode = code
    assert trainings.has_failed is has_failed


def test_going_on_repeats_a_run_s_own_command_for_longer(trainings, folder):
    trainings.go_on("digits", 2)
    command = trainings._process.command
    assert command[3:6] == ["train", "digits", "--out"]
    assert command[6] == str((folder / "digits").resolve())
    assert float(command[8]) > 2
    assert command[9:] == ["--model", "diffusion", "--conditional"]


def test_an_upload_is_kept_beside_the_runs(trainings, folder, tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((4, 2), np.float32))
    trainings.begin("rows", tmp_path / "rows.npy", 1)
    kept = folder / "uploads" / "rows.npy"
    assert trainings._process.command[4] == str(kept.resolve())
    assert kept.read_bytes() == (tmp_path / "rows.npy").read_bytes()
    kept.unlink()
    kept.parent.rmdir()


def test_an_upload_that_finds_no_room_leaves_nothing(trainings, folder, tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", np.zeros((4, 2), np.float32))

    def full(source, place):
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr(module.shutil, "copyfile", full)
    with pytest.raises(InputError, match=r"No space left on the disk for .*uploads/rows\.npy"):
        trainings.begin("rows", tmp_path / "rows.npy", 1)
    assert trainings.folder is None
    assert not list((folder / "uploads").iterdir())
    (folder / "uploads").rmdir()


@pytest.mark.parametrize(
    ("name", "source", "minutes", "words"),
    [
        ("digits", "moons", 1, "already"),
        ("more", "moons", 1, "already"),
        ("uploads", "moons", 1, "already"),
        ("../mine", "moons", 1, "no name"),
        ("a/b", "moons", 1, "no name"),
        ("--restart", "moons", 1, "no name"),
        ("", "moons", 1, "no name"),
        ("x" * 65, "moons", 1, "no name"),
        ("mine", "/etc/passwd", 1, "no data"),
        ("mine", "--out", 1, "no data"),
        ("mine", "hf:mnist", 1, "no data"),
        ("mine", "moons", 6, "up to 5"),
        ("mine", "moons", 0, "up to 5"),
        ("mine", "moons", float("nan"), "up to 5"),
    ],
)
def test_what_cannot_be_trained_is_refused(trainings, name, source, minutes, words):
    with pytest.raises(InputError, match=words):
        trainings.begin(name, source, minutes)
    assert trainings.folder is None


def test_uploads_of_another_kind_or_too_large_are_refused(trainings, folder, tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"type '\.pkl'"):
        trainings.begin("mine", tmp_path / "model.pkl", 1)
    (tmp_path / "large.csv").write_bytes(bytes(2 << 20))
    with pytest.raises(InputError, match="larger than 1 megabytes"):
        trainings.begin("mine", tmp_path / "large.csv", 1)
    (folder / "uploads").symlink_to(tmp_path)
    (tmp_path / "small.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is a link"):
        trainings.begin("mine", tmp_path / "small.csv", 1)
    (folder / "uploads").unlink()


def test_the_page_on_the_studio_names_what_may_be_uploaded():
    page = (Path(__file__).parent.parent.parent / "docs" / "studio.md").read_text()
    rows = page.partition("| what is uploaded |")[2].partition("\n\n")[0]
    assert set(re.findall(r"\.[a-z][a-z0-9.]*", re.sub(r"\(.*?\)", "", rows))) == {*module.KINDS}


def test_the_panel_says_what_is_being_read(trainings):
    trainings.begin("mine", "moons", 2)
    pytest.importorskip("gradio")
    said = panel.TrainPanel.on_show(SimpleNamespace(trainings=trainings))[0]
    assert "mine: reading moons ..." in said


def test_beside_a_single_run_none_is_begun(folder, limits):
    with pytest.raises(InputError, match="single run"):
        Trainings(Shelf(folder / "digits"), limits).begin("mine", "moons", 1)


def test_a_run_s_curve_samples_and_state_are_shown(digits):
    curve, samples = panel.progress(digits.run.folder)
    assert "data:image/png" in curve
    assert "Samples after step 8" in samples
    assert panel.sentence(overview(digits.run.folder.path)).startswith("digits: complete, step 8 after")


@pytest.mark.slow
def test_a_training_stops_with_everything_saved_and_goes_on(folder):
    trainings = Trainings(Shelf(folder), Limits())
    trainings.begin("stopped", "moons", 30)
    log, until = folder / "stopped" / "log.jsonl", time.monotonic() + 120
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < until:
        time.sleep(0.2)
    trainings.stop()
    assert trainings._process.wait(60) == 130, trainings.said
    assert overview(folder / "stopped").state == "interrupted"
    assert "everything saved" in trainings.said
    trainings.go_on("stopped", 0.02)
    assert trainings._process.wait(120) == 0, trainings.said
    assert overview(folder / "stopped").state == "complete"
    assert "stopped" in trainings.shelf.names()
    trainings.end()


def test_what_a_command_says_is_read_while_it_writes(folder, limits):
    trainings = Trainings(Shelf(folder), limits)
    trainings._output = TemporaryFile()  # noqa: SIM115, `end` closes it
    script = "import sys; [(print(k, flush=True), sys.stdin.read(1)) for k in range(3)]"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=trainings._output, text=True
    ) as process:
        until = time.monotonic() + 60
        for said in ("0", "0\n1", "0\n1\n2"):
            while trainings.said != said and time.monotonic() < until:
                time.sleep(0.01)
            assert trainings.said == said
            process.stdin.write("x")
            process.stdin.flush()
    trainings.end()
