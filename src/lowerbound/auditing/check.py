"""What a check says."""

import math
from dataclasses import dataclass
from typing import Literal

from lowerbound.records import Unsure

Verdict = Literal["pass", "fail", "can't tell"]


@dataclass(frozen=True)
class Check:
    """One question asked of a density, and its answer.

    Arguments:
        name: of the question, in a word or two.
        claim: what holds of a right density.
        verdict: whether it holds.
        finding: what was seen, with its error, in words.
        remedy: of a failure what it points to, of an open question what an answer would take; empty otherwise.
        statistic: the number that was judged, NaN where there is none.
        error: its standard error or tolerance, NaN where there is none.
    """

    name: str
    claim: str
    verdict: Verdict
    finding: str
    remedy: str = ""
    statistic: Unsure = math.nan
    error: Unsure = math.nan


@dataclass(frozen=True)
class Untold:
    """Why checks could not be made.

    Arguments:
        finding: what was seen instead.
        remedy: what an answer would take.
    """

    finding: str
    remedy: str

    def of(self, name: str, claim: str) -> Check:
        """One of the checks."""
        return Check(name, claim, "can't tell", self.finding, self.remedy)
