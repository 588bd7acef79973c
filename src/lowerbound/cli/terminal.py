"""The streams that a person reads: lines wrapped to a terminal's width, and a quiet end when nobody reads on."""

import os
import re
import shutil
import signal
import sys
import textwrap
from typing import Any, TextIO

NARROWEST = 30
"""Columns that the last part of a line needs to be wrapped beneath itself."""
_VERBATIM = re.compile(r'\s*(["{}\[\]]|next: )')
"""How lines begin that are to be copied or read by a program: JSON, and the command that comes next."""


def wrapped(line: str, width: int) -> str:
    """A line broken at spaces where it is wider than a terminal, its later lines beneath the beginning of its last column.

    Arguments:
        line: a sentence, with a name before it, or a row of columns, which two spaces or more divide.
        width: of the terminal, in characters.
    """
    if len(line) <= width or _VERBATIM.match(line) or not line.isprintable():
        return line
    starts = [match.end() for match in re.finditer(r"(?:^|(?<=\S)) {2,}|^- ", line) if match.end() <= width - NARROWEST]
    indent = starts[-1] if starts else 0
    parts = textwrap.wrap(line[indent:], width - indent, break_long_words=False, break_on_hyphens=False)
    return line[:indent] + f"\n{' ' * indent}".join(parts)


class Fitting:
    """A terminal's stream that wraps what is written to it.

    Arguments:
        stream: of a terminal.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write whole lines that fit; a progress bar, which goes back to the beginning of its own, as it is."""
        if "\r" in text:
            return self._stream.write(text)
        width = shutil.get_terminal_size().columns
        return self._stream.write("\n".join(wrapped(line, width) for line in text.split("\n")))


def fit_terminals() -> None:
    """Wrap what is printed from now on where it goes to a terminal; on a pipe a line stays one."""
    if sys.stdout.isatty():
        sys.stdout = Fitting(sys.stdout)
    if sys.stderr.isatty():
        sys.stderr = Fitting(sys.stderr)


def leave_quietly() -> int:
    """The exit status of a program whose output nobody reads on, as after `| head`; what is left of it goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return 128 + signal.SIGPIPE
