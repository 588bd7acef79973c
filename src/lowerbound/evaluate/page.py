"""The page of a run: its evaluation as one self-contained HTML file."""

from pathlib import Path

from lowerbound.evaluate.evaluation import Evaluation, figure_rows
from lowerbound.evaluate.folder import evaluation_folder
from lowerbound.evaluate.report import Picture, Report, Table, figure_text, html
from lowerbound.evaluate.trade_off import HEADER
from lowerbound.evaluate.trade_off import rows as trade_off_rows
from lowerbound.files import write_file
from lowerbound.run import Run

WIDE = ("path.png",)


def write_page(run: Run, evaluation: Evaluation) -> Path:
    """Write report.html into the run's folder."""
    bound = evaluation.bound
    rows = [
        (name.strip() if name.startswith(" ") else name, kind, value) for name, value, kind in figure_rows(evaluation)
    ]
    better = [b for b in evaluation.baselines if b.bits_per_dim <= bound.total[0]]
    standing = ""
    if evaluation.baselines:
        standing = (
            f" {len(evaluation.baselines) - len(better)} of {len(evaluation.baselines)} baselines need more bits."
        )
    quality = evaluation.quality
    tables = [
        Table("Bits per dimension on the test split", ("", "kind", "bits/dim"), tuple(rows), main=0),
        Table(quality.caption, quality.header, tuple(quality.rows())),
    ]
    if evaluation.trade_offs:
        trades = trade_off_rows(evaluation.trade_offs, quality.held_out)
        tables.append(Table("Quality of other settings", HEADER, tuple(trades)))
    folder = evaluation_folder(run)
    report = Report(
        title=f"A diffusion model of {run.data.name}",
        paragraphs=(
            f"{figure_text(*bound.total)} bits per dimension on {bound.num_examples:,} held-out examples, {bound.kind}; the "
            f"error is the standard error over examples.{standing}",
            f"Weights: {evaluation.weights.get('weights', 'unknown')}, after step {evaluation.weights.get('step', '?')} "
            f"and {float(evaluation.weights.get('seconds', 0)) / 60:.1f} minutes of training.",
        ),
        tables=tuple(tables),
        findings=tuple(evaluation.findings),
        pictures=tuple(Picture(caption, folder / name, wide=name in WIDE) for caption, name in evaluation.pictures),
        configuration=run.config.to_dict(),
    )
    path = run.folder.path / "report.html"
    write_file(path, html(report).encode())
    return path
