"""Signals: in training the first is a request and the second ends; elsewhere the first ends, in an orderly way."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from lowerbound.cli.main import run
from lowerbound.errors import Stopped
from lowerbound.machine.interruption import Interruption, stoppable
from lowerbound.training.checkpoint import checkpoints, step_of

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def as_in_the_foreground():
    """A shell that starts the tests in the background has Ctrl-C ignored, and nohup SIGHUP."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_first_signal_is_a_request(number):
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested


def test_second_signal_ends():
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_twice_at_once_is_one_request(number, monkeypatch):
    """As where a system ends all processes of a job, and their launcher passes on to them what it has got itself."""
    with stoppable(), Interruption() as interruption:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert interruption.requested == number
        monkeypatch.setattr("lowerbound.machine.interruption.SAME_REQUEST", 0.0)
        with pytest.raises(Stopped):
            os.kill(os.getpid(), number)


def test_what_another_process_was_asked_before_is_no_first_signal():
    with stoppable(), Interruption() as interruption:
        interruption.requested = signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_come_back():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    with Interruption():
        assert all(signal.getsignal(number) != before[number] for number in NUMBERS)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in NUMBERS} == before


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_ignored_from_the_start_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with stoppable(), Interruption() as interruption:
        os.kill(os.getpid(), number)
        assert not interruption.requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_requested_end_says_which_signal_it_was(number):
    def train():
        with Interruption():
            os.kill(os.getpid(), number)
            raise KeyboardInterrupt  # once all is saved

    with pytest.raises(Stopped) as stop:
        train()
    assert stop.value.number == number


@pytest.mark.parametrize("number", NUMBERS)
def test_a_verb_ends_with_a_line_and_its_signal_s_status(number, monkeypatch, capsys, tmp_path):
    from lowerbound.files.whole import replacing

    def verb(arguments):
        with replacing(tmp_path / "out.npy") as unfinished:
            unfinished.write_bytes(b"half")
            os.kill(os.getpid(), number)
            time.sleep(5)

    monkeypatch.setattr("lowerbound.cli.sample.main", verb)
    assert run(["sample"]) == 128 + number
    said = capsys.readouterr().err
    assert said == ("interrupted\n" if number == signal.SIGINT else f"stopped by {number.name}\n")
    assert not list(tmp_path.iterdir())


TRAIN = [
    *("-m", "lowerbound", "train", "moons", "--steps", "100000", "--batch-size", "8", "--network.width", "8"),
    *("--num-evaluations", "1", "--num-pictures", "0", "--denoiser.components", "0"),
]


def test_training_saves_when_its_terminal_goes_away(tmp_path):
    main, terminal = pty.openpty()
    fcntl.ioctl(main, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    run_folder = tmp_path / "run"
    command = [sys.executable, *TRAIN, "--out", str(run_folder)]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    try:
        said = b""
        while b"step " not in said:
            assert select.select([main], [], [], 60)[0]
            said += os.read(main, 4096)
        os.close(main)  # what is printed from now on is an error
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 128 + signal.SIGHUP
    finally:
        process.kill()
    assert step_of(checkpoints(run_folder / "checkpoints")[-1]) > 0


def test_ctrl_c_while_a_verb_is_being_loaded_is_no_traceback(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("lowerbound.cli.main.importlib.import_module", interrupted)
    assert run(["train", "digits"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
