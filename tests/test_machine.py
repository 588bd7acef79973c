"""What is said of the processor, and that busy ones are left alone."""

import os
import subprocess
import sys

import pytest
import torch

from lowerbound import machine
from lowerbound.cli import main


def cpuinfo(monkeypatch, tmp_path, text):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / "cpuinfo")
    machine.processor.cache_clear()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("fpu avx avx2 fma", "Some CPU (AVX2, no bfloat16)"),
        ("avx2 avx512f avx512_bf16", "Some CPU (AVX2, AVX-512, bfloat16)"),
        ("fpu sse2", "Some CPU (no bfloat16)"),
    ],
)
def test_the_processor_is_named_with_its_units(monkeypatch, tmp_path, flags, said):
    cpuinfo(monkeypatch, tmp_path, f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\n")
    assert machine.processor() == said
    machine.processor.cache_clear()


@pytest.mark.parametrize(("busy", "free"), [(0.0, 4), (1.2, 3), (4.0, 1), (9.0, 1)])
def test_free_processors_are_those_that_nothing_keeps_busy(monkeypatch, busy, free):
    ticks = iter([1000, 1000 + round(busy * os.sysconf("SC_CLK_TCK"))])
    monkeypatch.setattr(machine, "_busy_ticks", lambda: next(ticks))
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    assert machine.free_processors(1.0) == free


def test_a_system_that_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / "nothing")
    machine.processor.cache_clear()
    assert machine.processor()
    assert machine.free_processors() is None
    machine.processor.cache_clear()


@pytest.mark.parametrize(("asked", "left"), [(None, 2), ("8", 8)])
def test_verbs_use_what_is_free_unless_told(monkeypatch, capsys, asked, left):
    threads = [8]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(machine, "free_processors", lambda: 2)
    main.run(["sample", "nowhere"])
    assert threads[-1] == left
    assert ("the machine is busy" in capsys.readouterr().err) == (asked is None)


def test_threads_wait_passively():
    """OpenMP reads the setting as it is loaded: it has to be there before torch is."""
    code = "import lowerbound, os; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "passive"
