"""An audit, told on one page: the verdict, what did not pass, all checks as a table, and what each word means."""

import math

from lowerbound.auditing import Audit, Check
from lowerbound.files.records import Unsure
from lowerbound.report.html import Findings, Report, Table, html
from lowerbound.words.counts import counted

HEADER = ("check", "what must hold", "verdict", "statistic", "error or limit", "what was seen, and what it points to")
VERDICTS = {"fail": "it is no right density", "pass": "nothing was found wrong", "can't tell": "no check could be made"}
CHECKS = {
    "repeats": "The same points asked twice.",
    "batches": "The same points asked alone, together and in another order.",
    "refinement": "A few points asked again at a tenth of the tolerance and in double precision.",
    "gradient": "The derivative of log p by automatic differentiation, beside differences of log p.",
    "score": "The derivative of log p as the model states it, beside differences of log p.",
    "normalisation by quadrature": "The integral of the density, by a grid in one or two dimensions.",
    "normalisation by importance sampling": "The integral of the density, as the mean of p / q over draws of a proposal q.",
    "normalisation by summing": "The masses of all points that there can be, added up.",
    "never above the proposal": "The mean of log p over draws of a proposal q, beside that of log q.",
    "bound below the density": "The mean of the bound over samples, beside that of log p.",
    "samples against density": "Samples beside weighted draws of the proposal, along directions and by log p.",
    "coverage of highest-density regions": "The share of samples in the regions that hold 50, 90 and 99 % of the mass.",
    "entropy": "The mean of log p over samples, beside that over weighted draws of the proposal.",
    "tails of the draws": "Whether the mean of the draws that make a figure has an error.",
    "never above the truth": "The mean of log p over draws of the data's own density, beside that density's.",
    "data of levels": "The share of values that occur more than once in a column.",
    "test data apart from training data": "Test points that are in the training data to the last digit.",
}
"""What each check does, by its name."""
TERMS = {
    "k-hat": "The shape of the tail of the weights: above 0.7 their mean has no error that could be stated.",
    "effective sample size": "How many draws of the density itself the weighted draws are worth.",
    "can't tell": "Too little could be seen: no failure, and what an answer would take stands beside it.",
}
"""Of their figures."""


def audit_page(audit: Audit) -> str:
    """The page of an audit."""
    table = Table("All checks, in the order in which they were made", HEADER, tuple(map(_row, audit.checks)))
    text = "\n".join(cell for row in table.rows for cell in row)
    words = {check.name: CHECKS[check.name] for check in audit.checks if check.name in CHECKS}
    words |= {word: meaning for word, meaning in TERMS.items() if word in text}
    report = Report(
        title=f"Audit of {audit.name}",
        verdict=f"{audit.verdict.capitalize()}: {_verdict(audit)}.",
        paragraphs=(
            f"The log density of {counted(audit.num_dims, 'dimension')}.",
            *([f"{audit.note[0].upper()}{audit.note[1:]}."] if audit.note else []),
        ),
        findings=tuple(_findings(audit)),
        tables=(table,),
        glossary=tuple(words.items()),
    )
    return html(report)


def _verdict(audit: Audit) -> str:
    """What the verdict is, and of how many checks."""
    passed, failed, untold = (
        sum(check.verdict == kind for check in audit.checks) for kind in ("pass", "fail", "can't tell")
    )
    counts = f"{passed} passed, {failed} failed, {untold} cannot be told"
    return f"{VERDICTS[audit.verdict]}; of {counted(len(audit.checks), 'check')} {counts}"


def _findings(audit: Audit) -> list[Findings]:
    """What did not pass, the failures first."""
    kinds = (("fail", "Failed", "serious"), ("can't tell", "Not told", "open"))
    groups = []
    for verdict, heading, style in kinds:
        checks = [check for check in audit.checks if check.verdict == verdict]
        groups.append(Findings(heading, tuple(f"{check.name}: {_seen(check)}" for check in checks), style))
    return [group for group in groups if group.sentences]


def _row(check: Check) -> tuple[str, ...]:
    return check.name, check.claim, check.verdict, _figure(check.statistic), _figure(check.error), _seen(check)


def _seen(check: Check) -> str:
    return f"{check.finding}; {check.remedy}" if check.remedy else check.finding


def _figure(value: Unsure) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
