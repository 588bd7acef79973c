"""Samples of vectors column by column, told."""

import math

from lowerbound.evaluate.columns import Columns
from lowerbound.files.records import Measured
from lowerbound.report.description import Description, Finding, judged, tell
from lowerbound.report.distances import ranks_text
from lowerbound.report.html import Table
from lowerbound.words.printable import printable

MOST_TOLD = 12
"""Columns that are listed, those beyond chance first."""


@tell.register
def tell_columns(columns: Columns) -> Description:
    """Each column's distance beside chance, what the columns have to do with each other, and a sentence on each."""
    gaps = [ours.value - theirs.value for ours, theirs in zip(columns.distances, columns.chance, strict=True)]
    listed = sorted(sorted(range(len(gaps)), key=lambda column: -gaps[column])[:MOST_TOLD])
    header = ("", f"{columns.num_samples:,} samples", "as many training rows")
    rows = [(_name(columns, column), str(columns.distances[column]), str(columns.chance[column])) for column in listed]
    caption = f"Wasserstein distance to {columns.num_test:,} test rows, in standard deviations of each column"
    whole = [("told from test rows by trees (area under the curve)", ranks_text(columns.told_apart), "0.5")]
    if columns.correlations is not None and columns.utility is not None:
        first = ("error of rank correlations", str(columns.correlations), str(columns.chance_correlations))
        whole = [
            first,
            ("error of predictions learned from samples, over that from data", str(columns.utility), "1"),
            *whole,
        ]
    tables = Table(caption, header, tuple(rows)), Table("Columns together", header, tuple(whole))
    return Description(tables, (_marginals(columns), _whole(columns)))


def _name(columns: Columns, column: int) -> str:
    return printable(columns.names[column])


def _marginals(columns: Columns) -> Finding:
    worst = columns.worst
    ours, theirs = columns.distances[worst], columns.chance[worst]
    gap = (ours - theirs).value / max(math.hypot(ours.error, theirs.error), 1e-12)
    figures = f"{_name(columns, worst)} is {ours} from the test rows, where training rows are {theirs}"
    return judged(
        gap - math.sqrt(2 * math.log(len(columns.distances))),  # the worst of many is far by chance
        f"Samples differ from the data in single columns: {figures}.",
        f"Samples perhaps differ from the data in single columns: {figures}.",
        f"No column seen whose samples differ from the data: {figures}.",
    )


def _whole(columns: Columns) -> Finding:
    area = columns.told_apart
    figures = f"the area under the curve of trees that try is {Measured(area.auc, area.error)}, where a half is chance"
    doubts = ("Told apart", "Perhaps told apart", "Not told apart")
    return judged(area.z, *(f"{doubt} from held-out rows: {figures}." for doubt in doubts))
