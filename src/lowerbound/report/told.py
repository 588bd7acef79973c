"""What figures say to people."""

from dataclasses import dataclass

from lowerbound.report.finding import Finding
from lowerbound.report.html import Table

BITS = "Bits per dimension"
"""The caption of the tables of likelihoods, which a report puts together."""
BITS_HEADER = ("", "bits/dim", "what it is")


@dataclass(frozen=True)
class Told:
    """The figures of a part as tables, what they say in sentences, and a line about them, or nothing."""

    tables: tuple[Table, ...] = ()
    findings: tuple[Finding, ...] = ()
    remark: str = ""


def bits_table(rows: list[tuple[str, str, str]], main: int | None = None) -> Table:
    """A table of likelihoods: name, bits/dim with standard error, what the number is."""
    return Table(BITS, BITS_HEADER, tuple(rows), main)
