"""`lowerbound explore`: a page to draw a density in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import parse
from lowerbound.data import open_dataset
from lowerbound.errors import InputError
from lowerbound.explore import page
from lowerbound.files.whole import check_folder, write_file
from lowerbound.settings import Everyday


@dataclass(frozen=True)
class Options:
    """Write a page, a single file that needs no server, in which you draw a density and watch the chain's bound, in its
    three terms, close on the exact log p, and samples move from noise to the data.

    Example: lowerbound explore moons -o explore.html
    """

    data: Annotated[Everyday[tyro.conf.Positional[str | None]], tyro.conf.arg(metavar="DATA")] = None
    """Data of two columns, whose points the page starts with; two moons if not given."""
    out: Annotated[Everyday[Path], tyro.conf.arg(aliases=["-o"])] = Path("explore.html")
    """The .html file to write."""
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "explore", arguments)
    if options.out.suffix not in (".html", ".htm"):
        raise InputError(f"--out {options.out}: give a name that ends in .html")
    check_folder(options.out)
    points = None
    if options.data is not None:
        dataset = open_dataset(options.data)
        if dataset.shape != (2,):
            raise InputError(
                f"{options.data} has examples of the shape {dataset.shape}: the page is for points of two columns"
            )
        points = dataset.examples[dataset.train].astype(float)
    write_file(options.out, page(points).encode())
    print(options.out)
    return {"page": options.out}
