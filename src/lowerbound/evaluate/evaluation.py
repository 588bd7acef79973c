"""The evaluation of a run: every figure and every picture, in the run's own folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.baselines import Baseline, baselines
from lowerbound.data import Dataset, Levels
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.evaluate.bound import HeldOutBound, Profile, held_out_bound, profile
from lowerbound.evaluate.density import HeldOutDensity, held_out_density, num_flow_examples
from lowerbound.evaluate.diagnosis import Diagnosis, diagnose
from lowerbound.evaluate.features import UPDATES, feature_classifier, feature_space
from lowerbound.evaluate.findings import sample_findings
from lowerbound.evaluate.folder import evaluation_folder, read_figures
from lowerbound.evaluate.judge import Judge, SampleQuality, draw
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.report import figure_text
from lowerbound.evaluate.text import aligned
from lowerbound.evaluate.trade_off import BATCH, HEADER, Point, Stage, by_calls, by_scale, draw_calls, draw_scales, rows
from lowerbound.files import write_file
from lowerbound.pictures import bound_by_time, denoising_strip, sample_grid, training_curve
from lowerbound.run import Run, generate
from lowerbound.run.history import training_columns
from lowerbound.samplers import Sampler
from lowerbound.score import Flow

SHOWN = 64
INTERVALS = 24
FEWEST = 20
"""Samples below which no quantile and no standard error is known."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Arguments:
        bound: bits/dim on the test split.
        density: the probability flow's beside it, on the first test examples; None if it was left out or could not be
            followed.
        baselines: of the same examples; empty if they were left out.
        diagnosis: of the noise levels and the denoiser.
        quality: of the samples, in features.
        trade_offs: the quality of other samplers and numbers of calls, and of other scales of guidance; none if not asked.
        findings: of the diagnosis and about samples, in words.
        pictures: captions and files, relative to the evaluation's folder.
        weights: what model.safetensors says of its weights.
    """

    bound: HeldOutBound
    density: HeldOutDensity | None
    baselines: list[Baseline]
    diagnosis: Diagnosis
    quality: SampleQuality
    trade_offs: list[Point]
    findings: list[str]
    pictures: list[tuple[str, str]]
    weights: dict[str, str]


def evaluate(
    run: Run,
    dataset: Dataset,
    *,
    num_steps: int | None = None,
    num_times: int | None = None,
    num_examples: int | None = None,
    reverse: str = "lower",
    num_flow: int | None = None,
    flow: Flow | None = None,
    num_samples: int = 500,
    samplers: Mapping[str, Sampler] | None = None,
    calls: Sequence[int] = (),
    denoiser_of: Callable[[float], Denoiser] | None = None,
    scales: Sequence[float] = (),
    with_baselines: bool = True,
    seed: int = 0,
    stage: Stage = lambda name, total: nullcontext(lambda units: None),
) -> Evaluation:
    """Evaluate a run on the test split of its data and write evaluation/ into its folder.

    Arguments:
        run: the model.
        dataset: its data.
        num_steps, num_times, num_examples, reverse: of the bound, as in `held_out_bound`.
        num_flow: how many test examples follow the probability flow; 0: none, None: as `num_flow_examples` says.
        flow: how they follow it.
        num_samples: how many samples are drawn and compared with the data.
        samplers, calls: whose quality is drawn against the number of calls; the default sampler's if None.
        denoiser_of, scales: the guided denoiser of a scale, and the scales at which its quality is drawn.
        with_baselines: whether to fit the likelihood yardsticks.
        seed: of times, noise and samples.
        stage: shows progress.
    """
    _check(run, num_samples, num_flow, scales)
    if num_flow is None:
        num_flow = min(num_flow_examples(dataset), len(dataset.test[:num_examples]))
    flow = flow or Flow()
    flow.dequantizer_of(run)
    folder = evaluation_folder(run)
    folder.mkdir(exist_ok=True)
    with stage("test bits/dim", len(dataset.test[:num_examples])) as progress:
        bound = held_out_bound(
            run,
            dataset,
            num_steps=num_steps,
            num_times=num_times,
            num_examples=num_examples,
            reverse=reverse,
            seed=seed,
            progress=progress,
        )
    density, failure = None, []
    if num_flow:
        with stage("probability flow", len(dataset.test[:num_flow])) as progress:
            try:
                density = held_out_density(
                    run,
                    dataset,
                    flow,
                    num_examples=num_flow,
                    num_steps=num_steps,
                    reverse=reverse,
                    seed=seed,
                    progress=progress,
                )
            except InputError as error:
                failure = [f"No figure of the probability flow: {error}."]
    plan = generate.make_plan(run)
    with stage("samples", _steps(num_samples, plan)) as progress:
        samples, num_calls = draw(run, dataset, num_samples, plan, seed=seed, progress=progress)
    fitted: list[Baseline] = []
    with stage("baselines", 1) as progress:
        if with_baselines:
            fitted = _baselines(dataset, num_examples)
        progress(1)
    with stage("diagnosis", INTERVALS) as progress:
        found = profile(run, dataset, split="validation", num_bins=INTERVALS, seed=seed, progress=progress)
        diagnosis = diagnose(run, dataset, found, bound, fitted)
    with stage("classifier of the data", UPDATES) as progress:
        classifier = feature_classifier(dataset, run.folder.path, progress)
    with stage("comparison with the data", 3) as progress:
        judge = Judge.of(dataset, feature_space(dataset, classifier), num_samples, seed)
        quality = SampleQuality(
            judge.quality(samples), judge.floor(), str(judge.space), generate.DEFAULT_SAMPLER, num_calls
        )
        progress(1)
        standing = failure if density is None else [density.finding()]
        findings = [
            *diagnosis.findings(),
            *standing,
            *quality.findings(),
            *sample_findings(dataset, samples, classifier, seed),
        ]
        progress(1)
        pictures = _pictures(run, dataset, samples, found, folder, seed)
        progress(1)
    points = []
    if calls:
        chosen = samplers or {generate.DEFAULT_SAMPLER: plan.sampler}
        points += by_calls(run, judge, chosen, calls, num_samples=num_samples, seed=seed, stage=stage)
    if scales and denoiser_of is not None:
        settings = {"sampler": generate.DEFAULT_SAMPLER, "plan": plan, "num_samples": num_samples}
        points += by_scale(run, judge, denoiser_of, scales, **settings, seed=seed, stage=stage)
    pictures += _trade_off_pictures(points, quality.held_out, folder)
    evaluation = Evaluation(bound, density, fitted, diagnosis, quality, points, findings, pictures, run.metadata)
    write_file(folder / "evaluation.json", (json.dumps(asdict(evaluation), indent=1) + "\n").encode())
    return evaluation


def _check(run: Run, num_samples: int, num_flow: int | None, scales: Sequence[float]) -> None:
    if num_samples < FEWEST:
        raise InputError(f"num_samples is {num_samples}: at least {FEWEST} are needed to compare samples with data")
    if num_flow is not None and num_flow < 0:
        raise InputError(f"num_flow is {num_flow}: it is 0 for none, or a number of test examples")
    if scales and not run.config.data.conditional:
        raise InputError(f"guidance needs a condition: the run in {run.folder.path} has none; train with --conditional")


def read_evaluation(run: Run) -> Evaluation:
    """The evaluation that lies in a run's folder.

    Raises:
        InputError: if there is none, or it is damaged.
    """

    def parse(values: dict[str, Any]) -> Evaluation:
        density = values["density"]
        return Evaluation(
            bound=HeldOutBound(**_tuples(values["bound"])),
            density=None if density is None else HeldOutDensity(**_tuples(density)),
            baselines=[Baseline(**baseline) for baseline in values["baselines"]],
            diagnosis=Diagnosis.from_dict(values["diagnosis"]),
            quality=SampleQuality.from_dict(values["quality"]),
            trade_offs=[Point.from_dict(point) for point in values["trade_offs"]],
            findings=values["findings"],
            pictures=[(caption, name) for caption, name in values["pictures"]],
            weights=values["weights"],
        )

    return read_figures(run, parse)


def to_text(evaluation: Evaluation) -> str:
    """The figures as lines for a console."""
    quality = evaluation.quality
    lines = [
        *aligned([("", "bits/dim", ""), *figure_rows(evaluation)]),
        "",
        quality.caption,
        *aligned([quality.header, *quality.rows()]),
        "",
    ]
    if evaluation.trade_offs:
        lines += [*aligned([HEADER, *rows(evaluation.trade_offs, quality.held_out)]), ""]
    return "\n".join([*lines, *(f"- {finding}" for finding in evaluation.findings)])


def figure_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Name, bits/dim with standard error, and what the number is: the model, its terms, and the baselines."""
    bound = evaluation.bound
    terms = [
        ("  reconstruction", figure_text(*bound.reconstruction), "of the data from the least noisy latent"),
        ("  prior", figure_text(*bound.prior), "of the noisiest latent against the standard normal"),
        ("  diffusion", figure_text(*bound.diffusion), "of all steps between them"),
    ]
    if bound.normalisation:
        terms.append(("  normalisation", figure_text(bound.normalisation), "the units of the stored data"))
    total = f"{bound.kind}, {bound.num_examples:,} examples, {bound.num_times} calls each"
    return [
        ("test", figure_text(*bound.total), total),
        *terms,
        *(evaluation.density.rows() if evaluation.density else ()),
        *((b.name, figure_text(b.bits_per_dim, b.standard_error), b.kind) for b in evaluation.baselines),
    ]


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _steps(num_samples: int, plan: generate.Plan) -> int:
    """How often `generate` reports progress: the start and every step of each batch."""
    return -(-num_samples // BATCH) * (len(plan.times) + 1)


def _baselines(dataset: Dataset, num_examples: int | None) -> list[Baseline]:
    offset = dataset.encoding.offset if isinstance(dataset.encoding, Levels) else 0
    flat = [
        dataset.examples[indices].reshape(len(indices), -1) - offset
        for indices in (dataset.train, dataset.validation, dataset.test[:num_examples])
    ]
    return baselines(*flat, num_levels=dataset.encoding.num_levels)


def _pictures(
    run: Run, dataset: Dataset, samples: np.ndarray, found: Profile, folder: Path, seed: int
) -> list[tuple[str, str]]:
    extremes = dataset.encoding.value_range
    many = len(samples) if len(dataset.shape) == 1 else SHOWN
    sample_grid(folder / "samples.png", samples[:many], extremes, data=dataset.examples[dataset.test[:many]])
    denoising_strip(folder / "path.png", generate.path(run, many if many > SHOWN else 4, seed=seed), extremes)
    bound_by_time(folder / "bound.png", found.gamma, found.bits, found.errors)
    training_curve(folder / "training.png", **training_columns(run))
    pictures = [
        ("Samples", "samples.png"),
        ("From noise to data", "path.png"),
        ("Training and held-out bits per dimension", "training.png"),
        ("Where the bound's diffusion term comes from (validation examples)", "bound.png"),
    ]
    if len(dataset.shape) > 1:
        sample_grid(folder / "data.png", dataset.examples[dataset.test[:SHOWN]], extremes)
        pictures.insert(1, ("Held-out data, for comparison", "data.png"))
    return pictures


def _trade_off_pictures(points: list[Point], floor: Quality, folder: Path) -> list[tuple[str, str]]:
    pictures = []
    by_call, guided = ([point for point in points if (point.scale is None) == wanted] for wanted in (True, False))
    if by_call:
        draw_calls(folder / "calls.png", by_call, floor)
        pictures.append(("Quality against network calls", "calls.png"))
    if guided:
        draw_scales(folder / "guidance.png", guided, floor)
        pictures.append(("Fidelity and variety by scale of guidance", "guidance.png"))
    return pictures
