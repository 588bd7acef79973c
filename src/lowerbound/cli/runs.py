"""`lowerbound runs FOLDER`: the runs below a folder, and how each stands."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import tyro

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import parse
from lowerbound.run.overview import Overview, overviews
from lowerbound.words.printable import printable
from lowerbound.words.rounding import figure_text

TITLES = ("run", "model", "data", "state", "step", "minutes", "held-out bits/dim", "MB", "changed")


@dataclass(frozen=True)
class Options:
    """List the runs in a folder and below it, the one that was changed last first, with how far each has come.

    A run is training, complete (with the reason, if it has stopped early), interrupted (repeat its command to go on), or
    damaged, with the reason.

    Example: lowerbound runs
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER", help="The folder to look in.")] = (
        Path("runs")
    )
    json: JsonOption = False


def main(arguments: list[str]) -> list[Overview]:
    """Run the verb."""
    options = parse(Options, "runs", arguments)
    runs = overviews(options.folder)
    if not runs:
        print(f"no runs in {options.folder}")
        return runs
    rows = [TITLES, *map(_row, runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for run in runs:
        if run.reason:
            print(f"{printable(run.path)}: {printable(run.reason)}")
    return runs


def _row(run: Overview) -> tuple[str, ...]:
    """A run's line, as texts."""
    bits = "" if run.held_out_bits_per_dim is None else figure_text(run.held_out_bits_per_dim, run.standard_error)
    changed = f"{datetime.fromtimestamp(run.changed):%Y-%m-%d %H:%M}" if run.changed else ""
    step = "" if run.step is None else f"{run.step:,}"
    minutes = "" if run.minutes is None else f"{run.minutes:.1f}"
    texts = (run.path, run.model, run.data, run.state, step, minutes, bits, f"{run.bytes / 1e6:.1f}", changed)
    return tuple(map(printable, texts))
