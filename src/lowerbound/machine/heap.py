"""Memory that was freed stays with a program that will need it again."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3), in <malloc.h>."""
THRESHOLDS = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}
"""glibc's variables for the same."""
KEPT = 2**28
"""Bytes of free memory that stay."""
LARGEST = 2**25
"""Bytes from which on a tensor has memory of its own where there is no room among what is kept: glibc's own limit."""


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, up to a quarter of a GiB, in the place of giving it back at once.

    Each call of a network frees its intermediate results, and the next one needs as much again: glibc, whose own rule is a
    few times the largest of them, gives it back and asks for it anew, page by page, each of which the system fills with
    zeros. A sixth of an evaluation's time and a tenth of sampling's went into that (benchmarks/heap.py). It holds for the
    whole process, so a program asks for it and no library does. Where the environment has thresholds, and where the C
    library is not glibc, all stays as it is.
    """
    if not THRESHOLDS.isdisjoint(os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, LARGEST)
