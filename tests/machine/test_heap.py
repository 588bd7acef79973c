"""Memory that was freed stays with a program that asks for it."""

import os
import platform
import subprocess
import sys

import pytest

from lowerbound.cli import main
from lowerbound.machine import heap

ROUNDS = """
import resource, sys
from lowerbound.machine.heap import KEPT, LARGEST, keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()

def pages(size, count):
    "That the system had to bring for so many blocks, freed once all are there."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * size for _ in range(count)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for size, count in ((LARGEST // 4, 8), (LARGEST // 2, KEPT // LARGEST), (LARGEST // 4, 6 * KEPT // LARGEST)):
    pages(size, count), pages(size, count)
    print(pages(size, count) * resource.getpagesize() / (size * count))
"""
"""The shares of three sets of blocks that are brought anew: a quarter, a half and one and a half times what is kept."""
of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such thresholds")


def shares(*arguments, **environment):
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", ROUNDS, *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env={**own, **environment}).stdout
    return [float(line) for line in said.split()]


@of_glibc
def test_what_was_freed_is_there_again():
    *fewer, more = shares("keep")
    assert max(fewer) < 0.05
    assert more > 0.5, "it keeps no more than it says"
    assert min(shares()) > 0.5, "of itself the library gives back what is freed"


@of_glibc
def test_thresholds_of_the_environment_stay():
    assert shares("keep", MALLOC_TRIM_THRESHOLD_="0", MALLOC_MMAP_THRESHOLD_=str(2**25))[0] > 0.5


def test_other_c_libraries_are_left_as_they_are(monkeypatch):
    asked = []
    monkeypatch.setattr(heap.ctypes, "CDLL", asked.append)
    for name in heap.THRESHOLDS:
        monkeypatch.delenv(name, raising=False)
    heap.keep_freed_memory()
    assert asked == [None]


def test_the_program_asks_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(main, "keep_freed_memory", lambda: asked.append(True))
    monkeypatch.setattr(sys, "argv", ["lowerbound", "--version"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert (end.value.code, asked) == (0, [True])
