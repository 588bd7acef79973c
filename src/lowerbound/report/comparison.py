"""A comparison, told: one table, answers to two claims, and a page."""

from collections.abc import Sequence
from pathlib import Path

from lowerbound.evaluate.compare import Comparison
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.trainings import OverTrainings, difference_of_figures, figure_over_trainings
from lowerbound.files.records import read_json
from lowerbound.files.whole import write_file
from lowerbound.report.glossary import glossary
from lowerbound.report.html import Findings, Picture, Report, Table, html
from lowerbound.report.quality import FIGURES

QUALITIES = ("kernel", "frechet", "precision", "coverage")
_FIGURES = [FIGURES[name] for name in QUALITIES]
HEADER = ("model", "bits/dim", "kind", *_FIGURES, "parameters", "steps", "s/sample")


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One for each model, in the order of `HEADER`, one for each simple model, and one for held-out data."""
    table = []
    for model in dict.fromkeys(each.model for each in comparison.standings):
        first, *others = trainings = comparison.of(model)
        bits = str(comparison.bits[model]) if model in comparison.bits else "none"
        name = f"{model} ({len(trainings)} trainings)" if others else model
        spent = f"{first.num_parameters:,}", f"{first.steps:,}", f"{first.seconds_per_sample:.2g}"
        table.append((name, bits, first.likelihood, *_texts([each.quality for each in trainings]), *spent))
    simple = [(each.name, str(each.bits), each.kind, *[""] * (len(HEADER) - 3)) for each in comparison.baselines]
    return [*table, *simple, ("held-out data", "", "", *_texts([comparison.floor]), "", "", "")]


def answers(comparison: Comparison) -> list[str]:
    """To the two claims."""
    return [likelihood_answer(comparison), samples_answer(comparison)]


def remarks(comparison: Comparison) -> list[str]:
    """What else is to be known: models left out and why, and what the errors are of."""
    seeds = sorted({each.seed for each in comparison.standings})
    if len(seeds) > 1:
        trained = (
            f"Every model was trained with the seeds {', '.join(map(str, seeds))}: errors hold what a further training "
            "would change, and a difference counts as one if its interval of 95 %, by Student's t, does not hold zero. "
            "Parameters, steps and seconds are of the first training."
        )
    else:
        trained = (
            "Every model was trained once, with one seed: how much a second training would differ is not in these errors. "
            "--seeds 3 measures it."
        )
    return [
        *(f"{model} is left out: {reason}." for model, reason in comparison.left_out.items()),
        f"Bits/dim are of the same {comparison.standings[0].num_examples:,} test examples, errors are standard errors over "
        f"them; of the samples, over both sets that are compared. {trained}",
        "Samples are judged by the kernel distance, which has no bias: it is zero on average for the data themselves, "
        "however many are compared. The Frechet distance of finite sets is too large; as many held-out examples show by how "
        "much.",
    ]


def likelihood_answer(comparison: Comparison) -> str:
    """Whether diffusion gives a better likelihood than the autoregressive model, from bits/dim of the same examples."""
    question = "Does diffusion give a better likelihood than the autoregressive model?"
    difference = comparison.difference
    if difference is None:
        return f"{question} Not asked: it takes both models."
    bits = comparison.bits
    figures = (
        f"diffusion needs {bits['diffusion']} bits/dim (a bound), the autoregressive model {bits['autoregressive']} "
        f"(exact); on the same {comparison.standings[0].num_examples:,} examples the difference is {_interval(difference)}"
    )
    return f"{question} {_verdict(difference, 'No, as far as its bound says')}: {figures}."


def samples_answer(comparison: Comparison) -> str:
    """Whether diffusion gives better samples than the adversarial network, by the kernel distance."""
    question = "Does diffusion give better samples than the adversarial network?"
    difference = comparison.samples_difference
    if difference is None:
        return f"{question} Not asked: it takes both models."
    texts = (_texts([each.quality for each in comparison.of(model)]) for model in ("diffusion", "gan"))
    ours, theirs = (dict(zip(QUALITIES, each, strict=True)) for each in texts)
    figures = (
        f"its kernel distance to the training data is {ours['kernel']}, the adversarial network's {theirs['kernel']}, a "
        f"difference of {_interval(difference)} (held-out data: {comparison.floor.kernel}); Frechet distance "
        f"{ours['frechet']} against {theirs['frechet']} (held-out data: {comparison.floor.frechet}); precision "
        f"{ours['precision']} against {theirs['precision']}; coverage {ours['coverage']} against {theirs['coverage']}"
    )
    return f"{question} {_verdict(difference, 'No')}: {figures}."


def verdict(comparison: Comparison) -> str:
    """Which model has the fewest bits, and whose samples are nearest to the data, or which two no more than chance tells
    apart: one sentence."""
    models = dict.fromkeys(each.model for each in comparison.standings)
    best = kind = ""
    if comparison.bits:
        first, *others = sorted(comparison.bits, key=lambda model: comparison.bits[model].value)
        kind = next(each.likelihood for each in comparison.standings if each.model == first)
        best = f"{first} has the fewest bits/dim, {comparison.bits[first]} ({kind}){_tie(comparison.lead, others)}"
    distances = {model: [each.quality.kernel for each in comparison.of(model)] for model in models}
    kernels = {model: figure_over_trainings(each) for model, each in distances.items()}
    # no distance is below zero, and one whose error is large is not known to be small
    nearest, *others = sorted(kernels, key=lambda model: max(kernels[model].value, 0) + kernels[model].error)
    if not others:
        needs = f"needs {comparison.bits[nearest]} bits/dim ({kind}), and " if comparison.bits else ""
        return f"{nearest} {needs}has samples at a kernel distance of {kernels[nearest]} from the data."
    lead = difference_of_figures(distances[others[0]], distances[nearest])
    samples = f"{nearest} has the samples nearest to the data, at a kernel distance of {kernels[nearest]}"
    samples += _tie(lead, others)
    return f"Of {len(models)} models {'; '.join(filter(None, [best, samples]))}."


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
        name = f"{each.model}-seed-{each.seed}"
        name = name if (folder / name).is_dir() else each.model  # the first training has the model's name
        pictures.append(Picture(f"{name}: {likelihood}", folder / name / "standing.png"))
    steps, minutes = comparison.steps, comparison.minutes
    num = len({each.seed for each in comparison.standings})
    times = f"{num} times, each " if num > 1 else ""
    budget = f"{steps:,} steps" if steps is not None else f"{minutes:g} minutes on {comparison.device}"
    table = Table(f"Samples are compared in {comparison.space}", HEADER, tuple(rows(comparison)))
    groups = (Findings("Two claims", tuple(answers(comparison))), Findings("To be known", tuple(remarks(comparison))))
    words = [
        *HEADER,
        *(cell for row in table.rows for cell in row),
        *(text for group in groups for text in group.sentences),
    ]
    report = Report(
        title=f"The family on {comparison.data}",
        verdict=verdict(comparison),
        paragraphs=(f"Every model was trained {times}for {budget}.",),
        first=tuple(pictures),
        findings=groups,
        tables=(table,),
        glossary=glossary(words),
    )
    return html(report)


def write_comparison_page(comparison: Comparison, folder: Path) -> Path:
    """Write comparison.html beside comparison.json, and return its path."""
    path = folder / "comparison.html"
    write_file(path, comparison_page(comparison, folder).encode())
    return path


def _verdict(difference: OverTrainings, otherwise: str) -> str:
    """Of a difference that is negative where the claim holds; of one training each it is no more than these."""
    if difference.sign == 0:
        return "Undecided"
    verdict = "Yes" if difference.sign < 0 else otherwise
    return f"{verdict}, of these two trainings" if difference.is_of_one_training else verdict


def _tie(lead: OverTrainings | None, others: Sequence[str]) -> str:
    """What is to be said of the first of the models, from the lead that it has on the next of the others."""
    if lead is None:
        return ""
    if lead.sign == 0:
        return f", and chance may have put {others[0]} behind it"
    return ", of these trainings" if lead.is_of_one_training else ""


def _interval(difference: OverTrainings) -> str:
    """A difference and what it may be."""
    width = difference.half_interval
    low, high = difference.value - width, difference.value + width
    return f"{difference}, with 95 % between {low:.4g} and {high:.4g}"


def _texts(qualities: Sequence[Quality]) -> list[str]:
    """The figures of a row, in the order of `QUALITIES`."""
    return [str(figure_over_trainings([getattr(each, name) for each in qualities])) for name in QUALITIES]
