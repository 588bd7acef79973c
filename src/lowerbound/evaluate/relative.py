"""The evaluation of a relative: its likelihood in the bound's terms, its samples and pictures, in the run's own folder."""

import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.features import UPDATES, feature_classifier, feature_space
from lowerbound.evaluate.findings import sample_findings
from lowerbound.evaluate.folder import evaluation_folder, read_figures
from lowerbound.evaluate.judge import Judge, SampleQuality
from lowerbound.evaluate.quality import Figure
from lowerbound.evaluate.report import Picture, Report, Table, figure_text, html
from lowerbound.evaluate.standing import Standing, standing
from lowerbound.evaluate.text import aligned
from lowerbound.evaluate.trade_off import Stage
from lowerbound.files import write_file
from lowerbound.likelihood import mean_and_error
from lowerbound.pictures import sample_grid, training_curve
from lowerbound.run import RelativeRun
from lowerbound.run.history import training_columns
from lowerbound.score import score_relative
from lowerbound.score.examples import batches

SHOWN = 64
FEWEST = 20
"""Samples below which no quantile and no standard error is known."""


@dataclass(frozen=True)
class RelativeEvaluation:
    """What `evaluate_relative` found.

    Arguments:
        standing: its likelihood and the quality of its samples.
        terms: what its bits/dim are made of: name, figure, and what it is.
        quality: of the samples, beside held-out examples.
        findings: about samples, in words.
        pictures: captions and files, relative to the evaluation's folder.
        weights: what model.safetensors says of its weights.
    """

    standing: Standing
    terms: list[tuple[str, Figure, str]]
    quality: SampleQuality
    findings: list[str]
    pictures: list[tuple[str, str]]
    weights: dict[str, str]

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, bits/dim with standard error, and what the number is."""
        stands = self.standing
        examples = "" if stands.bits is None else f", {stands.num_examples:,} examples"
        return [
            ("test", stands.bits_text, f"{stands.kind}{examples}"),
            *((f"  {name}", figure_text(*figure), told) for name, figure, told in self.terms),
        ]


def evaluate_relative(
    run: RelativeRun,
    dataset: Dataset,
    *,
    num_examples: int | None = None,
    num_samples: int = 500,
    importance: int = 1,
    seed: int = 0,
    stage: Stage = lambda name, total: nullcontext(lambda units: None),
) -> RelativeEvaluation:
    """Evaluate a run on the test split of its data and write evaluation/ into its folder.

    Arguments:
        run: the model.
        dataset: its data.
        num_examples: test examples for the likelihood; all if None.
        num_samples: how many samples are drawn and compared with the data.
        importance: K importance samples of the latents for a tighter bound beside the plain one; 1: none.
        seed: of noise and samples.
        stage: shows progress.

    Raises:
        InputError: if there are too few samples, or importance samples are asked of a model without latents.
    """
    if num_samples < FEWEST:
        raise InputError(f"num_samples is {num_samples}: at least {FEWEST} are needed to compare samples with data")
    folder, indices = evaluation_folder(run), dataset.test[:num_examples]
    folder.mkdir(exist_ok=True)
    tighter = None
    if importance > 1:
        with stage(f"{importance} importance samples", len(indices)) as progress:
            tighter = score_relative(
                run,
                dataset.examples[indices],
                numbers=indices,
                importance=importance,
                seed=seed,
                progress=progress,
            )
    with stage("classifier of the data", UPDATES) as progress:
        classifier = feature_classifier(dataset, run.folder.path, progress)
    judge = Judge.of(dataset, feature_space(dataset, classifier), num_samples, seed)
    with stage("test bits/dim", len(indices)) as scored, stage("samples", num_samples) as drawn:
        stands, _, samples = standing(
            run,
            dataset,
            judge,
            num_examples=num_examples,
            num_samples=num_samples,
            seed=seed,
            scored=scored,
            drawn=drawn,
        )
    terms = [] if stands.bits is None else _terms(run, dataset, indices, seed)
    if tighter is not None:
        terms.append(("importance-weighted", _figure(tighter.bits_per_dim), tighter.kind))
    quality = SampleQuality(stands.quality, judge.floor(), str(judge.space), stands.model, None)
    evaluation = RelativeEvaluation(
        standing=stands,
        terms=terms,
        quality=quality,
        findings=[*quality.findings(), *sample_findings(dataset, samples, classifier, seed)],
        pictures=_pictures(run, dataset, samples, folder),
        weights=run.metadata,
    )
    write_file(folder / "evaluation.json", (json.dumps(asdict(evaluation), indent=1) + "\n").encode())
    return evaluation


def read_relative_evaluation(run: RelativeRun) -> RelativeEvaluation:
    """The evaluation that lies in a run's folder.

    Raises:
        InputError: if there is none, or it is damaged.
    """

    def parse(values: dict[str, Any]) -> RelativeEvaluation:
        return RelativeEvaluation(
            standing=Standing.from_dict(values["standing"]),
            terms=[(name, tuple(figure), told) for name, figure, told in values["terms"]],
            quality=SampleQuality.from_dict(values["quality"]),
            findings=values["findings"],
            pictures=[(caption, name) for caption, name in values["pictures"]],
            weights=values["weights"],
        )

    return read_figures(run, parse)


def to_text(evaluation: RelativeEvaluation) -> str:
    """The figures as lines for a console."""
    stands, quality = evaluation.standing, evaluation.quality
    lines = [
        *aligned([("", "bits/dim", ""), *evaluation.rows()]),
        "",
        f"{stands.num_parameters:,} parameters, {stands.seconds_per_sample:.2g} seconds per sample",
        quality.caption,
        *aligned([quality.header, *quality.rows()]),
        "",
    ]
    return "\n".join([*lines, *(f"- {finding}" for finding in evaluation.findings)])


def write_relative_page(run: RelativeRun, evaluation: RelativeEvaluation) -> Path:
    """Write report.html into the run's folder."""
    stands, quality, folder = evaluation.standing, evaluation.quality, evaluation_folder(run)
    rows = tuple((name.strip(), told, value) for name, value, told in evaluation.rows())
    report = Report(
        title=f"{stands.model}: a model of {run.data.name}",
        paragraphs=(
            f"On held-out examples: {stands.likelihood_text}; {stands.num_parameters:,} parameters.",
            f"Weights: {evaluation.weights.get('weights', 'unknown')}, after step {stands.steps:,} and "
            f"{stands.seconds / 60:.1f} minutes of training.",
        ),
        tables=(
            Table("Bits per dimension on the test split", ("", "kind", "bits/dim"), rows, main=0),
            Table(quality.caption, quality.header, tuple(quality.rows())),
        ),
        findings=tuple(evaluation.findings),
        pictures=tuple(Picture(caption, folder / name) for caption, name in evaluation.pictures),
        configuration=run.config.to_dict(),
    )
    path = run.folder.path / "report.html"
    write_file(path, html(report).encode())
    return path


@torch.no_grad()
def _terms(run: RelativeRun, dataset: Dataset, indices: np.ndarray, seed: int) -> list[tuple[str, Figure, str]]:
    """The bound's terms, and of a hierarchy each level's, in bits/dim; none of an exact likelihood."""
    if run.relative.likelihood == "exact":
        return []
    raw = dataset.examples[indices]
    reconstruction, prior, diffusion, steps = [], [], [], []
    for x, _, noise, _ in batches(run, raw, None, indices, 128, seed):
        bound = run.relative.elbo(x, noise)
        reconstruction.append(bound.to_bits(-bound.reconstruction))
        prior.append(bound.to_bits(bound.prior))
        diffusion.append(bound.to_bits(bound.diffusion))
        if bound.steps is not None:
            steps.append(bound.steps * (bound.to_bits(torch.ones_like(bound.prior))[:, None]))
    if not any(bool(part.any()) for part in (*prior, *diffusion)):
        return []
    terms = [
        ("reconstruction", _figure(torch.cat(reconstruction)), "of the data from the latents"),
        ("prior", _figure(torch.cat(prior)), "of the topmost latent against its prior"),
    ]
    if steps:
        levels = torch.cat(steps)
        terms.extend(
            (f"level {number}", _figure(levels[:, number - 1]), "of a latent given those above it")
            for number in range(levels.shape[1], 0, -1)
        )
    elif any(bool(part.any()) for part in diffusion):
        terms.append(("diffusion", _figure(torch.cat(diffusion)), "of all latents below the topmost"))
    if normalisation := -dataset.encoding.log_det(dataset.shape):
        told = "the units of the stored data"
        terms.append(("normalisation", (normalisation / (np.prod(dataset.shape) * np.log(2)), 0.0), told))
    return terms


def _figure(values: torch.Tensor | np.ndarray) -> Figure:
    return mean_and_error(torch.as_tensor(values))


def _pictures(run: RelativeRun, dataset: Dataset, samples: np.ndarray, folder: Path) -> list[tuple[str, str]]:
    extremes = dataset.encoding.value_range
    many = len(samples) if len(dataset.shape) == 1 else SHOWN
    sample_grid(folder / "samples.png", samples[:many], extremes, data=dataset.examples[dataset.test[:many]])
    pictures = [("Samples", "samples.png")]
    if len(dataset.shape) > 1:
        sample_grid(folder / "data.png", dataset.examples[dataset.test[:SHOWN]], extremes)
        pictures.append(("Held-out data, for comparison", "data.png"))
    if run.relative.likelihood != "none":
        training_curve(folder / "training.png", **training_columns(run))
        pictures.append(("Training and held-out bits per dimension", "training.png"))
    return pictures
