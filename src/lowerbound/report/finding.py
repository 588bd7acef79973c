"""What figures say, in a sentence, and how much it matters.

A verdict is decided by figures and their errors alone, by how many standard errors z the worse side is worse: beyond `SURE`
it is a fact, beyond `HINT` a suspicion, and below that the two are not told apart, which is not to say that they are alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

HINT, SURE = 2.0, 3.0


class Severity(IntEnum):
    """How much a finding matters: what it says is to be mended first, is worth a change, is open, or is fine."""

    FINE = 0
    OPEN = 1
    CHANGE = 2
    SERIOUS = 3

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


def most_serious_first(findings: Iterable[Finding]) -> list[Finding]:
    """In the order of their severity; those of one severity stay in order."""
    return sorted(findings, key=lambda finding: -finding.severity)
