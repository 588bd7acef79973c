"""`lowerbound distill RUN`: a run whose few steps lead where many of RUN's do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lowerbound.cli.device import DeviceName
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import ProcessesOption, RunPath, check_counts, minutes_of, parse
from lowerbound.cli.progress import stage
from lowerbound.cli.together import join
from lowerbound.data import Dataset
from lowerbound.denoiser import Denoiser
from lowerbound.evaluate.features import UPDATES, feature_classifier, feature_space
from lowerbound.evaluate.judge import Judge, draw
from lowerbound.evaluate.quality import Split, frechet_distance
from lowerbound.files.records import Measured
from lowerbound.files.weights import HASH
from lowerbound.files.whole import check_new
from lowerbound.run import Run, check_levels, open_denoiser
from lowerbound.samplers import DDIM, DPMSolver
from lowerbound.sampling.plan import Plan
from lowerbound.training.distill import distill, student_times, teacher_times, write_student
from lowerbound.training.folder import RunFolder
from lowerbound.training.stretch import open_workspace

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
    processes: ProcessesOption = 1
    device: DeviceName = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any] | None:
    """Run the verb."""
    options = parse(Options, "distill", arguments)
    minutes = minutes_of(options, "updates", DEFAULT_MINUTES)
    check_counts(options, "steps", "processes")
    processes, device = join("distill", options.processes, arguments, options.device, run=options.run)
    run = open_denoiser(options.run, device)
    check_levels(run, "distillation")
    out = RunFolder(options.out or options.run.with_name(f"{options.run.resolve().name}-{options.steps}-steps"))
    check_new(out.path)
    dataset = run.open_dataset()
    dataset.spec.check_complete("distill")
    settings = {"teacher": run.metadata.get(HASH, ""), "steps": options.steps, "seed": options.seed}
    path = out.path.resolve()
    path = path.with_name(f"{path.name}.training")
    going_on = {"restart": options.restart, "fall_back": options.fall_back}
    with open_workspace(path, settings, **going_on, processes=processes) as workspace:
        student = distill(
            run.denoiser,
            run.config,
            dataset,
            options.steps,
            updates=options.updates,
            minutes=minutes,
            seed=options.seed,
            workspace=workspace,
            processes=processes,
        )
        if not processes.is_first:
            return None
        length = f"{minutes} minutes" if options.updates is None else f"{options.updates} updates"
        metadata = {"distilled_from": str(options.run), "seed": str(options.seed), "length": length}
        write_student(student, options.steps, run.config, run.spec, out, metadata, workspace.folder.log)
    distances = {}
    if options.compare:
        distances = _compare(run, student, dataset, options.steps)
        print("\n".join(_lines(distances)))
    print(f"distilled: {out.model}\nnext: lowerbound sample {out.path}")
    return {"frechet_distance": distances, "out": out.path}


def _compare(run: Run, student: Denoiser, dataset: Dataset, num_steps: int) -> dict[str, dict[str, Measured]]:
    """The Frechet distance to the data of the student's samples and the teacher's, from the same noise, in each space.

    Features of a classifier tell whether samples are of the right kind, principal components whether they are sharp.
    """
    with stage("classifier of the data", UPDATES) as progress:
        classifier = feature_classifier(dataset, run.folder.path, progress)
    spaces = {str(space): space for space in (feature_space(dataset, network) for network in (classifier, None))}
    judges = [Judge.of(dataset, space, NUM_SAMPLES) for space in spaces.values()]
    num_samples = len(judges[0].held_out)
    student_grid = student_times(student.schedule, dataset.spec, num_steps)
    teacher_grid = teacher_times(student.schedule, dataset.spec, num_steps)
    rivals = {
        "the run, in the same steps": (run.denoiser, Plan(DPMSolver(), student_grid)),
        "distilled": (student, Plan(DDIM(), student_grid)),
        "the run, solved well": (run.denoiser, Plan(DPMSolver(), teacher_grid)),
    }
    features = {}
    for name, (denoiser, plan) in rivals.items():
        samples, num_calls = draw(run.around(denoiser), dataset, num_samples, plan)
        x = dataset.spec.encoding.encode(samples)
        features[f"{name}, calls: {num_calls:g}"] = [judge.features(x) for judge in judges]
    features[f"as many held-out examples, {num_samples}"] = [judge.held_out for judge in judges]
    return {
        name: {
            space: Measured(*frechet_distance(Split(each, 0), Split(judge.references, 1)).figure)
            for space, each, judge in zip(spaces, of_each, judges, strict=True)
        }
        for name, of_each in features.items()
    }


def _lines(distances: dict[str, dict[str, Measured]]) -> list[str]:
    """The comparison as people read it."""
    spaces = next(iter(distances.values()))
    rows = [f"  {name:<40}" + "".join(f"{each!s:>18}" for each in row.values()) for name, row in distances.items()]
    return ["Frechet distance of samples to the training data, in", *spaces, *rows]
