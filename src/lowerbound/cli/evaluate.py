"""`lowerbound evaluate RUN`: how good a run is."""

from dataclasses import dataclass, field
from functools import partial

from lowerbound.cli.device import DeviceName
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import ProcessesOption, RunPath, check_counts, check_effect, parse
from lowerbound.cli.progress import say, stage
from lowerbound.cli.reading import DataReading
from lowerbound.cli.reverse import check_reverse, with_variance
from lowerbound.cli.together import A_DAY, first_then_all, join
from lowerbound.data import Reading
from lowerbound.errors import InputError
from lowerbound.evaluate.evaluation import evaluate
from lowerbound.evaluate.folder import Evaluation, evaluation_folder
from lowerbound.evaluate.likelihood import scored
from lowerbound.evaluate.other import folder_name, open_evaluated
from lowerbound.evaluate.settings import Settings
from lowerbound.machine.processor import at_once
from lowerbound.report.console import event_text, summary
from lowerbound.run import open_run
from lowerbound.scoring.bound import fit_threads_to
from lowerbound.settings import Everyday

EFFECTIVE = (
    "data",
    "quick",
    "anew",
    "num_samples",
    "num_examples",
    "features",
    "inception_weights",
    "flow.num_importance",
    "with_baselines",
    "seeds",
    "seed",
    "device",
    "processes",
    "json",
)
"""The options that have an effect on a relative."""


@dataclass(frozen=True)
class Evaluated:
    """What is evaluated."""

    run: RunPath
    data: Everyday[str | None] = None
    """The run's data, if they have moved; or other data of the same kind, all of whose examples are then scored, with the
    results in a folder of their own."""


@dataclass(frozen=True)
class Options(Settings, Evaluated):
    """Measure the held-out bits/dim of a run, in three terms with standard errors, and the quality of its samples.

    It reads the test split and works part by part: each part says what it will cost, and its figures are printed and kept in
    RUN/evaluation as soon as they are known. A repeated command computes only what is not there yet for the same weights,
    data and settings. A part that cannot be computed is left out, with the reason.

    Example: lowerbound evaluate runs/digits --quick
    """

    reading: DataReading = field(default_factory=Reading)
    device: Everyday[DeviceName] = "auto"
    processes: ProcessesOption = 1
    json: JsonOption = False


def main(arguments: list[str]) -> Evaluation | None:
    """Run the verb."""
    options = parse(Options, "evaluate", arguments)
    check_counts(options, "processes")
    check_reverse(options.reverse, options.num_steps)
    processes, device = join("evaluate", options.processes, arguments, options.device, A_DAY, run=options.run)
    run = open_run(options.run, device)
    check_effect(options, Options(options.run), run, EFFECTIVE)
    dataset, own = open_evaluated(run, options.data, options.reading)
    if options.seeds > 1 and (options.quick or not own):
        other = "--quick" if options.quick else "other --data than the run's own"
        raise InputError(f"--seeds {options.seeds} has no effect with {other}: leave out one of the two")
    if options.features != "own" and (options.quick or not own):
        other = "--quick" if options.quick else "other --data than the run's own"
        raise InputError(f"--features {options.features} has no effect with {other}: leave out one of the two")
    variance = {"conditional": True, "dataset": dataset if own else None}
    run = first_then_all(processes, partial(with_variance, run, options.reverse, **variance))
    if not own and processes.is_first:
        print(
            f"{dataset.spec.name} is not the data of this run: all of its {len(dataset.test):,} examples are scored\n"
        )
    few = dataset.some("test", at_once(dataset.spec.num_dims))
    fit_threads_to(run, dataset.examples[few], scored(run, dataset, few, options.seed)["cond"])
    showing = {"follow": lambda event: say(event_text(event)), "stage": stage}
    evaluation = evaluate(run, dataset, options, own=own, processes=processes, **showing)
    if not processes.is_first:
        return None
    say(summary(evaluation))
    print(f"\npictures and figures: {evaluation_folder(run, None if own else folder_name(dataset))}")
    if own:
        print(f"next: lowerbound {'evaluate' if options.quick else 'report'} {options.run}")
    return evaluation
