"""What a check says."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from lowerbound.files.records import Unsure

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
class Question:
    """What is asked of a density: `name` and `claim` as of the check that answers it."""

    name: str
    claim: str

    def judged(
        self, holds: bool | np.bool, finding: str, remedy: str, statistic: float = math.nan, error: float = math.nan
    ) -> Check:
        """Passed or failed; the remedy is of a failure alone."""
        verdict, remedy = ("pass", "") if holds else ("fail", remedy)
        return Check(self.name, self.claim, verdict, finding, remedy, float(statistic), float(error))

    def untold(self, finding: str, remedy: str = "", statistic: float = math.nan, error: float = math.nan) -> Check:
        """Neither of the two."""
        return Check(self.name, self.claim, "can't tell", finding, remedy, statistic, error)


class Untold(NamedTuple):
    """Why questions have no answer, as `Question.untold` takes it: what was seen instead, and what an answer would take."""

    finding: str
    remedy: str
