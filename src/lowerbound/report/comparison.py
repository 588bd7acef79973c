"""A comparison, told: one table, answers to two claims, and a page."""

import math
from collections.abc import Sequence
from pathlib import Path

from lowerbound.evaluate.compare import Comparison
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.standing import Standing
from lowerbound.files import write_file
from lowerbound.records import Measured
from lowerbound.report.html import Picture, Report, Table, html
from lowerbound.rounding import figure_text

DECISIVE = 2.0
"""Standard errors by which a difference is one."""
HEADER = (
    "model",
    "bits/dim",
    "kind",
    "Frechet distance",
    "precision",
    "coverage",
    "parameters",
    "steps",
    "s/sample",
)


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One for each model, in the order of `HEADER`, and one for held-out data."""
    table = [
        (
            each.model,
            _bits(each),
            each.likelihood,
            *_quality(each.quality),
            f"{each.num_parameters:,}",
            f"{each.steps:,}",
            f"{each.seconds_per_sample:.2g}",
        )
        for each in comparison.standings
    ]
    return [*table, ("held-out data", "", "", *_quality(comparison.floor), "", "", "")]


def answers(comparison: Comparison) -> list[str]:
    """To the two claims."""
    return [likelihood_answer(comparison.difference, comparison.standings), samples_answer(comparison.standings)]


def remarks(comparison: Comparison) -> list[str]:
    """What else is to be known: models left out and why, and what the errors are of."""
    return [
        *(f"{model} is left out: {reason}." for model, reason in comparison.left_out.items()),
        f"Bits/dim are of the same {comparison.standings[0].num_examples:,} test examples, errors are standard errors over "
        "them; of the samples, over both sets that are compared. Every model was trained once, with one seed: how much a "
        "second training would differ is not in these errors.",
    ]


def likelihood_answer(difference: Measured | None, standings: Sequence[Standing]) -> str:
    """Whether diffusion gives a better likelihood than the autoregressive model, from bits/dim of the same examples."""
    question = "Does diffusion give a better likelihood than the autoregressive model?"
    if difference is None:
        return f"{question} Not asked: it takes both models."
    found = {each.model: each for each in standings}
    told = (
        f"diffusion needs {_bits(found['diffusion'])} bits/dim (a bound), the autoregressive model "
        f"{_bits(found['autoregressive'])} (exact); on the same {found['diffusion'].num_examples:,} examples the difference "
        f"is {figure_text(*difference)}"
    )
    if abs(difference.value) <= DECISIVE * difference.error:
        return f"{question} Undecided: {told}."
    if difference.value < 0:
        return f"{question} Yes: {told}."
    return f"{question} No, as far as its bound says: {told}."


def samples_answer(standings: Sequence[Standing]) -> str:
    """Whether diffusion gives better samples than the adversarial network."""
    question = "Does diffusion give better samples than the adversarial network?"
    found = {each.model: each.quality for each in standings}
    if not {"diffusion", "gan"} <= set(found):
        return f"{question} Not asked: it takes both models."
    ours, theirs = found["diffusion"], found["gan"]
    balls = "; ".join(
        f"{name} {figure_text(*getattr(ours, name))} against {figure_text(*getattr(theirs, name))}"
        for name in ("precision", "coverage")
    )
    told = (
        f"its Frechet distance to the training data is {figure_text(*ours.frechet)}, the adversarial network's "
        f"{figure_text(*theirs.frechet)}; {balls}"
    )
    if abs(ours.frechet.value - theirs.frechet.value) <= DECISIVE * math.hypot(
        ours.frechet.error, theirs.frechet.error
    ):
        return f"{question} Undecided: {told}."
    return f"{question} {'Yes' if ours.frechet.value < theirs.frechet.value else 'No'}: {told}."


def write_comparison_page(comparison: Comparison, folder: Path) -> Path:
    """Write comparison.html beside comparison.json, and return its path."""
    pictures = [
        Picture(f"{each.model}: {_likelihood(each)}", folder / each.model / "standing.png")
        for each in comparison.standings
    ]
    if (folder / "data.png").is_file():
        pictures.insert(0, Picture("Held-out data", folder / "data.png"))
    steps, minutes = comparison.steps, comparison.minutes
    budget = f"{steps:,} steps" if steps is not None else f"{minutes:g} minutes on {comparison.device}"
    report = Report(
        title=f"The family on {comparison.data}",
        paragraphs=(f"Every model was trained for {budget}.", *answers(comparison)),
        tables=(Table(f"Samples are compared in {comparison.space}", HEADER, tuple(rows(comparison))),),
        findings=tuple(remarks(comparison)),
        pictures=tuple(pictures),
    )
    path = folder / "comparison.html"
    write_file(path, html(report).encode())
    return path


def _bits(standing: Standing) -> str:
    """The figure, or that there is none."""
    return "none" if standing.bits is None else figure_text(*standing.bits)


def _likelihood(standing: Standing) -> str:
    """The figure with its unit and what it is, or that there is none."""
    return "no likelihood" if standing.bits is None else f"{_bits(standing)} bits/dim ({standing.likelihood})"


def _quality(quality: Quality) -> tuple[str, str, str]:
    return figure_text(*quality.frechet), figure_text(*quality.precision), figure_text(*quality.coverage)
