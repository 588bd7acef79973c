"""What is said of the processor, and that busy ones are left alone."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from lowerbound.cli import main
from lowerbound.machine import processor as machine


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


def test_who_asks_for_help_is_not_told_of_the_machine(monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(machine, "free_processors", lambda: pytest.fail("nothing is worked on"))
    with pytest.raises(SystemExit):
        main.run(["sample", "--help"])
    assert main.run(["sample"]) == 2
    assert "busy" not in capsys.readouterr().err


def test_threads_wait_passively():
    """OpenMP reads the setting as it is loaded: it has to be there before torch is."""
    code = "import lowerbound, os; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "passive"


@pytest.mark.parametrize(
    ("costs", "asked", "chosen"),
    [
        ({4: 4.0, 2: 2.0, 1: 1.0}, None, 1),  # small operations: threads wait for one another
        ({4: 1.0, 2: 1.9, 1: 3.6}, None, 4),
        ({4: 2.0, 2: 1.0, 1: 1.8}, None, 2),
        ({4: 1.0, 2: 0.95, 1: 0.1}, None, 4),  # no reason to change
        ({4: 4.0, 2: 2.0, 1: 1.0}, "4", 4),
    ],
)
def test_work_gets_as_many_threads_as_make_it_fastest(monkeypatch, costs, asked, chosen):
    threads, clock = [4], [0.0]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(machine.time, "perf_counter", lambda: clock[0])

    def work():
        clock[0] += costs[threads[-1]]

    machine.fit_threads(work)
    assert threads[-1] == chosen


@pytest.mark.parametrize("verb", ["evaluate", "score"])
def test_verbs_that_score_fit_their_threads(tmp_path, monkeypatch, verb):
    """What is tried is the run's own network on the examples that are scored."""
    run, few = tmp_path / "run", tmp_path / "few.npy"
    np.save(few, np.random.default_rng(0).normal(size=(100, 2)))
    small = ["--steps", "1", "--num-evaluations", "1", "--network.width", "8", "--denoiser.components", "0"]
    assert main.run(["train", str(few), *small, "--out", str(run)]) == 0
    tried = []
    monkeypatch.setattr("lowerbound.scoring.bound.fit_threads", lambda work: tried.append(work().nats))
    rest = (
        ["--quick", "--num-examples", "20"]
        if verb == "evaluate"
        else [str(few), "--num-times", "1", "--out", str(tmp_path / "scores.csv")]
    )
    assert main.run([verb, str(run), *rest]) == 0
    assert len(tried) == 1
    assert np.isfinite(tried[0]).all()


def test_small_examples_are_worked_on_many_at_a_time_and_large_ones_few():
    """One at least, and never more entries than the most, but of the smallest."""
    dims = [1, 4, 64, 784, 3 * 32**2, 3 * 64**2, 3 * 128**2, 3 * 256**2, 3 * 1024**2, 10**9]
    counts = [machine.at_once(num_dims) for num_dims in dims]
    assert counts == sorted(counts, reverse=True)
    assert counts[:6] == [8192, 2048, 128, 128, 128, 128]
    assert counts[-2:] == [1, 1]
    for num_dims, count in zip(dims, counts, strict=True):
        assert count == 1 or count * num_dims <= machine.MOST_ENTRIES_AT_ONCE
