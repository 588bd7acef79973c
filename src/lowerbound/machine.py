"""The processor that everything runs on: what it is called, and which of the units that decide speed it has."""

import platform
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
    name, flags = _cpuinfo()
    if not flags:
        return name
    units = [unit for flag, unit in UNITS.items() if flag in flags]
    if not any("bfloat16" in unit for unit in units):
        units.append("no bfloat16")
    return f"{name} ({', '.join(units)})"


def _cpuinfo() -> tuple[str, frozenset[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name") or platform.machine()
    return name, frozenset(fields.get("flags", fields.get("Features", "")).split())
