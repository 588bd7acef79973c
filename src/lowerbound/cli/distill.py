"""`lowerbound distill RUN`: a run whose few steps lead where many of RUN's do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from lowerbound.cli.devices import DeviceName, pick_device
from lowerbound.cli.flags import check_counts, check_minutes
from lowerbound.cli.options import RunPath, parse
from lowerbound.data import Dataset
from lowerbound.denoiser import Denoiser
from lowerbound.errors import InputError
from lowerbound.evaluate.features import UPDATES, feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.quality import frechet_distance
from lowerbound.rounding import figure_text
from lowerbound.run import Run, check_levels, open_denoiser
from lowerbound.samplers import DDIM, DPMSolver
from lowerbound.sampling.plan import Plan
from lowerbound.training.distill import check_empty, distill, student_times, teacher_times, write_student
from lowerbound.training.folder import RunFolder
from lowerbound.training.stretch import open_workspace
from lowerbound.weights import HASH

DEFAULT_MINUTES = 2.0
NUM_SAMPLES = 500


@dataclass(frozen=True)
class Options:
    """Distil a run into one that draws samples in a few network calls.

    The new run starts from the old one's weights and learns to make in one step what the old one makes in several. `sample`
    draws from it in its own steps; it has no likelihood, and it is no better than the run that it comes from. At the end the
    samples of both are compared with the data. Interrupted, it goes on when the command is repeated.

    Example: lowerbound distill runs/digits --steps 2 --minutes 2 --out runs/digits-2-steps
    """

    run: RunPath
    steps: int = 2
    """The number of steps of the new run, one network call each, 1 to 8: the fewer, the more there is to learn."""
    minutes: float | None = None
    """Train for this many minutes; for two if neither this nor --updates is given."""
    updates: int | None = None
    """Train for this many updates: the same seed and updates give the same run."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The new run's folder; RUN-2-steps, or whatever their number, if not given."""
    compare: bool = True
    """Compare the samples of both runs with the data at the end."""
    seed: int = 0
    """The random seed of noise, conditions and data order."""
    restart: bool = False
    """Give up what an interrupted training has learned, and begin again."""
    fall_back: bool = False
    """If the newest checkpoint of an interrupted training is damaged, go on from the one before it."""
    device: DeviceName = "auto"


def run(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "distill", arguments)
    if options.minutes is not None and options.updates is not None:
        raise InputError("--minutes and --updates were both given: give one of the two")
    check_counts(options, "steps", "updates")
    check_minutes(options.minutes)
    minutes = DEFAULT_MINUTES if options.minutes is None and options.updates is None else options.minutes
    model = open_denoiser(options.run, pick_device(options.device))
    check_levels(model, "distillation")
    out = RunFolder(options.out or options.run.with_name(f"{options.run.resolve().name}-{options.steps}-steps"))
    check_empty(out)
    dataset = model.open_dataset()
    dataset.spec.check_complete("distill")
    settings = {"teacher": model.metadata.get(HASH, ""), "steps": options.steps, "seed": options.seed}
    path = out.path.resolve()
    path = path.with_name(f"{path.name}.training")
    with open_workspace(path, settings, restart=options.restart, fall_back=options.fall_back) as workspace:
        student = distill(
            model.denoiser,
            model.config,
            dataset,
            options.steps,
            updates=options.updates,
            minutes=minutes,
            seed=options.seed,
            workspace=workspace,
        )
        length = f"{minutes} minutes" if options.updates is None else f"{options.updates} updates"
        told = {"distilled_from": str(options.run), "seed": str(options.seed), "length": length}
        write_student(student, options.steps, model.config, model.spec, out, told, workspace.folder.log)
    if options.compare:
        print("\n".join(_compare(model, student, dataset, options.steps)))
    print(f"distilled: {out.model}\nnext: lowerbound sample {out.path}")


def _compare(model: Run, student: Denoiser, dataset: Dataset, num_steps: int) -> list[str]:
    """The Frechet distance to the data of the student's samples and the teacher's, from the same noise, as lines.

    Features of a classifier tell whether samples are of the right kind, principal components whether they are sharp.
    """
    with tqdm(total=UPDATES, desc="classifier of the data", leave=False, disable=None) as bar:
        classifier = feature_classifier(dataset, model.folder.path, bar.update)
    spaces = {str(space): space for space in (feature_space(dataset, kind) for kind in (classifier, None))}
    judges = [Judge.of(dataset, space, NUM_SAMPLES) for space in spaces.values()]
    few, many = (times(student.schedule, dataset.spec, num_steps) for times in (student_times, teacher_times))
    settings = {
        "the run, in the same steps": (model.denoiser, Plan(DPMSolver(), few)),
        "distilled": (student, Plan(DDIM(), few)),
        "the run, solved well": (model.denoiser, Plan(DPMSolver(), many)),
    }
    lines = [f"Frechet distance of {len(judges[0].held_out)} samples to the training data, in", *spaces]
    for name, (denoiser, plan) in settings.items():
        samples, num_calls = draw(model.around(denoiser), dataset, len(judges[0].held_out), plan)
        x = dataset.spec.encoding.encode(samples)
        lines.append(_line(f"{name}, calls: {num_calls:g}", judges, [judge.features(x) for judge in judges]))
    return [*lines, _line("as many held-out examples", judges, [judge.held_out for judge in judges])]


def _line(name: str, judges: list[Judge], features: list[np.ndarray]) -> str:
    found = [frechet_distance(mine, judge.references) for mine, judge in zip(features, judges, strict=True)]
    return f"  {name:<40}" + "".join(f"{figure_text(*each.figure):>18}" for each in found)
