"""The processor that everything runs on: its name, the units that decide speed, how busy it is, how many threads help."""

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

UNITS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "bfloat16",
    "amx_bf16": "bfloat16 tiles",
    "bf16": "bfloat16",
}
"""Flags of /proc/cpuinfo, and what they stand for."""
TRIAL_SECONDS = 0.1
"""For what a piece of work takes on a number of threads, at least a single trial."""
FEWEST_AT_ONCE, ENTRIES_AT_ONCE = 128, 8192
"""Examples, and entries of small ones, that are worked on at a time: of fewer a network's answer costs no less."""
MOST_ENTRIES_AT_ONCE = 1 << 21
"""Entries of large examples that are worked on at a time: of each a bound holds some hundred bytes."""
GAIN = 0.9
"""What work on fewer threads must take of the time on more to be preferred."""


@cache
def processor() -> str:
    """The processor's name and its vector units, as far as the system tells: "... (AVX2, no bfloat16)"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name") or platform.machine()
    flags = fields.get("flags", fields.get("Features", "")).split()
    if not flags:
        return name
    units = [unit for flag, unit in UNITS.items() if flag in flags]
    if not any("bfloat16" in unit for unit in units):
        units.append("no bfloat16")
    return f"{name} ({', '.join(units)})"


def process_memory() -> int:
    """The most bytes of memory that this process has taken so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # elsewhere in KiB


def at_once(num_dims: int) -> int:
    """How many examples of so many entries are worked on at a time where it changes nothing but speed."""
    most = max(1, MOST_ENTRIES_AT_ONCE // num_dims)
    return min(most, max(FEWEST_AT_ONCE, ENTRIES_AT_ONCE // num_dims))


def free_processors(seconds: float = 0.1) -> int | None:
    """How many of the processors nothing else keeps busy, at least one; None where the system does not tell.

    Arguments:
        seconds: how long to look.
    """
    before = _busy_ticks()
    if before is None:
        return None
    time.sleep(seconds)
    after, allowed = _busy_ticks(), len(os.sched_getaffinity(0))
    assert after is not None
    busy = (after - before) / os.sysconf("SC_CLK_TCK") / seconds
    return max(1, min(allowed, round((os.cpu_count() or 1) - busy)))


def leave_busy_processors() -> None:
    """Let torch use the processors that nothing else keeps busy: a thread that waits for one holds up all the others.

    A number of threads that was asked for, by OMP_NUM_THREADS, stays.
    """
    if "OMP_NUM_THREADS" in os.environ or torch.get_num_threads() == 1:
        return
    free = free_processors()
    if free is not None and free < torch.get_num_threads():
        torch.set_num_threads(free)
        print(f"the machine is busy: using {free} of {os.cpu_count()} processors", file=sys.stderr)


def fit_threads(work: Callable[[], object]) -> None:
    """Let torch work on as many threads as make some work fastest: those that it has, or half of them, or a half again.

    Threads wait for one another at every operation, which takes longer than small operations do. Results change by rounding
    only. A number of threads that was asked for, by OMP_NUM_THREADS, stays.

    Arguments:
        work: a piece of what is going to be done, as short as it may be.
    """
    number = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ or number == 1:
        return
    work()  # the first call of all does what is done once
    least = _seconds(work)
    while number > 1:
        torch.set_num_threads(number // 2)
        if (took := _seconds(work)) > GAIN * least:
            break
        number, least = number // 2, took
    torch.set_num_threads(number)


def _seconds(work: Callable[[], object]) -> float:
    """What it takes, at best: others may come between."""
    began, least = time.perf_counter(), float("inf")
    while time.perf_counter() - began < TRIAL_SECONDS:
        start = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - start)
    return least


def _busy_ticks() -> int | None:
    """Clock ticks that all processors together have worked since the system's start."""
    try:
        user, nice, system = map(int, Path("/proc/stat").read_text().split(maxsplit=4)[1:4])
    except (OSError, ValueError):
        return None
    return user + nice + system
