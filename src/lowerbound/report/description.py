"""What figures say to people: tables, findings in a sentence each, and how much each of these matters.

A verdict is decided by figures and their errors alone, by how many standard errors z the worse side is worse: beyond `SURE`
it is a fact, beyond `HINT` a suspicion, and below that the two are not told apart, which is not to say that they are alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial, singledispatch
from typing import Any

from lowerbound.files.records import Measured
from lowerbound.report.html import Table

HINT, SURE = 2.0, 3.0
BITS = "Bits per dimension"
"""The caption of the tables of likelihoods, which a report puts together."""
BITS_HEADER = ("", "bits/dim", "what it is")


class Severity(IntEnum):
    """How much a finding matters: what it says is to be mended first, is worth a change, is open, or is fine."""

    FINE = 0
    OPEN = 1
    CHANGE = 2
    SERIOUS = 3

    @property
    def heading(self) -> str:
        """Of the findings that matter so much."""
        return ("Fine", "Open", "Worth a change", "To be mended first")[self]

    @classmethod
    def of(cls, z: float) -> "Severity":
        """Of a figure that is worse than it should be by z standard errors."""
        if z > SURE:
            return cls.SERIOUS
        return cls.CHANGE if z > HINT else cls.FINE


@dataclass(frozen=True)
class Finding:
    """A sentence that begins with its verdict and a colon, and how much it matters."""

    severity: Severity
    text: str

    def __str__(self) -> str:
        return self.text


fine = partial(Finding, Severity.FINE)
undecided = partial(Finding, Severity.OPEN)
change = partial(Finding, Severity.CHANGE)
serious = partial(Finding, Severity.SERIOUS)


@dataclass(frozen=True)
class Description:
    """The figures of a part as tables, what they say in sentences, and a line about them, or nothing."""

    tables: tuple[Table, ...] = ()
    findings: tuple[Finding, ...] = ()
    remark: str = ""


def in_errors(difference: Measured) -> float:
    """A difference in units of its standard error; infinite of one that is known, and 0 where the error is not known."""
    if math.isnan(difference.error):
        return 0.0
    if difference.error > 0:
        return difference.value / difference.error
    return math.copysign(math.inf, difference.value) if difference.value else 0.0


def judged(z: float, sure: str, hint: str, fine: str) -> Finding:
    """What is said of a figure that is worse than it should be by z standard errors."""
    severity = Severity.of(z)
    return Finding(severity, {Severity.SERIOUS: sure, Severity.CHANGE: hint}.get(severity, fine))


@singledispatch
def tell(figures: Any) -> Description:
    """What figures say: nothing, but for those kinds that a module of this package registers a function for."""
    return Description()


def bits_table(rows: Sequence[tuple[str, Measured, str]], main: int | None = None) -> Table:
    """A table of likelihoods: name, bits/dim with standard error, what the number is."""
    return Table(BITS, BITS_HEADER, tuple((name, str(bits), kind) for name, bits, kind in rows), main)
