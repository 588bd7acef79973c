"""Whether a density is one: any log density, ours or another's, asked all that can be asked of it."""

from lowerbound.auditing.audit import Audit, audit
from lowerbound.auditing.check import Check, Verdict
from lowerbound.auditing.subject import Subject, as_subject
from lowerbound.auditing.tails import pareto_shape

__all__ = ["Audit", "Check", "Subject", "Verdict", "as_subject", "audit", "pareto_shape"]
