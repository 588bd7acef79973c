"""The evaluation of a run: every figure and every picture, in the run's own folder."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound import generate
from lowerbound.data import Dataset, Levels
from lowerbound.errors import InputError
from lowerbound.evaluate.baselines import Baseline, baselines
from lowerbound.evaluate.bound import HeldOutBound, Profile, held_out_bound, profile
from lowerbound.evaluate.classes import classes
from lowerbound.evaluate.density import HeldOutDensity, held_out_density, num_flow_examples
from lowerbound.evaluate.diagnosis import Diagnosis, diagnose
from lowerbound.evaluate.report import figure_text
from lowerbound.evaluate.samples import neighbours
from lowerbound.files import write_file
from lowerbound.pictures import bound_by_time, denoising_strip, sample_grid, training_curve
from lowerbound.run import Run
from lowerbound.score import Flow

SHOWN = 64
INTERVALS = 24
MAX_REFERENCES = 20_000

Stage = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Opens a progress display of a name and a total; what it gives is called with the number of units done."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Arguments:
        bound: bits/dim on the test split.
        density: the probability flow's beside it, on the first test examples; None if it was left out or could not be
            followed.
        baselines: of the same examples; empty if they were left out.
        diagnosis: of the noise levels and the denoiser.
        findings: of the diagnosis and about samples, in words.
        pictures: captions and files, relative to the evaluation's folder.
        weights: what model.safetensors says of its weights.
    """

    bound: HeldOutBound
    density: HeldOutDensity | None
    baselines: list[Baseline]
    diagnosis: Diagnosis
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
        with_baselines: whether to fit the likelihood yardsticks.
        seed: of times, noise and samples.
        stage: shows progress.
    """
    if num_samples < 2:
        raise InputError(f"num_samples is {num_samples}: at least two are needed to compare samples with data")
    if num_flow is None:
        num_flow = min(num_flow_examples(dataset), len(dataset.test[:num_examples]))
    if num_flow < 0:
        raise InputError(f"num_flow is {num_flow}: it is 0 for none, or a number of test examples")
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
    with stage("samples", _calls(num_samples)) as progress:
        cond = dataset.cond(np.resize(dataset.train, num_samples)) if run.config.data.conditional else None
        samples = generate.generate(run, num_samples, seed=seed, cond=cond, progress=progress)
    fitted: list[Baseline] = []
    with stage("baselines", 1) as progress:
        if with_baselines:
            fitted = _baselines(dataset, num_examples)
        progress(1)
    with stage("diagnosis", INTERVALS) as progress:
        found = profile(run, dataset, split="validation", num_bins=INTERVALS, seed=seed, progress=progress)
        diagnosis = diagnose(run, dataset, found, bound, fitted)
    with stage("comparison with the data", 2) as progress:
        standing = failure if density is None else [density.finding()]
        findings = diagnosis.findings() + standing + _compare(dataset, samples, seed)
        progress(1)
        pictures = _pictures(run, dataset, samples, found, folder, seed)
        progress(1)
    evaluation = Evaluation(bound, density, fitted, diagnosis, findings, pictures, run.metadata)
    write_file(folder / "evaluation.json", (json.dumps(asdict(evaluation), indent=1) + "\n").encode())
    return evaluation


def evaluation_folder(run: Run) -> Path:
    """Where an evaluation's files are."""
    return run.folder.path / "evaluation"


def read_evaluation(run: Run) -> Evaluation:
    """The evaluation that lies in a run's folder.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    path = evaluation_folder(run) / "evaluation.json"
    try:
        values = json.loads(path.read_text())
        density = values["density"]
        return Evaluation(
            bound=HeldOutBound(**_tuples(values["bound"])),
            density=None if density is None else HeldOutDensity(**_tuples(density)),
            baselines=[Baseline(**baseline) for baseline in values["baselines"]],
            diagnosis=Diagnosis.from_dict(values["diagnosis"]),
            findings=values["findings"],
            pictures=[(caption, name) for caption, name in values["pictures"]],
            weights=values["weights"],
        )
    except FileNotFoundError as error:
        raise InputError(
            f"there is no evaluation in {run.folder.path} yet: lowerbound evaluate {run.folder.path}"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({error}): lowerbound evaluate {run.folder.path} writes it anew"
        ) from error


def to_text(evaluation: Evaluation) -> str:
    """The figures as lines for a console."""
    rows = [("", "bits/dim", ""), *figure_rows(evaluation)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    table = [f"{name:<{widths[0]}}  {value:>{widths[1]}}  {kind}".rstrip() for name, value, kind in rows]
    return "\n".join([*table, "", *(f"- {finding}" for finding in evaluation.findings)])


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


def _calls(num_samples: int) -> int:
    """How often `generate` reports progress: the start and every step of each batch."""
    return -(-num_samples // 64) * (generate.DEFAULT_STEPS + 1)


def _baselines(dataset: Dataset, num_examples: int | None) -> list[Baseline]:
    offset = dataset.encoding.offset if isinstance(dataset.encoding, Levels) else 0
    flat = [
        dataset.examples[indices].reshape(len(indices), -1) - offset
        for indices in (dataset.train, dataset.validation, dataset.test[:num_examples])
    ]
    return baselines(*flat, num_levels=dataset.encoding.num_levels)


def _compare(dataset: Dataset, samples: np.ndarray, seed: int) -> list[str]:
    def flat(values: np.ndarray) -> np.ndarray:
        return dataset.encoding.encode(values).flatten(1).numpy()

    train, test = dataset.train[:MAX_REFERENCES], dataset.test[:MAX_REFERENCES]
    drawn, known, held_out = flat(samples), flat(dataset.examples[train]), flat(dataset.examples[test])
    findings = neighbours(drawn, held_out, known, seed).findings()
    if dataset.labels is not None:
        found = classes(
            drawn,
            known,
            dataset.labels[train],
            held_out,
            dataset.labels[test],
            class_names=dataset.class_names,
            seed=seed,
        )
        findings += found.findings()
    return findings


def _pictures(
    run: Run, dataset: Dataset, samples: np.ndarray, found: Profile, folder: Path, seed: int
) -> list[tuple[str, str]]:
    extremes = dataset.encoding.value_range
    many = len(samples) if len(dataset.shape) == 1 else SHOWN
    sample_grid(folder / "samples.png", samples[:many], extremes, data=dataset.examples[dataset.test[:many]])
    denoising_strip(folder / "path.png", generate.path(run, many if many > SHOWN else 4, seed=seed), extremes)
    bound_by_time(folder / "bound.png", found.gamma, found.bits, found.errors)
    training_curve(folder / "training.png", **_curve(run))
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


def _curve(run: Run) -> dict[str, np.ndarray]:
    """The log's columns, steps averaged in at most 400 groups."""
    records = run.folder.read_log()
    steps = [record for record in records if "loss" in record]
    checks = [record for record in records if "held_out_bits_per_dim" in record]
    groups = np.array_split(np.arange(len(steps)), max(1, min(400, len(steps))))

    def column(name: str) -> np.ndarray:
        values = np.array([record[name] for record in steps], dtype=np.float64)
        return np.array([values[group].mean() for group in groups if len(group)])

    def check(name: str) -> np.ndarray:
        return np.array([record[name] for record in checks], dtype=np.float64)

    return {
        "steps": column("step"),
        "loss": column("loss"),
        "minutes": column("seconds") / 60,
        "held_out_steps": check("step"),
        "held_out": check("held_out_bits_per_dim"),
        "held_out_errors": check("standard_error"),
    }
