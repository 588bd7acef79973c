"""`lowerbound report RUN`: one self-contained HTML file."""

import sys
from dataclasses import dataclass
from typing import Any

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import RunPath, parse
from lowerbound.cli.progress import say
from lowerbound.report.page import page_path, read_own, write_page
from lowerbound.run import open_run


@dataclass(frozen=True)
class Options:
    """Write RUN/report.html from the run's evaluation: figures, findings, pictures and settings in one file.

    Example: lowerbound report runs/digits
    """

    run: RunPath
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "report", arguments)
    run = open_run(options.run)
    for warning in write_page(run, read_own(run)):
        say(f"warning: {warning}", sys.stderr)
    print(page_path(run))
    return {"page": page_path(run)}
