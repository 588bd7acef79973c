"""The distances of samples to the training data and to each other, told."""

import math
from dataclasses import replace

from lowerbound.evaluate.copies import CopyAudit, Distances, Neighbours, Ranks
from lowerbound.files.records import Measured
from lowerbound.report.description import SURE, Description, Finding, change, fine, judged, serious, tell
from lowerbound.report.html import Table

COLLAPSED = 0.8
"""The distance of samples to each other, over that of held-out examples, below which they have collapsed."""


def tell_copies(audit: CopyAudit) -> Description:
    """The audit, and one sentence on distance and one on copies."""
    rows = (
        ("median distance to the nearest training example", _median(audit.samples), _median(audit.held_out)),
        ("probability to be nearer than a held-out example", ranks_text(audit.nearer), "0.5"),
        (f"the same relative to the {_ordinal(audit.num_neighbours)} nearest", ranks_text(audit.relative), "0.5"),
        (
            f"suspects at a false-positive rate of {audit.false_positive_rate:.2g}",
            f"{len(audit.suspects)} (p = {audit.suspects_p:.2g})",
            f"{audit.false_positive_rate * audit.num_samples:.1f} expected",
        ),
        ("equal to a training example", str(audit.num_identical), str(audit.num_identical_held_out)),
    )
    header = ("", f"{audit.num_samples:,} samples", f"{audit.num_held_out:,} held-out examples")
    return Description((Table("Distances", header, rows),), (_distance(audit), _copies(audit)))


@tell.register
def tell_neighbours(neighbours: Neighbours) -> Description:
    """The audit, with variety beside it."""
    copies = tell_copies(neighbours.copies)
    (table,) = copies.tables
    sides = (_median(side) for side in (neighbours.among_samples, neighbours.among_held_out))
    row = ("median distance to the nearest other one of their kind", *sides)
    return Description((replace(table, rows=(*table.rows, row)),), (*copies.findings, _variety(neighbours)))


def has_copies(audit: CopyAudit) -> bool:
    """Whether more samples stand upon training examples than held-out data do, beyond three standard deviations."""
    expected = audit.num_identical_held_out / audit.num_held_out * audit.num_samples
    many_identical = audit.num_identical > expected + SURE * max(expected, 1.0) ** 0.5
    return many_identical or audit.relative.z > SURE or audit.suspects_p < math.erfc(SURE / math.sqrt(2)) / 2


def ranks_text(ranks: Ranks) -> str:
    """The area with its error, and how surely it is not a half."""
    return f"{Measured(ranks.auc, ranks.error)} (z = {ranks.z:.1f}, p = {ranks.p:.2g})"


def _median(distances: Distances) -> str:
    return str(Measured(distances.median, distances.median_error))


def _distance(audit: CopyAudit) -> Finding:
    figures = (
        f"the median distance of a sample to the nearest training example is {_median(audit.samples)}, that of a held-out "
        f"example {_median(audit.held_out)}; the sample is the nearer of two with probability {ranks_text(audit.nearer)}"
    )
    side = "farther from" if audit.nearer.z < 0 else "nearer to"
    return judged(
        abs(audit.nearer.z),
        f"Samples are {side} the training data than held-out data: {figures}.",
        f"Samples are perhaps {side} the training data than held-out data: {figures}.",
        f"Not told apart from held-out data by the distance to training data: {figures}.",
    )


def _copies(audit: CopyAudit) -> Finding:
    figures = (
        f"relative to its {_ordinal(audit.num_neighbours)} nearest training example a sample is nearer to its nearest "
        f"one than a held-out example with probability {ranks_text(audit.relative)}; {len(audit.suspects)} of "
        f"{audit.num_samples} samples are suspects where {audit.false_positive_rate * audit.num_samples:.1f} would be by "
        f"chance (p = {audit.suspects_p:.2g}); {audit.num_identical} equal a training example, "
        f"{audit.num_identical_held_out} of {audit.num_held_out} held-out examples do"
    )
    if has_copies(audit):
        first = ", ".join(f"{each.sample} of training example {each.example}" for each in audit.suspects[:3])
        return serious(f"Copies{f' (samples {first})' if first else ''}: {figures}.")
    if audit.nearer.z > SURE:
        return change(f"No copies, but too near to the training data by varying less than they do: {figures}.")
    return fine(f"No sign of copies: {figures}.")


def _variety(neighbours: Neighbours) -> Finding:
    samples, held_out = neighbours.among_samples, neighbours.among_held_out
    figures = (
        f"the median distance of a sample to the nearest other sample is {_median(samples)}, that of as many held-out "
        f"examples {_median(held_out)}"
    )
    if held_out.median - samples.median > SURE * math.hypot(held_out.median_error, samples.median_error):
        if samples.median < COLLAPSED * held_out.median:
            return serious(f"Collapse: {figures}.")
        return change(f"Samples have less variety than held-out data: {figures}.")
    return fine(f"No sign of collapse: {figures}.")


def _ordinal(num: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(num % 10, "th")
    return f"{num}{'th' if num % 100 in (11, 12, 13) else last}"
