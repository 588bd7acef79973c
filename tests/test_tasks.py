"""The page of ten tasks: its commands are two each, and run."""

import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from lowerbound.cli.flags import flags
from lowerbound.cli.main import VERBS

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "tasks.py"
TASKS = runpy.run_path(str(SCRIPT))
COMMANDS = TASKS["tasks"]()


def test_ten_tasks_of_two_commands_each():
    assert [int(title.split(".")[0]) for title in COMMANDS] == [*range(1, 11)]
    counts = [len(commands) for commands in COMMANDS.values()]
    assert max(counts[:-1]) == 2
    assert counts[-1] == 3  # to go on, to measure, to report


@pytest.mark.parametrize("small", [False, True])
def test_every_verb_and_option_is_there(small):
    for command in (each for commands in COMMANDS.values() for each in commands if each.startswith("lowerbound")):
        _, verb, *arguments = shlex.split(TASKS["quickly"](command) if small else command)
        assert verb in VERBS
        known = set(flags(importlib.import_module(f"lowerbound.cli.{verb}").Options).values())
        assert {each for each in arguments if re.match(r"--[a-z]", each)} <= known, command


def test_a_quick_run_has_no_minutes():
    assert not any("--minutes" in TASKS["quickly"](each) for commands in COMMANDS.values() for each in commands)


@pytest.mark.slow
def test_all_of_them_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--quick", "--keep", str(tmp_path)])
    TASKS["main"]()
    rows = capsys.readouterr().out.splitlines()[1:]
    assert len(rows) == 10
    assert all(re.search(r"\d\.\d\d$", row) or "left out: diffusers" in row for row in rows)
    for name in ("grid.png", "made.csv", "odd.csv", "filled.npz", "ahead.png", "runs/photos/report.html"):
        assert (tmp_path / name).exists(), name
    least_likely = (tmp_path / "odd.csv").read_text().splitlines()
    assert len(least_likely) == 42
