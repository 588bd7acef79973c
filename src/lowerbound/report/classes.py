"""What a classifier sees in the samples, told."""

import math

from lowerbound.evaluate.classes import Classes
from lowerbound.files.records import Measured
from lowerbound.report.description import HINT, SURE, Description, Finding, change, fine, serious, tell, undecided

UNCLEAR = 0.9
"""The samples' confidence, relative to that of held-out examples, below which many belong to no class."""
MANY = 0.2
"""The share of samples in the wrong class from which the classes are a serious fault."""


@tell.register
def tell_classes(classes: Classes) -> Description:
    """One sentence on confidence and one on the classes."""
    return Description(findings=(_confidence(classes), _frequencies(classes)))


def _confidence(classes: Classes) -> Finding:
    figures = (
        f"the classifier's mean confidence on samples is {Measured(classes.ratio, classes.ratio_error)} of that on "
        f"held-out data ({classes.confidence_samples:.3f} against {classes.confidence_held_out:.3f}, accuracy "
        f"{classes.accuracy:.1%})"
    )
    if classes.ratio + SURE * classes.ratio_error < UNCLEAR:
        return serious(f"Many samples belong to no class clearly: {figures}.")
    if classes.ratio + SURE * classes.ratio_error < 1:
        return change(f"Samples are less recognisable than held-out data: {figures}.")
    return fine(f"Samples are as recognisable as held-out data, as far as can be told: {figures}.")


def _frequencies(classes: Classes) -> Finding:
    names, shares, train = classes.names, classes.shares_samples, classes.shares_train
    low, high = min(shares), max(shares)
    figures = (
        f"the {len(names)} classes have between {low:.1%} ({names[shares.index(low)]}) and {high:.1%} "
        f"({names[shares.index(high)]}) of {classes.num_samples:,} samples, in the training data between {min(train):.1%} "
        f"and {max(train):.1%}; by chance alone they would be as far apart or farther with probability {classes.p:.2g}"
    )
    if classes.p > math.erfc(HINT / math.sqrt(2)):
        return fine(f"Classes are as frequent as chance allows: {figures}.")
    worst = sorted(zip(names, train, shares, strict=True), key=lambda row: -abs(row[2] - row[1]))[:3]
    worst_shares = ", ".join(f"{name} {share:.1%} instead of {real:.1%}" for name, real, share in worst)
    if classes.p > math.erfc(SURE / math.sqrt(2)):
        return change(f"Classes are perhaps not as frequent as in the data ({worst_shares}): {figures}.")
    if classes.total_variation <= 1 - classes.accuracy:
        return undecided(f"Classes differ by no more than the classifier errs ({worst_shares}): {figures}.")
    is_missing = any(share < real / 2 and real * classes.num_samples > SURE**2 for _, real, share in worst)
    if is_missing or classes.total_variation > MANY:
        return serious(f"Collapse or imbalance of classes ({worst_shares}): {figures}.")
    return change(f"Classes are not as frequent as in the data ({worst_shares}): {figures}.")
