"""What is printed fits the terminal it goes to, stays a line on a pipe, and ends quietly when nobody reads on."""

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from lowerbound.cli import terminal
from lowerbound.cli.main import VERBS, run

LABELLED = "trained   on the bound, with more weight on noise that can be seen, times drawn where the loss is large"
ROW = "  flow minus chain  -0.012 ± 0.004  mean over the same 179 examples, each of them with the same noise as before"
FINDING = "- Samples differ from the data: the Frechet distance to the training data is 12.3 ± 0.2, that of others 1.0"


@pytest.mark.parametrize(
    ("line", "indent"), [(LABELLED, 10), (ROW, 36), (FINDING, 2), (LABELLED.split(maxsplit=1)[1], 0)]
)
def test_later_lines_stand_beneath_the_last_column(line, indent):
    first, *others = terminal.wrapped(line, 80).splitlines()
    assert others
    assert all(len(part) <= 80 for part in (first, *others))
    assert all(re.match(" *", part)[0] == " " * indent for part in others)
    assert " ".join([first, *(part[indent:] for part in others)]) == line


@pytest.mark.parametrize(
    "line",
    [
        "a line that fits",
        f'{{"name": "{"a word " * 20}"}}',
        f"next: lowerbound evaluate {'a folder of a name/' * 8}",
        "x" * 200,
    ],
)
def test_what_is_copied_or_cannot_be_broken_stays(line):
    assert terminal.wrapped(line, 80) == line


def test_a_terminal_has_lines_that_fit_and_a_pipe_whole_ones():
    command, environment = [sys.executable, "-m", "lowerbound", "nonsense"], {**os.environ, "COLUMNS": "60"}
    on_a_pipe = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, check=False).stderr
    assert len(on_a_pipe.splitlines()) == 1
    assert len(on_a_pipe) > 160
    ours, theirs = pty.openpty()
    subprocess.run(command, stderr=theirs, env=environment, check=False)
    os.close(theirs)
    lines = os.read(ours, 10_000).decode().splitlines()
    os.close(ours)
    assert all(len(line) <= 60 for line in lines)
    assert " ".join(lines) == on_a_pipe.strip()


EVERY_VERB = [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS), ["doctor"]]


@pytest.mark.parametrize("arguments", EVERY_VERB, ids=" ".join)
def test_a_closed_pipe_ends_quietly(arguments, monkeypatch, capsys):
    ours, theirs = os.pipe()
    os.close(ours)
    with monkeypatch.context() as patch, os.fdopen(theirs, "w", buffering=1) as closed:
        patch.setattr(sys, "stdout", closed)
        try:
            status = run(arguments)
        except SystemExit as stop:
            status = stop.code
    assert status == 128 + signal.SIGPIPE
    assert not capsys.readouterr().err


def test_a_closed_pipe_at_the_end_of_the_program():
    command = f"{sys.executable} -m lowerbound --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGPIPE
    assert not done.stderr
