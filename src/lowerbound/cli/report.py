"""`lowerbound report RUN`: one self-contained HTML file."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from lowerbound.cli.options import parse
from lowerbound.evaluate.evaluation import read_evaluation
from lowerbound.evaluate.page import write_page
from lowerbound.evaluate.relative import read_relative_evaluation, write_relative_page
from lowerbound.run import RelativeRun, open_any


@dataclass(frozen=True)
class Options:
    """Write RUN/report.html from the run's evaluation: figures, findings, pictures and settings in one file.

    Example: lowerbound report runs/digits
    """

    run: tyro.conf.Positional[Path]
    """The run folder, evaluated before."""


def run(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "report", arguments)
    model = open_any(options.run)
    if isinstance(model, RelativeRun):
        print(write_relative_page(model, read_relative_evaluation(model)))
    else:
        print(write_page(model, read_evaluation(model)))
