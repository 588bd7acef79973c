"""Whether a density is one: any log density, ours or another's, asked all that can be asked of it."""

from lowerbound.auditing.audit import Audit, audit
from lowerbound.auditing.check import Check, Verdict
from lowerbound.auditing.reweight import Reweighted, reweight
from lowerbound.auditing.subject import Subject, as_subject
from lowerbound.tails import pareto_shape

__all__ = ["Audit", "Check", "Reweighted", "Subject", "Verdict", "as_subject", "audit", "pareto_shape", "reweight"]
