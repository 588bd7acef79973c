"""The page of a run: its evaluation as one self-contained HTML file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lowerbound import explore
from lowerbound.errors import InputError
from lowerbound.evaluate.folder import Evaluation, evaluation_folder, model_hash, other_folders, read_evaluation
from lowerbound.files.whole import write_file
from lowerbound.report.description import BITS, BITS_HEADER, Finding, Severity
from lowerbound.report.glossary import glossary
from lowerbound.report.headline import findings, headline
from lowerbound.report.html import Findings, Picture, Report, Table, html
from lowerbound.report.parts import description
from lowerbound.run import Run
from lowerbound.words.counts import duration

CAPTIONS = {
    "samples.png": "Samples",
    "data.png": "Held-out data, for comparison",
    "classes.png": "Samples by class, a row for each, as the data's classifier sees them",
    "training.png": "Training and held-out bits per dimension",
    "bound.png": "Where the bound's diffusion term comes from (validation examples)",
    "path.png": "From noise to data",
    "forecasts.png": "Forecasts of held-out windows",
    "calls.png": "Quality against network calls",
    "guidance.png": "Fidelity and variety by scale of guidance",
}
"""Of the pictures of an evaluation, by the names of their files."""
TITLES = {
    "autoregressive": "An autoregressive model",
    "gan": "A GAN",
    "hierarchical-vae": "A hierarchical VAE",
    "ladder-vae": "A ladder VAE",
    "vae": "A VAE",
}
"""What relatives are called where their name would not read as a word."""
WIDE = ("path.png", "forecasts.png")
"""Those that take the page's whole width."""
FIRST = ("samples.png", "data.png", "forecasts.png")
"""Those that are looked at before anything is read."""


def read_own(run: Run) -> Evaluation:
    """The evaluation that lies in a run's folder.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    try:
        evaluation = read_evaluation(evaluation_folder(run))
    except InputError as error:
        raise InputError(f"{error}: lowerbound evaluate {run.folder.path} writes it anew") from error
    if evaluation is None:
        raise InputError(f"there is no evaluation in {run.folder.path} yet: lowerbound evaluate {run.folder.path}")
    return evaluation


def warnings(run: Run, evaluation: Evaluation) -> list[str]:
    """What is to be known before a figure is read: whether they are of these weights, and complete."""
    lines, again = [], f"lowerbound evaluate {run.folder.path}"
    if evaluation.model != model_hash(run):
        then, now = evaluation.weights.get("step", "?"), run.metadata.get("step", "?")
        changed = (
            "These figures and pictures are of other weights or settings than the run has now"
            if then == now
            else f"These figures and pictures are of older weights, after step {then}; model.safetensors is now after step "
            f"{now}"
        )
        lines.append(f"{changed}: {again} evaluates these.")
    if unfinished := ", ".join(evaluation.unfinished):
        lines.append(f"The evaluation is incomplete: it was stopped before {unfinished}. {again} goes on with it.")
    return lines


def write_page(run: Run, evaluation: Evaluation) -> list[str]:
    """Write report.html into the run's folder; returns what stands at its top, `warnings` and pictures that are left out."""
    page, notes = own_page(run, evaluation)
    write_file(page_path(run), page.encode())
    return notes


def own_page(run: Run, evaluation: Evaluation) -> tuple[str, list[str]]:
    """The page, and what stands at its top."""
    notes, first, pictures = warnings(run, evaluation), [], []
    folder = evaluation_folder(run)
    files = [file for outcome in evaluation.parts.values() for file in outcome.files if file.name in CAPTIONS]
    for file in files:
        try:
            shown = Picture(CAPTIONS[file.name], file.path(folder), wide=file.name in WIDE)
            (first if file.name in FIRST else pictures).append(shown)
        except InputError as error:
            notes.append(f"A picture is left out: {error}.")
    left_out = tuple(f"{each.title}: left out: {each.missing}" for each in evaluation.parts.values() if each.missing)
    kind = run.config.model.name
    model = "A diffusion model" if run.is_denoiser else TITLES.get(kind, f"A {kind} model")
    weights = evaluation.weights
    training = f", after step {weights.get('step', '?')} and {_duration(weights.get('seconds'))} of training"
    if run.config.imported is not None:
        training = ""
    all_findings, tables = findings(evaluation), (*_joined(evaluation), *_others(run, evaluation))
    verdict = headline(evaluation)
    paragraph = (
        f"Errors are standard errors. {run.num_parameters:,} parameters; weights: {weights.get('weights', 'unknown')}"
        f"{training}."
    )
    cells = [cell for table in tables for row in (table.header, *table.rows) for cell in (table.caption, *row)]
    report = Report(
        title=f"{model} of {run.spec.name}",
        warnings=tuple(notes),
        verdict=verdict,
        paragraphs=(paragraph,),
        first=tuple(first),
        findings=(*by_severity(all_findings), *([Findings("Not known", left_out)] if left_out else [])),
        tables=tables,
        pictures=tuple(pictures),
        glossary=glossary([verdict, paragraph, *map(str, all_findings), *cells]),
        play="" if run.model.likelihood == "none" else explore.page(),
        configuration=run.config.to_dict(),
    )
    return html(report), notes


def by_severity(all_findings: Sequence[Finding]) -> list[Findings]:
    """Findings in groups that matter equally, the most serious first."""
    groups = {
        severity: tuple(each.text for each in all_findings if each.severity is severity)
        for severity in reversed(Severity)
    }
    return [Findings(severity.heading, texts, severity.name.lower()) for severity, texts in groups.items() if texts]


def page_path(run: Run) -> Path:
    """Where the page is."""
    return run.folder.path / "report.html"


def _tables(evaluation: Evaluation) -> list[Table]:
    """Of all parts."""
    return [table for figures in evaluation.figures.values() for table in description(figures).tables]


def _joined(evaluation: Evaluation) -> list[Table]:
    """The tables of all parts, those of likelihoods as one."""
    tables = _tables(evaluation)
    bits = [table for table in tables if table.caption == BITS]
    others = [table for table in tables if table.caption != BITS]
    if not bits:
        return others
    rows = tuple(row for table in bits for row in table.rows)
    return [replace(bits[0], caption=f"{BITS} on held-out examples", rows=rows), *others]


def _others(run: Run, evaluation: Evaluation) -> list[Table]:
    """The bits/dim of other data, under the same weights."""
    rows = []
    for folder in other_folders(run):
        try:
            other = read_evaluation(folder)
            if other is not None and other.model == evaluation.model:
                rows += [(other.data, *row[1:]) for table in _tables(other)[:1] for row in table.rows[:1]]
        except InputError:
            continue
    return [Table("Bits per dimension of other data", BITS_HEADER, tuple(rows))] if rows else []


def _duration(seconds: str | None) -> str:
    """Of what model.safetensors says, which may be anything."""
    try:
        return duration(float(seconds or 0))
    except (ValueError, OverflowError):
        return "?"
