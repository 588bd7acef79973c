"""The distances of samples to the training data and to each other, told."""

import math

from lowerbound.evaluate.copies import CopyAudit, Distances, Ranks
from lowerbound.evaluate.samples import Neighbours
from lowerbound.report.finding import SURE, Finding, Severity
from lowerbound.report.html import Table
from lowerbound.report.told import Told

COLLAPSED = 0.8
"""The distance of samples to each other, over that of held-out examples, below which they have collapsed."""


def tell_copies(found: CopyAudit) -> Told:
    """The audit, and one sentence on distance and one on copies."""
    rows = (
        ("median distance to the nearest training example", _median(found.samples), _median(found.held_out)),
        ("probability to be nearer than a held-out example", ranks_text(found.nearer), "0.5"),
        (f"the same relative to the {_ordinal(found.num_neighbours)} nearest", ranks_text(found.relative), "0.5"),
        (
            f"suspects at a false-positive rate of {found.false_positive_rate:.2g}",
            f"{len(found.suspects)} (p = {found.suspects_p:.2g})",
            f"{found.false_positive_rate * found.num_samples:.1f} expected",
        ),
        ("equal to a training example", str(found.num_identical), str(found.num_identical_held_out)),
    )
    header = ("", f"{found.num_samples:,} samples", f"{found.num_held_out:,} held-out examples")
    return Told((Table("Distances", header, rows),), (_distance(found), _copies(found)))


def tell_neighbours(found: Neighbours) -> Told:
    """The audit, with variety beside it."""
    copies = tell_copies(found.copies)
    (table,) = copies.tables
    sides = (_median(side) for side in (found.among_samples, found.among_held_out))
    row = ("median distance to the nearest other one of their kind", *sides)
    return Told((Table(table.caption, table.header, (*table.rows, row)),), (*copies.findings, _variety(found)))


def has_copies(found: CopyAudit) -> bool:
    """Whether more samples stand upon training examples than held-out data do, beyond three standard deviations."""
    expected = found.num_identical_held_out / found.num_held_out * found.num_samples
    many = found.num_identical > expected + SURE * max(expected, 1.0) ** 0.5
    return many or found.relative.z > SURE or found.suspects_p < math.erfc(SURE / math.sqrt(2)) / 2


def ranks_text(ranks: Ranks) -> str:
    """The area with its error, and how surely it is not a half."""
    return f"{ranks.auc:.3f} ± {ranks.error:.2g} (z = {ranks.z:.1f}, p = {ranks.p:.2g})"


def _median(distances: Distances) -> str:
    return f"{distances.median:.4g} ± {distances.median_error:.2g}"


def _distance(found: CopyAudit) -> Finding:
    figures = (
        f"the median distance of a sample to the nearest training example is {_median(found.samples)}, that of a held-out "
        f"example {_median(found.held_out)}; the sample is the nearer of two with probability {ranks_text(found.nearer)}"
    )
    severity = Severity.of(abs(found.nearer.z))
    if severity is Severity.FINE:
        return Finding(severity, f"Not told apart from held-out data by the distance to training data: {figures}.")
    side = "farther from" if found.nearer.z < 0 else "nearer to"
    text = f"{side} the training data than held-out data: {figures}."
    return Finding(severity, f"Perhaps {text}" if severity is Severity.CHANGE else text[0].upper() + text[1:])


def _copies(found: CopyAudit) -> Finding:
    figures = (
        f"relative to its {_ordinal(found.num_neighbours)} nearest training example a sample is nearer to its nearest "
        f"one than a held-out example with probability {ranks_text(found.relative)}; {len(found.suspects)} of "
        f"{found.num_samples} samples are suspects where {found.false_positive_rate * found.num_samples:.1f} would be by "
        f"chance (p = {found.suspects_p:.2g}); {found.num_identical} equal a training example, "
        f"{found.num_identical_held_out} of {found.num_held_out} held-out examples do"
    )
    if has_copies(found):
        first = ", ".join(f"{each.sample} of training example {each.example}" for each in found.suspects[:3])
        return Finding(Severity.SERIOUS, f"Copies{f' (samples {first})' if first else ''}: {figures}.")
    if found.nearer.z > SURE:
        return Finding(
            Severity.CHANGE, f"No copies, but too near to the training data by varying less than they do: {figures}."
        )
    return Finding(Severity.FINE, f"No sign of copies: {figures}.")


def _variety(found: Neighbours) -> Finding:
    mine, real = found.among_samples, found.among_held_out
    figures = (
        f"the median distance of a sample to the nearest other sample is {_median(mine)}, that of as many held-out "
        f"examples {_median(real)}"
    )
    if real.median - mine.median > SURE * math.hypot(real.median_error, mine.median_error):
        if mine.median < COLLAPSED * real.median:
            return Finding(Severity.SERIOUS, f"Collapse: {figures}.")
        return Finding(Severity.CHANGE, f"Less variety than held-out data: {figures}.")
    return Finding(Severity.FINE, f"No sign of collapse: {figures}.")


def _ordinal(num: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(num % 10, "th")
    return f"{num}{'th' if num % 100 in (11, 12, 13) else last}"
