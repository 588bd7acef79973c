"""`lowerbound merge TABLE`: the parts of a table that `score --shard` has made, joined."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import parse
from lowerbound.cli.score import check_finite, figures_of
from lowerbound.files.arrow import write_table
from lowerbound.files.shards import joined_parts
from lowerbound.files.tables import check_table
from lowerbound.words.counts import counted


@dataclass(frozen=True)
class Options:
    """Join the parts of a table that `score --shard` has made, in order, into the table that it makes without parts.

    Parts that are missing, or are of other weights, data or settings, are named, and nothing is written. The parts stay.

    Example: lowerbound merge scores.parquet
    """

    table: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(metavar="TABLE", help="The file that the parts were to be of: the --out of `score`."),
    ]
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "merge", arguments)
    check_table(options.table)
    table, metadata, parts = joined_parts(options.table)
    if "calls" in table.column_names:
        metadata["calls"] = f"{np.mean(table['calls'].to_numpy()):.0f}"
    write_table(options.table, table, metadata)
    check_finite(table, options.table)
    figures = figures_of(table, options.table)
    print(f"{figures['bits_per_dim']} bits/dim, {table['kind'][0]} per example")
    print(f"{counted(len(table), 'score')} of {counted(len(parts), 'part')}: {options.table}")
    return {**figures, "kind": table["kind"][0].as_py()}
