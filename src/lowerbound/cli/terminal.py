"""A terminal or pipe that can't show every character gets another one in its place, instead of an error in the middle."""

import io
import sys


def tolerate_poor_terminals() -> None:
    """Let standard output and error replace what their encoding lacks, such as the sign in 1.2 ± 0.1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and (stream.encoding or "").lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="replace")
