"""`lowerbound evaluate RUN`: how good a run is."""

from dataclasses import dataclass

from lowerbound.cli.options import DeviceName, RunPath, check_effect, parse, pick_device
from lowerbound.cli.progress import say, stage
from lowerbound.cli.reverse import check_reverse, with_variance
from lowerbound.evaluate.evaluation import evaluate
from lowerbound.evaluate.folder import evaluation_folder
from lowerbound.evaluate.likelihood import scored
from lowerbound.evaluate.other import folder_name, open_evaluated
from lowerbound.evaluate.settings import Settings
from lowerbound.everyday import Everyday
from lowerbound.report.console import event_text, summary
from lowerbound.run import open_run
from lowerbound.scoring.bound import BATCH_SIZE, fit_threads_to

EFFECTIVE = (
    "data",
    "quick",
    "anew",
    "num_samples",
    "num_examples",
    "flow.num_importance",
    "with_baselines",
    "seed",
    "device",
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

    device: Everyday[DeviceName] = "auto"


def main(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "evaluate", arguments)
    check_reverse(options.reverse, options.num_steps)
    run = open_run(options.run, pick_device(options.device))
    check_effect(options, Options(options.run), run, EFFECTIVE)
    dataset, own = open_evaluated(run, options.data)
    run = with_variance(run, options.reverse, conditional=True, dataset=dataset if own else None)
    if not own:
        print(
            f"{dataset.spec.name} is not the data of this run: all of its {len(dataset.test):,} examples are scored\n"
        )
    few = dataset.test[:BATCH_SIZE]
    fit_threads_to(run, dataset.examples[few], scored(run, dataset, few, options.seed)["cond"])
    evaluation = evaluate(run, dataset, options, own=own, follow=lambda event: say(event_text(event)), stage=stage)
    say(summary(evaluation))
    print(f"\npictures and figures: {evaluation_folder(run, None if own else folder_name(dataset))}")
    if own:
        print(f"next: lowerbound {'evaluate' if options.quick else 'report'} {options.run}")
