"""What long benchmarks share: time that is a processor's, a file of figures by which a repeated command goes on, and how
figures of several seeds become a table that says which is the best."""

import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from lowerbound.files.records import Measured

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

    def pooled(self, name: str) -> dict[tuple[str, ...], "Pooled"]:
        """The figures of a set over its seeds, by the names behind these two."""
        found: dict[tuple[str, ...], list[Measured]] = {}
        for (first, _, *kind), figure in self.figures.items():
            if first == name and kind[-1] != DONE:
                found.setdefault(tuple(kind), []).append(figure)
        return {kind: Pooled.of(figures) for kind, figures in found.items()}

    def _write(self, line: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Pooled:
    """A figure over several seeds.

    Arguments:
        mean: over the seeds.
        over_rows: the standard error over the test rows of one seed, the mean of all.
        over_seeds: the standard error over the seeds; NaN of a single one.
        num_seeds: how many.
    """

    mean: float
    over_rows: float
    over_seeds: float
    num_seeds: int

    @classmethod
    def of(cls, figures: list[Measured]) -> "Pooled":
        """The figures of each seed as one."""
        values, errors = zip(*figures, strict=True)
        over_seeds = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), statistics.fmean(errors), over_seeds, len(values))

    @property
    def error(self) -> float:
        """The larger of the two."""
        return max(self.over_rows, 0.0 if math.isnan(self.over_seeds) else self.over_seeds)

    def __str__(self) -> str:
        seeds = "" if math.isnan(self.over_seeds) else f" ± {self.over_seeds:.3f}"
        return f"{self.mean:.3f} ± {self.over_rows:.3f}{seeds}"


def places(figures: dict[str, Pooled], lower_is_better: bool = False) -> dict[str, str]:
    """Of each figure whether it is the best, within one standard error of its own from it, or how far behind."""
    sign = -1 if lower_is_better else 1
    best = max(figure.mean * sign for figure in figures.values())
    gaps = {name: best - figure.mean * sign for name, figure in figures.items()}
    return {
        name: "best"
        if not gap
        else f"within one error, {gap:.3f}"
        if gap <= figures[name].error
        else f"{gap:.3f} behind"
        for name, gap in gaps.items()
    }


def print_table(title: str, columns: Iterable[str], rows: dict[str, list[str]]) -> None:
    """Print a table as a page of documentation has it."""
    header = [title, *columns]
    print("\n| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
