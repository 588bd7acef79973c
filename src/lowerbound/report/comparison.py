"""A comparison, told: one table, answers to two claims, and a page."""

from collections.abc import Sequence
from pathlib import Path

from lowerbound.evaluate.compare import Comparison, Standing
from lowerbound.evaluate.quality import Quality
from lowerbound.files import write_file
from lowerbound.records import Measured, read_json
from lowerbound.report.glossary import glossary
from lowerbound.report.html import Findings, Picture, Report, Table, html

DECISIVE = 2.0
"""Standard errors by which a difference is one."""
HEADER = ("model", "bits/dim", "kind", "Frechet distance", "precision", "coverage", "parameters", "steps", "s/sample")


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One for each model, in the order of `HEADER`, and one for held-out data."""
    table = []
    for each in comparison.standings:
        bits = "none" if each.bits is None else str(each.bits)
        spent = f"{each.num_parameters:,}", f"{each.steps:,}", f"{each.seconds_per_sample:.2g}"
        table.append((each.model, bits, each.likelihood, *_texts(each.quality), *spent))
    return [*table, ("held-out data", "", "", *_texts(comparison.floor), "", "", "")]


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
    by_model = {each.model: each for each in standings}
    diffusion, autoregressive = by_model["diffusion"], by_model["autoregressive"]
    figures = (
        f"diffusion needs {diffusion.bits} bits/dim (a bound), the autoregressive model {autoregressive.bits} (exact); on "
        f"the same {diffusion.num_examples:,} examples the difference is {difference}"
    )
    return f"{question} {_verdict(difference, 'No, as far as its bound says')}: {figures}."


def samples_answer(standings: Sequence[Standing]) -> str:
    """Whether diffusion gives better samples than the adversarial network."""
    question = "Does diffusion give better samples than the adversarial network?"
    by_model = {each.model: each.quality for each in standings}
    if not {"diffusion", "gan"} <= set(by_model):
        return f"{question} Not asked: it takes both models."
    diffusion, gan = by_model["diffusion"], by_model["gan"]
    figures = (
        f"its Frechet distance to the training data is {diffusion.frechet}, the adversarial network's {gan.frechet}; "
        f"precision {diffusion.precision} against {gan.precision}; coverage {diffusion.coverage} against {gan.coverage}"
    )
    return f"{question} {_verdict(diffusion.frechet - gan.frechet, 'No')}: {figures}."


def verdict(comparison: Comparison) -> str:
    """Which model has the fewest bits, and whose samples are nearest to the data: one sentence."""
    by_bits = [(each.bits.value, each) for each in comparison.standings if each.bits is not None]
    nearest = min(comparison.standings, key=lambda each: each.quality.frechet.value)
    best = ""
    if by_bits:
        _, first = min(by_bits, key=lambda pair: pair[0])
        best = f"{first.model} has the fewest bits/dim, {first.bits} ({first.likelihood})"
    samples = f"{nearest.model} has the samples nearest to the data, at a Frechet distance of {nearest.quality.frechet}"
    return f"Of {len(comparison.standings)} models {' and '.join(filter(None, [best, samples]))}."


def read_comparison(folder: Path) -> Comparison:
    """The comparison that lies in a folder.

    Raises:
        FileNotFoundError: if there is none.
        InputError: if it is damaged.
    """
    return read_json(Comparison, folder / "comparison.json")


def comparison_page(comparison: Comparison, folder: Path) -> str:
    """The page of the comparison that lies in a folder.

    Raises:
        InputError: if one of its pictures is gone.
    """
    pictures = [Picture("Held-out data", folder / "data.png")] if (folder / "data.png").is_file() else []
    for each in comparison.standings:
        likelihood = "no likelihood" if each.bits is None else f"{each.bits} bits/dim ({each.likelihood})"
        pictures.append(Picture(f"{each.model}: {likelihood}", folder / each.model / "standing.png"))
    steps, minutes = comparison.steps, comparison.minutes
    budget = f"{steps:,} steps" if steps is not None else f"{minutes:g} minutes on {comparison.device}"
    table = Table(f"Samples are compared in {comparison.space}", HEADER, tuple(rows(comparison)))
    found = (Findings("Two claims", tuple(answers(comparison))), Findings("To be known", tuple(remarks(comparison))))
    words = [
        *HEADER,
        *(cell for row in table.rows for cell in row),
        *(text for group in found for text in group.sentences),
    ]
    report = Report(
        title=f"The family on {comparison.data}",
        verdict=verdict(comparison),
        paragraphs=(f"Every model was trained for {budget}.",),
        first=tuple(pictures),
        findings=found,
        tables=(table,),
        glossary=glossary(words),
    )
    return html(report)


def write_comparison_page(comparison: Comparison, folder: Path) -> Path:
    """Write comparison.html beside comparison.json, and return its path."""
    path = folder / "comparison.html"
    write_file(path, comparison_page(comparison, folder).encode())
    return path


def _verdict(difference: Measured, otherwise: str) -> str:
    """Of a difference that is negative where the claim holds."""
    if abs(difference.value) <= DECISIVE * difference.error:
        return "Undecided"
    return "Yes" if difference.value < 0 else otherwise


def _texts(quality: Quality) -> tuple[str, str, str]:
    """The figures of a row."""
    return str(quality.frechet), str(quality.precision), str(quality.coverage)
