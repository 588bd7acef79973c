"""The quality of samples, told: the six figures beside those of held-out examples, and those of other settings."""

from lowerbound.evaluate.features import Features
from lowerbound.evaluate.judge import SampleQuality, Samples
from lowerbound.evaluate.quality import Quality, distance_names
from lowerbound.evaluate.trade_off import TradeOff
from lowerbound.report.description import Description, Finding, in_errors, judged, tell
from lowerbound.report.html import Table
from lowerbound.words.counts import counted

FIGURES = {
    "frechet": "Frechet distance",
    "kernel": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
"""The figures of `Quality` and what tables call them, in a data set's own features."""
HEADER = ("sampler", "calls", "guidance")


@tell.register
def tell_features(features: Features) -> Description:
    """What samples are compared in."""
    return Description(remark=f"samples are compared in {features.space}")


@tell.register
def tell_samples(samples: Samples) -> Description:
    """How many there are, and what drew them."""
    return Description(remark=f"{counted(samples.num_samples, 'sample')} by {samples.sampler}{_calls(samples)}")


@tell.register
def tell_quality(quality: SampleQuality) -> Description:
    """The figures of both, and a sentence each on the distance, on samples like no data, and on data like no sample."""
    samples, held_out = quality.samples, quality.held_out
    table = Table(
        f"Samples by {quality.sampler}{_calls(quality)}, against {counted(samples.num_references, 'training example')} in "
        f"{quality.space}",
        ("", counted(samples.num_samples, "sample"), counted(held_out.num_samples, "held-out example")),
        tuple(zip(names(samples), _texts(samples), _texts(held_out), strict=True)),
    )
    gap, (name, _) = _gap(quality, "frechet"), distance_names(samples)
    figures = (
        f"the {name} of {counted(samples.num_samples, 'sample')} to {counted(samples.num_references, 'training example')} "
        f"is {samples.frechet}, that of {held_out.num_samples:,} held-out ones {held_out.frechet}"
    )
    distance = judged(
        gap,
        f"Samples differ from the data: {figures}.",
        f"Samples perhaps differ from the data: {figures}, {gap:.1f} standard errors more.",
        f"Not told apart from held-out data by the {name}: {figures}.",
    )
    fidelity = _balls(quality, ("precision", "density"), "samples", "that are like no data")
    variety = _balls(quality, ("recall", "coverage"), "data", "that no sample is like")
    return Description((table,), (distance, fidelity, variety))


@tell.register
def tell_trade_off(trade_off: TradeOff) -> Description:
    """A table of settings, one a row, and the held-out examples under them."""
    rows = []
    for point in trade_off.points:
        scale = "" if point.scale is None else f"{point.scale:g}"
        rows.append((point.sampler, f"{point.num_calls:g}", scale, *_texts(point.quality)))
    rows.append(("held-out examples", "", "", *_texts(trade_off.floor)))
    counts = trade_off.floor
    caption = (
        f"Quality of other settings, {counted(counts.num_samples, 'sample')} each, against "
        f"{counted(counts.num_references, 'training example')}"
    )
    return Description((Table(caption, (*HEADER, *names(trade_off.floor)), tuple(rows)),))


def names(quality: Quality) -> tuple[str, ...]:
    """What the six figures are called, in the order of `FIGURES`."""
    return (*distance_names(quality), *list(FIGURES.values())[2:])


def _calls(samples: Samples | SampleQuality) -> str:
    """How many network calls each sample took, where they are counted."""
    return "" if samples.num_calls is None else f", {counted(samples.num_calls, 'call')} each"


def _texts(quality: Quality) -> list[str]:
    """The six figures, in the order of `FIGURES`."""
    return [str(getattr(quality, name)) for name in FIGURES]


def _balls(quality: SampleQuality, names: tuple[str, str], subjects: str, likeness: str) -> Finding:
    """Whether there are subjects of such a likeness, by the worse of two shares."""
    figures = " and ".join(
        f"{name} {getattr(quality.samples, name)} against {getattr(quality.held_out, name)}" for name in names
    )
    verdicts = (
        f"{subjects.capitalize()} {likeness}",
        f"Perhaps {subjects} {likeness}",
        f"No {subjects} seen {likeness}",
    )
    z = max(-_gap(quality, name) for name in names)
    return judged(z, *(f"{verdict}: {figures} of as many held-out examples." for verdict in verdicts))


def _gap(quality: SampleQuality, name: str) -> float:
    """Samples less held-out examples, in standard errors."""
    return in_errors(getattr(quality.samples, name) - getattr(quality.held_out, name))
