"""The quality of samples, told: the six figures beside those of held-out examples, and those of other settings."""

import math

from lowerbound.evaluate.judge import SampleQuality
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.trade_off import TradeOff
from lowerbound.report.finding import Finding, Severity
from lowerbound.report.html import Table
from lowerbound.report.told import Told
from lowerbound.rounding import figure_text

FIGURES = {
    "frechet": "Frechet distance",
    "kernel": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
"""The figures of `Quality` and what tables call them."""
HEADER = ("sampler", "calls", "guidance", *FIGURES.values())


def figure_texts(quality: Quality) -> list[str]:
    """The six figures, in the order of `FIGURES`."""
    return [figure_text(*getattr(quality, name)) for name in FIGURES]


def tell_quality(found: SampleQuality) -> Told:
    """The figures of both, and a sentence each on the distance, on samples like no data, and on data like no sample."""
    mine, real = found.samples, found.held_out
    calls = "" if found.num_calls is None else f", {found.num_calls:g} calls each"
    table = Table(
        f"Samples by {found.sampler}{calls}, against {mine.num_references:,} training examples in {found.space}",
        ("", f"{mine.num_samples:,} samples", f"{real.num_samples:,} held-out examples"),
        tuple(zip(FIGURES.values(), figure_texts(mine), figure_texts(real), strict=True)),
    )
    gap = _gap(found, "frechet")
    figures = (
        f"the Frechet distance to the training data is {figure_text(*mine.frechet)}, that of as many held-out examples "
        f"{figure_text(*real.frechet)}"
    )
    distance = _finding(
        gap,
        f"Samples differ from the data: {figures}.",
        f"Samples perhaps differ from the data: {figures}, {gap:.1f} standard errors more.",
        f"Not told apart from held-out data by the Frechet distance: {figures}.",
    )
    fidelity = _balls(
        found,
        ("precision", "density"),
        "Samples that are like no data",
        "Perhaps samples that are like no data",
        "No samples seen that are like no data",
    )
    variety = _balls(
        found,
        ("recall", "coverage"),
        "Data that no sample is like",
        "Perhaps data that no sample is like",
        "No data seen that no sample is like",
    )
    return Told((table,), (distance, fidelity, variety))


def _balls(found: SampleQuality, names: tuple[str, str], *verdicts: str) -> Finding:
    figures = " and ".join(
        f"{name} {figure_text(*getattr(found.samples, name))} against {figure_text(*getattr(found.held_out, name))}"
        for name in names
    )
    z = max(-_gap(found, name) for name in names)
    return _finding(z, *(f"{verdict}: {figures} of as many held-out examples." for verdict in verdicts))


def _finding(z: float, sure: str, hint: str, fine: str) -> Finding:
    """By how many standard errors z the samples are worse."""
    severity = Severity.of(z)
    return Finding(severity, {Severity.SERIOUS: sure, Severity.CHANGE: hint}.get(severity, fine))


def _gap(found: SampleQuality, name: str) -> float:
    """Samples less held-out examples, in standard errors."""
    mine, real = getattr(found.samples, name), getattr(found.held_out, name)
    difference, error = mine.value - real.value, math.hypot(mine.error, real.error)
    if error > 0:
        return difference / error
    return math.copysign(math.inf, difference) if difference else 0.0


def tell_trade_off(found: TradeOff) -> Told:
    """A table of settings, one a row, and the held-out examples under them."""
    rows = [
        (
            point.sampler,
            f"{point.num_calls:g}",
            "" if point.scale is None else f"{point.scale:g}",
            *figure_texts(point.quality),
        )
        for point in found.points
    ]
    rows.append(("held-out examples", "", "", *figure_texts(found.floor)))
    return Told((Table("Quality of other settings", HEADER, tuple(rows)),))
