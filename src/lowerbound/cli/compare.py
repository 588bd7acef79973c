"""`lowerbound compare DATA`: the family at an equal budget."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import check_counts, minutes_of, parse
from lowerbound.cli.progress import stage
from lowerbound.cli.train import located
from lowerbound.data import DataConfig, describe, open_dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.compare import Comparison, Contest, compare
from lowerbound.report.comparison import HEADER, answers, remarks, rows, write_comparison_page
from lowerbound.report.console import aligned
from lowerbound.settings import Everyday
from lowerbound.words.counts import counted, duration

DEFAULT_MINUTES = 10.0


@dataclass(frozen=True)
class Compared:
    """The data that models are compared on, and the folder of the comparison."""

    data: tyro.conf.OmitArgPrefixes[DataConfig]
    out: Annotated[Everyday[Path | None], tyro.conf.arg(aliases=["-o"])] = None
    """The folder of the comparison, with a run in it for each model; runs/compare-NAME if not given."""


@dataclass(frozen=True)
class Options(Contest, Compared):
    """Train the whole family of models on DATA, each for as long as the others, and compare them in one table and one page.

    It says of each whether its bits/dim are exact, a bound, or not there, how good its samples are, and what they cost,
    and answers two claims: does diffusion give a better likelihood than the autoregressive model, and better samples than
    the adversarial network? With --seeds 3 each model is trained three times, and the answers hold for a further training.
    Repeating the command goes on where it stopped.

    Example: lowerbound compare digits --minutes 2
    """

    device: Everyday[DeviceName] = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> Comparison:
    """Run the verb."""
    options = parse(Options, "compare", arguments)
    if options.minutes is not None and options.steps is not None:
        raise InputError("--minutes and --steps are two budgets: give one of them")
    minutes = minutes_of(options, "steps", DEFAULT_MINUTES)
    check_counts(options, "num_examples", "num_samples", "seeds")
    if options.data.conditional:
        raise InputError("the family is compared without conditions: leave out --conditional")
    data = located(options.data)
    dataset = open_dataset(data)
    out = options.out or Path("runs") / f"compare-{Path(options.data.source).stem}"
    print(describe(dataset))
    contest = replace(options, minutes=minutes)
    if minutes is not None and len(contest.models) * contest.seeds > 1:
        trainings = counted(len(contest.models) * contest.seeds, "training")
        together = duration(60 * minutes * len(contest.models) * contest.seeds)
        print(f"{trainings} of {duration(60 * minutes)} each, {together} in all, and what judges them")
    comparison = compare(dataset, data, out, contest, device=pick_device(options.device), stage=stage)
    page = write_comparison_page(comparison, out)
    print("\n".join(["", *aligned([HEADER, *rows(comparison)]), "", *answers(comparison), *remarks(comparison)]))
    print(f"\nthe page: {page}")
    return comparison
