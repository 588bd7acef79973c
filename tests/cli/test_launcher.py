"""`--processes`: what is started here ends as a single process does, whether it is done, fails, is stopped or killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lowerbound.cli import launcher
from lowerbound.cli.launcher import launch
from lowerbound.cli.main import TOGETHER, VERBS, run

USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}


@pytest.fixture(autouse=True)
def as_in_the_foreground():
    """A shell that starts the tests in the background has Ctrl-C ignored, and nohup SIGHUP."""
    before = {number: signal.signal(number, handler) for number, handler in USUAL.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


WORKER = """
import os, pathlib, signal, sys, time

rank, folder = os.environ["RANK"], pathlib.Path(sys.argv[1])

def say(name, text):  # all of it at once, to who looks for the file
    (folder / f".{name}").write_text(text)
    (folder / f".{name}").rename(folder / name)

def wait_for(name):
    while not (folder / name).exists():
        time.sleep(0.02)

def stop(number, frame):
    say(f"stopped-{rank}", str(number))
    sys.exit(128 + number)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, stop)
say(f"pid-{rank}", str(os.getpid()))
"""
"""Says by files that it has begun, and which signal has ended it."""
ENOUGH = 1.0
"""Seconds in which a worker on a busy machine takes note of a signal; one that is deaf needs no time for it."""


def launched(folder, what_it_does, count=2):
    return launch([sys.executable, "-c", WORKER + what_it_does, str(folder)], count)


def meanwhile(folder, work, count=2):
    """Do something once all have begun."""

    def wait():
        while len(list(folder.glob("pid-*"))) < count:
            time.sleep(0.02)
        work()

    threading.Thread(target=wait).start()


def test_all_of_them_know_of_one_another(tmp_path):
    said = "(folder / rank).write_text(' '.join(os.environ[n] for n in ('WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR')))"
    assert launched(tmp_path, said, count=3) == 0
    assert [(tmp_path / rank).read_text() for rank in "012"] == [f"3 {rank} 127.0.0.1" for rank in "012"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_all_of_them_and_its_number_is_told(number, tmp_path):
    meanwhile(tmp_path, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert launched(tmp_path, "time.sleep(60)") == 128 + number
    assert [(tmp_path / f"stopped-{rank}").read_text() for rank in "01"] == [str(int(number))] * 2
    assert signal.getsignal(number) is before


def test_the_status_is_that_of_the_one_that_fails_first_and_the_others_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "GRACE", ENOUGH)
    assert launched(tmp_path, "wait_for('pid-0'); sys.exit(2) if rank == '1' else time.sleep(60)") == 2
    assert (tmp_path / "stopped-0").read_text() == str(int(signal.SIGTERM))


def test_one_that_is_deaf_to_a_request_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "GRACE", 0.2)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(f'deaf-{rank}', ''); wait_for('deaf-1'); "
    assert launched(tmp_path, deaf + "sys.exit(3) if rank == '0' else time.sleep(60)") == 3
    assert not (tmp_path / "stopped-1").exists()


def test_where_one_is_killed_that_is_the_status(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "GRACE", ENOUGH)
    meanwhile(tmp_path, lambda: os.kill(int((tmp_path / "pid-1").read_text()), signal.SIGKILL))
    assert launched(tmp_path, "time.sleep(60)") == 128 + signal.SIGKILL
    assert (tmp_path / "stopped-0").exists()


def test_where_the_launcher_is_killed_all_of_them_are_told_to_stop(tmp_path):
    orphan = WORKER + "from lowerbound.cli.launcher import end_with_launcher; end_with_launcher(); time.sleep(60)"
    program = "import sys; from lowerbound.cli.launcher import launch; launch([sys.executable, '-c', *sys.argv[1:]], 2)"
    killed = subprocess.Popen([sys.executable, "-c", program, orphan, str(tmp_path)])
    meanwhile(tmp_path, killed.kill)
    assert killed.wait(60) == -signal.SIGKILL
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("stopped-*"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert [(tmp_path / f"stopped-{rank}").read_text() for rank in "01"] == [str(int(signal.SIGTERM))] * 2


def test_without_a_launcher_nothing_is_waited_for(monkeypatch):
    monkeypatch.delenv(launcher.LAUNCHER, raising=False)
    before = threading.active_count()
    launcher.end_with_launcher()
    assert threading.active_count() == before


@pytest.mark.parametrize("verb", ["score", "impute", "compare", "report"])
def test_a_verb_of_one_process_is_refused_to_several(verb, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run([verb, "runs/nowhere"]) == 2
    said = capsys.readouterr().err
    assert f"{verb} is done by one process, and WORLD_SIZE says that 2 were started" in said
    assert ("--shard" in said) == (verb == "score")


def test_verbs_of_several_processes_are_verbs():
    assert set(TOGETHER) < set(VERBS)
