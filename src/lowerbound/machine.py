"""The processor that everything runs on: what it is called, which of the units that decide speed it has, how busy it is."""

import os
import platform
import time
from functools import cache
from pathlib import Path

UNITS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "bfloat16",
    "amx_bf16": "bfloat16 tiles",
    "bf16": "bfloat16",
}
"""Flags of /proc/cpuinfo, and what they stand for."""


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


def _busy_ticks() -> int | None:
    """Clock ticks that all processors together have worked since the system's start."""
    try:
        user, nice, system = map(int, Path("/proc/stat").read_text().split(maxsplit=4)[1:4])
    except (OSError, ValueError):
        return None
    return user + nice + system
