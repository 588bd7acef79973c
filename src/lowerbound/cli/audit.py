"""`lowerbound audit RUN`: ask of a run's density whether it is one."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from lowerbound.auditing import Audit, audit
from lowerbound.auditing.audit import MINUTES
from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import CheckFailedError, JsonOption
from lowerbound.cli.options import RunPath, check_counts, parse
from lowerbound.cli.reading import DataReading
from lowerbound.data import Reading
from lowerbound.errors import InputError
from lowerbound.files.records import to_json
from lowerbound.files.whole import check_folder, write_file
from lowerbound.report.audit import audit_page
from lowerbound.run import open_run
from lowerbound.run.examples import check_examples, read_for
from lowerbound.settings import Everyday

WRITE = {".html": audit_page, ".json": to_json}
"""What is written, by the suffix of the file."""


@dataclass(frozen=True)
class Options:
    """Check that the density under a run's probability flow is one: that it integrates to one, that the flow's samples
    follow it, that a finer solver changes nothing, that the bound is below it, and that it is a function of the point alone.

    Each check reports what was measured, with its error, and passes, fails, or can't tell, with what an answer would take.
    It is for continuous data; in more than about ten dimensions the integral can seldom be estimated. Of discrete data with
    65,536 states at most, such as 4 x 4 bits, the masses of all states are summed; of more, such as digits, the mass is
    only held against those of independent columns, above which no mass is.

    Example: lowerbound audit runs/moons -o audit.html
    """

    run: RunPath
    data: Everyday[str | None] = None
    """Test data, whose values are checked to be real numbers that hardly ever repeat."""
    out: Annotated[Everyday[Path | None], tyro.conf.arg(aliases=["-o"])] = None
    """The file to write the checks and their results to: a page, .html, or .json."""
    num_draws: Everyday[int] = 1000
    """The number of draws in the importance sampling that integrates the density."""
    num_samples: Everyday[int] = 500
    """The number of samples of the flow that are compared with the density."""
    minutes: Everyday[float] = MINUTES
    """About how long the audit may take, on one core: where a density is dear, fewer draws and samples are made than asked
    for, and the last line says how many."""
    reading: DataReading = field(default_factory=Reading)
    seed: Everyday[int] = 0
    """The random seed of draws and samples."""
    device: Everyday[DeviceName] = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> Audit:
    """Run the verb; its exit status says whether a check failed."""
    options = parse(Options, "audit", arguments)
    check_counts(options, "num_draws", "num_samples")
    if not 0 < options.minutes < math.inf:
        raise InputError(f"--minutes is {options.minutes}: it must be positive and finite")
    if options.out is not None and options.out.suffix not in WRITE:
        raise InputError(f"--out {options.out}: give a name that ends in {' or '.join(WRITE)}")
    if options.out is not None:
        check_folder(options.out)
    run = open_run(options.run, pick_device(options.device))
    data = None
    if options.data is not None:
        examples = read_for(run, options.data, options.reading)
        check_examples(run, examples.values, examples.name)
        data = examples.values
    settings = {name: getattr(options, name) for name in ("num_draws", "num_samples", "minutes", "seed")}
    report = audit(run, data, **settings)
    print(report)
    if options.out is not None:
        write_file(options.out, WRITE[options.out.suffix](report).encode())
        print(f"questions and answers: {options.out}")
    failed = [check.name for check in report.checks if check.verdict == "fail"]
    if failed:
        raise CheckFailedError(f"the density of {options.run} is none: see {', '.join(failed)}", report)
    return report
