"""Tables for a console."""

from collections.abc import Sequence


def aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines: the first and the last column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    inner = range(1, len(widths) - 1)
    return [
        "  ".join([row[0].ljust(widths[0]), *(row[c].rjust(widths[c]) for c in inner), row[-1]]).rstrip()
        for row in table
    ]
