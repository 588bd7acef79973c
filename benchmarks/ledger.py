"""What long benchmarks share: time that is a processor's, and a file of figures by which a repeated command goes on."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch

from lowerbound.records import Measured

DONE = "done"
"""The last name of a line that says that nothing of its kind is lacking."""


@contextmanager
def processor_time() -> Iterator[None]:
    """While entered, all that this process times, its training's minutes too, is the processor time of one thread: so many
    minutes are then as many steps beside other work as alone."""
    torch.set_num_threads(1)
    with mock.patch.multiple(time, perf_counter=time.process_time, monotonic=time.process_time):
        yield


class Ledger:
    """Figures by the names of what they are of, one a line of JSON, written as soon as they are known.

    Arguments:
        folder: of figures.jsonl; what is there is read.
        settings: by which they are made. A folder whose figures were made by others ends the program.
    """

    def __init__(self, folder: Path, **settings: object):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "figures.jsonl"
        self.figures: dict[tuple[str, ...], Measured] = {}
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        if not lines:
            self._write(settings)
        elif (theirs := json.loads(lines[0])) != json.loads(json.dumps(settings)):
            raise SystemExit(f"{self._path} has figures made with {theirs}, not with {settings}: choose another folder")
        for line in lines[1:]:
            *names, value, error = json.loads(line)
            self.figures[tuple(names)] = Measured(value, error)

    def lacks(self, *names: str) -> bool:
        """Whether no figure's names begin so."""
        return all(key[: len(names)] != names for key in self.figures)

    def add(self, names: Iterable[str], figure: Measured) -> None:
        """Write a figure down."""
        key = tuple(names)
        self.figures[key] = figure
        self._write([*key, *figure])
        print(f"  {', '.join(key)}: {figure}", flush=True)

    def _write(self, line: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
