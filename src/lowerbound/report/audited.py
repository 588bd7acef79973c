"""The audit of a likelihood, told: what passed in one line, what failed in a sentence each."""

from lowerbound.evaluate.audited import Audited
from lowerbound.report.description import Description, fine, serious, tell, undecided

_VERDICT = {"fail": "The audit found it wrong", "can't tell": "The audit could not tell"}


@tell.register
def tell_audited(audited: Audited) -> Description:
    """A line of what passed, and a finding for each check that did not."""
    passed = [check for check in audited.checks if check.verdict == "pass"]
    findings = (
        [fine(f"The audit found nothing wrong: {'; '.join(check.finding for check in passed)}.")] if passed else []
    )
    for check in audited.checks:
        if check.verdict != "pass":
            finding = serious if check.verdict == "fail" else undecided
            findings.append(finding(f"{_VERDICT[check.verdict]} that {check.claim}: {check.finding}; {check.remedy}."))
    return Description(findings=tuple(findings))
