"""What a classifier sees in the samples, told."""

import math

from lowerbound.evaluate.classes import Classes
from lowerbound.report.finding import HINT, SURE, Finding, Severity
from lowerbound.report.told import Told

UNCLEAR = 0.9
"""The samples' confidence, relative to that of held-out examples, below which many belong to no class."""
MANY = 0.2
"""The share of samples in the wrong class from which the classes are a serious fault."""


def tell_classes(found: Classes) -> Told:
    """One sentence on confidence and one on the classes."""
    return Told(findings=(_confidence(found), _frequencies(found)))


def _confidence(found: Classes) -> Finding:
    figures = (
        f"the classifier's mean confidence on samples is {found.ratio:.3f} ± {found.ratio_error:.3f} of that on "
        f"held-out data ({found.confidence_samples:.3f} against {found.confidence_held_out:.3f}, accuracy "
        f"{found.accuracy:.1%})"
    )
    if found.ratio + SURE * found.ratio_error < UNCLEAR:
        return Finding(Severity.SERIOUS, f"Many samples belong to no class clearly: {figures}.")
    if found.ratio + SURE * found.ratio_error < 1:
        return Finding(Severity.CHANGE, f"Samples are less recognisable than held-out data: {figures}.")
    return Finding(Severity.FINE, f"Samples are as recognisable as held-out data, as far as can be told: {figures}.")


def _frequencies(found: Classes) -> Finding:
    low, high = min(found.shares_samples), max(found.shares_samples)
    figures = (
        f"the {len(found.names)} classes have between {low:.1%} ({found.names[found.shares_samples.index(low)]}) and "
        f"{high:.1%} ({found.names[found.shares_samples.index(high)]}) of {found.num_samples:,} samples, in the training "
        f"data between {min(found.shares_train):.1%} and {max(found.shares_train):.1%}; by chance alone they would be as "
        f"far apart or farther with probability {found.p:.2g}"
    )
    if found.p > math.erfc(HINT / math.sqrt(2)):
        return Finding(Severity.FINE, f"Classes are as frequent as chance allows: {figures}.")
    rows = zip(found.names, found.shares_train, found.shares_samples, strict=True)
    worst = sorted(rows, key=lambda row: -abs(row[2] - row[1]))[:3]
    told = ", ".join(f"{name} {share:.1%} instead of {real:.1%}" for name, real, share in worst)
    if found.p > math.erfc(SURE / math.sqrt(2)):
        return Finding(Severity.CHANGE, f"Classes are perhaps not as frequent as in the data ({told}): {figures}.")
    if found.total_variation <= 1 - found.accuracy:
        return Finding(Severity.OPEN, f"Classes differ by no more than the classifier errs ({told}): {figures}.")
    lost = any(share < real / 2 and real * found.num_samples > SURE**2 for _, real, share in worst)
    if lost or found.total_variation > MANY:
        return Finding(Severity.SERIOUS, f"Collapse or imbalance of classes ({told}): {figures}.")
    return Finding(Severity.CHANGE, f"Classes are not as frequent as in the data ({told}): {figures}.")
