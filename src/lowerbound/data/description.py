"""What was understood of data, in a few lines, before anything is learned of them."""

from collections import Counter

import numpy as np

from lowerbound.data.channels import ByChannel
from lowerbound.data.dataset import Dataset
from lowerbound.data.fitting import SPLITS
from lowerbound.data.marginals import Marginals
from lowerbound.data.spec import DataSpec
from lowerbound.data.tables.encoding import Columns
from lowerbound.words.counts import counted
from lowerbound.words.printable import printable

_MOST_SHOWN, _SOME_SHOWN = 50, 20
"""Columns of a table up to which each is described, and how many of more are."""
_WIDEST = 40
"""Characters of a name that is aligned with others."""
_LEVELS_ADVICE = (
    "levels    all values are multiples of one unit: stored as integers (images as uint8) they are levels, whose networks "
    "know more of them, and which every model takes"
)


def describe(dataset: Dataset) -> str:
    """What was understood of the data, in a few lines."""
    spec = dataset.spec
    lines = [
        f"data      {printable(spec.name)}: {counted(len(dataset.examples), 'example')} of shape {spec.raw_shape} "
        f"(read as {spec.layout})",
        *([f"layout    {dataset.layout_hint}"] if dataset.layout_hint else []),
        *([f"fields    {spec.axes}"] if spec.axes is not None else []),
        *dataset.notes,
        f"values    {spec.encoding.description}",
        *_column_lines(dataset),
        *([_LEVELS_ADVICE] if _could_be_levels(spec) else []),
        *([f"missing   {_missing(dataset)}"] if spec.has_missing else []),
        "splits    " + ", ".join(f"{len(dataset.indices(split)):,} {split}" for split in SPLITS),
    ]
    if dataset.labels is not None:
        names = ", ".join(map(printable, spec.class_names[:12])) + (", ..." if len(spec.class_names) > 12 else "")
        lines.append(f"classes   {len(spec.class_names)}: {names}")
    if dataset.conditions is not None and spec.series is None:
        lines.append(f"condition vectors of {counted(dataset.conditions.shape[1], 'feature')}, normalised per feature")
    return "\n".join(lines)


def _could_be_levels(spec: DataSpec) -> bool:
    """Whether these are images, signals or volumes of floats that integers would do for."""
    is_spatial = len(spec.shape) > 1 and spec.series is None
    return is_spatial and isinstance(spec.encoding, Marginals) and spec.encoding.is_of_levels


def _column_lines(dataset: Dataset) -> list[str]:
    """A line for each column of a table, or for each channel of an array that has a code of its own."""
    encoding = dataset.spec.encoding
    if not isinstance(encoding, ByChannel):
        return []
    num = len(encoding.codes) if len(encoding.codes) <= _MOST_SHOWN else _SOME_SHOWN
    what, rows = _columns(dataset, num) if isinstance(encoding, Columns) else _channels(dataset, num)
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    widths = [width if name == "encoding" else min(_WIDEST, width) for name, width in zip(rows[0], widths, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    if others := Counter(channel.kind for channel in encoding.channels[num:]):
        of_kinds = ", ".join(f"{number:,} {kind}" for kind, number in others.items())
        lines.append(f"... and {of_kinds} {what} more")
    return [f"  {line.rstrip()}" for line in lines]


def _columns(dataset: Dataset, num: int) -> tuple[str, list[tuple[str, ...]]]:
    """Of the first columns name, kind, encoding and the share that is missing, below what these are."""
    encoding = dataset.spec.encoding
    rows: list[tuple[str, ...]] = [("column", "kind", "encoding", "missing")]
    assert isinstance(encoding, Columns)
    assert isinstance(dataset.examples, np.ndarray)
    missing = np.isnan(dataset.examples[:, :num]).mean(0)
    for column, code, share in zip(encoding.columns[:num], encoding.codes, missing, strict=False):
        kind = f"{column.kind} (zone {printable(column.zone)})" if column.zone else column.kind
        rows.append((printable(column.name), kind, code.text(column), f"{share:.1%}" if share else "-"))
    return "columns", rows


def _channels(dataset: Dataset, num: int) -> tuple[str, list[tuple[str, ...]]]:
    """Of the first channels name and encoding, below what these are."""
    encoding = dataset.spec.encoding
    assert isinstance(encoding, ByChannel)
    each = zip(dataset.spec.channel_names[:num], encoding.codes, encoding.channels, strict=False)
    return "channels", [
        ("channel", "encoding"),
        *((printable(name), code.text(channel)) for name, code, channel in each),
    ]


def _missing(dataset: Dataset) -> str:
    """How many entries are missing, and what a model makes of them."""
    num_observed, num_dims = dataset.num_observed, dataset.spec.num_dims
    num_complete = int((num_observed == num_dims).sum())
    return (
        f"{1 - num_observed.mean() / num_dims:.1%} of the entries; {num_complete:,} of "
        f"{counted(len(num_observed), 'example')} are complete: the model learns from the entries that are there, and sees "
        "which they are"
    )
