"""`lowerbound studio [RUN or FOLDER]`: a page in the browser to look at runs and play with them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from lowerbound.cli.options import parse
from lowerbound.errors import InputError
from lowerbound.settings import Everyday
from lowerbound.web.limits import Limits
from lowerbound.web.serve import serve


@dataclass(frozen=True)
class Options:
    """Show a run, or all runs of a folder, as a page in the browser: draw samples, score and edit examples, learn.

    The page is served to this machine alone unless --host says otherwise, and loads nothing from elsewhere. Ctrl-C ends it.

    Example: lowerbound studio runs
    """

    runs: Annotated[Everyday[tyro.conf.Positional[Path]], tyro.conf.arg(metavar="RUN or FOLDER")] = Path("runs")
    """A run, or a folder of runs."""
    host: str = "127.0.0.1"
    """The address to listen at; 0.0.0.0 shows the page to everybody who can reach this machine."""
    port: Everyday[int | None] = None
    """The port; the first free one from 7860 on if not given."""
    limits: tyro.conf.OmitArgPrefixes[Limits] = field(default_factory=Limits)
    """Limits of a visitor's requests."""


def main(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "studio", arguments)
    if options.port is not None and not 0 <= options.port < 1 << 16:
        raise InputError(f"--port is {options.port}: it lies between 0, any that is free, and 65535")
    serve(options.runs, options.limits, options.host, options.port, lambda address: print(address, flush=True))
