"""`lowerbound score RUN DATA`: one likelihood per example."""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import tyro
from tqdm import tqdm

from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import DataName, RunPath, check_counts, check_effect, parse
from lowerbound.cli.progress import say_weakness
from lowerbound.cli.reading import DataReading
from lowerbound.cli.reverse import check_reverse, with_variance
from lowerbound.data import Examples, Reading
from lowerbound.data.memory import check_memory
from lowerbound.errors import InputError
from lowerbound.files.arrow import write_table
from lowerbound.files.records import Measured
from lowerbound.files.shards import Shard, finished_part, part_facts, write_part
from lowerbound.files.tables import check_table
from lowerbound.files.whole import file_hash
from lowerbound.machine.processor import at_once
from lowerbound.models import Effort
from lowerbound.reverse import ReverseVariance
from lowerbound.run import Run, open_run
from lowerbound.run.examples import check_examples, conditions, read_for
from lowerbound.scoring import (
    DensityScores,
    Flow,
    Scores,
    fit_threads_to,
    flow_batch_size,
    kind_of,
    score,
    score_columns,
    score_density,
)
from lowerbound.settings import Everyday
from lowerbound.tails import mean_of_draws
from lowerbound.words.counts import counted
from lowerbound.words.rounding import figure_text

EFFECTIVE = ("out", "split", "flow.num_importance", "batch_size", "shard", "seed", "device", "json")
"""The options that have an effect on a relative."""


@dataclass(frozen=True)
class Options:
    """Compute one likelihood per example, a bound with its terms, and write them as a table of one row per example.

    DATA is whatever `train` takes, read and normalised as the run's own data; one example is enough. A row depends on
    the example, its number and the seed alone. Of a conditional run, the examples' labels or condition vectors are given
    where they have them.

    Example: lowerbound score runs/digits digits --split test -o scores.csv
    """

    run: RunPath
    data: DataName
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The .csv, .tsv, .parquet or .feather file to write. In text, a name that begins like a formula, with =, +, - or @,
    gets an apostrophe in front."""
    split: Everyday[Literal["train", "validation", "test"] | None] = None
    """Score one split, as training makes it; all examples if not given."""
    num_times: Everyday[int | None] = None
    """The number of network calls per example; if not given 16 to 256, the more the smaller an example is."""
    num_steps: int | None = None
    """Compute the bound of a chain of this many steps; if not given, the bound in continuous time."""
    reverse: ReverseVariance = "lower"
    """The chain's reverse variance: the posterior's own (lower), DDPM's beta (upper), the best for this model (analytic;
    measured once on training data and kept in the run folder), or the one that the network has learned."""
    ode: Everyday[bool] = False
    """Compute the density under the probability flow (for discrete data a bound by it) instead of the chain's bound."""
    by: Literal["column", "noise"] | None = None
    """Divide each example's nats, in further columns that add up to them: by column, what each entry of the example adds,
    empty where it is missing; or by noise, what the decoder, each range of gamma and the prior add."""
    flow: tyro.conf.OmitArgPrefixes[Flow] = field(default_factory=Flow)
    """Settings of the probability flow."""
    refine: bool = False
    """Follow each example's flow again at a tenth of the tolerance: the table says how much its figure changes, and flags it
    where that is more than the solver's own estimate of its error."""
    batch_size: int | None = None
    """The number of examples at a time; it changes speed and memory only. If not given 128, more of small ones, for the
    flow fewer large ones."""
    shard: str | None = None
    """Score only one of several parts of the examples, in order, such as 2/4, the second of four, into a file beside --out
    that `lowerbound merge` joins with the others. A part that is there already is not scored again."""
    reading: DataReading = field(default_factory=Reading)
    seed: Everyday[int] = 0
    """The random seed; a row depends only on the seed, its example and its number."""
    device: Everyday[DeviceName] = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "score", arguments)
    _check(options)
    shard = None if options.shard is None else Shard.of(options.shard)
    run = open_run(options.run, pick_device(options.device))
    check_effect(options, Options(options.run, options.data, options.out), run, EFFECTIVE)
    if run.is_denoiser:
        if not options.ode and options.flow != Flow():
            raise InputError(
                "--tolerance, --calls, --probes, --dequantizer, --importance and --max-calls have no effect without --ode"
            )
        options.flow.dequantizer_of(run)
    examples = read_for(run, options.data, options.reading)
    indices, out, write = examples.indices(options.split), options.out, write_table
    if shard is not None:
        batch_size = options.batch_size or (flow_batch_size(run) if options.ode else at_once(run.spec.num_dims))
        rows, out = shard.rows(len(indices), batch_size), shard.path(out)
        facts = part_facts(shard, rows, _facts(options, run, examples, indices, batch_size))
        if (finished := finished_part(out, facts)) is not None:
            check_finite(finished, out)
            print(f"part {shard} is there already, {counted(len(finished), 'score')}: {out}")
            return figures_of(finished, out)
        indices, write = indices[rows], partial(write_part, facts=facts)
    scores = _scores(options, run, examples, indices)
    names = {"name": [examples.files[i] for i in indices]} if examples.files else {}
    columns = {name: pa.array(column, from_pandas=True) for name, column in score_columns(run, scores).items()}
    table = pa.table({"example": indices, **names, **columns})  # what is NaN there has no value
    calls = f"{np.mean(scores.num_calls):.0f}"
    metadata = {"kind": scores.kind, "calls": calls, "run": str(options.run), "seed": str(options.seed)}
    write(out, table, metadata=metadata)
    check_finite(table, out)
    figures, kind, is_density = figures_of(table, out), kind_of(scores), isinstance(scores, DensityScores)
    print(f"{figures['bits_per_dim']} bits/dim, {kind}{f', {calls} calls' * is_density} per example")
    if isinstance(scores, DensityScores):
        print("\n".join(_doubts(scores, indices, options.flow)))
    print(f"{counted(len(indices), 'score')}: {out}")
    say_weakness(run)
    return {**figures, "kind": kind, "calls_per_example": float(np.mean(scores.num_calls))}


def _facts(options: Options, run: Run, examples: Examples, indices: np.ndarray, batch_size: int) -> dict[str, Any]:
    """All that a row of the table depends on, as JSON holds it."""
    names = ("num_times", "num_steps", "reverse", "ode", "by", "refine", "seed")
    return {
        "rows": len(indices),
        "weights": file_hash(run.folder.model)[:16],
        "data": examples.fingerprint(indices),
        "batch_size": batch_size,
        **{name: getattr(options, name) for name in names},
        **asdict(options.flow),
    }


def _check(options: Options) -> None:
    """Refuse, before anything is opened, what does not fit together."""
    check_counts(options, "num_times", "num_steps", "batch_size")
    if options.ode and (options.num_times, options.num_steps, options.reverse) != (None, None, "lower"):
        raise InputError(
            "--num-times, --num-steps and --reverse have no effect with --ode: the flow has no steps of a chain"
        )
    if options.ode and options.by is not None:
        raise InputError(f"--by {options.by} has no effect with --ode: it divides the terms of the bound")
    check_reverse(options.reverse, options.num_steps)
    if options.refine and not options.ode:
        raise InputError("--refine has no effect without --ode: there is no flow to follow again")
    check_table(options.out)


def _scores(options: Options, run: Run, examples: Examples, indices: np.ndarray) -> Scores | DensityScores:
    """The scores, in whichever way is asked for."""
    raw = examples.values
    if len(indices) < len(raw):
        what = f"{counted(len(indices), 'example')} of {examples.name}"
        check_memory(what, len(indices) * raw[0].nbytes, "score fewer of them at a time, by --shard")
        raw = raw[indices]
    check_examples(run, raw, examples.name)
    cond = conditions(run, examples, indices)
    fit_threads_to(run, raw, cond)
    run = with_variance(run, options.reverse, conditional=cond is not None)
    with tqdm(total=len(indices), desc="scoring", unit="example", disable=None) as bar:
        settings: dict[str, Any] = {"cond": cond, "numbers": indices, "seed": options.seed, "progress": bar.update}
        if options.ode:
            num_refined = len(indices) if options.refine else 0
            settings |= {"num_refined": num_refined, "batch_size": options.batch_size}
            return score_density(run, raw, options.flow, **settings)
        importance = 1 if run.is_denoiser else options.flow.num_importance
        effort = Effort(options.num_times, options.num_steps, options.reverse, importance)
        return score(run, raw, effort, batch_size=options.batch_size, by=options.by, **settings)


def check_finite(table: pa.Table, out: Path) -> None:
    """Refuse scores that are not finite but those of flows that were given up, which are flagged."""
    bits = table["bits_per_dim"].to_numpy()
    flags = np.array(table["flag"].to_pylist()) if "flag" in table.column_names else np.full(len(bits), "")
    bad = table["example"].to_numpy()[~np.isfinite(bits) & (flags == "")]
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(bits)} scores are not finite (example {bad[0]}); {out} holds them as they are: look for "
            "values far from all of the training data there"
        )


def figures_of(table: pa.Table, out: Path) -> dict[str, Any]:
    """What a table of scores comes to: the mean bits/dim of those that there are, with its error over them."""
    bits = table["bits_per_dim"].to_numpy()
    mean = Measured(*mean_of_draws(bits[np.isfinite(bits)]))
    return {"bits_per_dim": mean, "num_examples": len(table), "out": out}


def _doubts(scores: DensityScores, indices: np.ndarray, flow: Flow) -> list[str]:
    """What the flow's figures leave open, a line each: the largest of each kind, and the examples that are flagged."""
    finished = np.isfinite(scores.nats)
    solver, mismatch = scores.solver_error[finished].max(), scores.base_mismatch[finished]
    error = f"the solver's error is up to {solver:.2g} bits/dim by its own estimate"
    lines = [] if scores.correction is None else [_calibration(scores, flow)]
    if lines:
        error = f"the standard deviation from the flow followed to its end is up to {solver:.2g} bits/dim"
    least, most = f"{mismatch.min():+.2g}", f"{mismatch.max():+.2g}"
    lines.append(f"of an example {error}, and the base density's part {least}{'' if least == most else f' to {most}'}")
    reasons = {
        "unfinished": f"not followed to the end within {flow.max_calls} calls and left out of the mean: allow more by "
        "--max-calls, or a larger --tolerance",
        "moved": "changed at a tenth of the tolerance by more than the solver's own error: take a smaller --tolerance",
    }
    for flag, reason in reasons.items():
        flagged = indices[np.array(scores.flags) == flag]
        if len(flagged):
            more = f" and {len(flagged) - 5:,} more" if len(flagged) > 5 else ""
            plural = "s" * (len(flagged) > 1)
            lines.append(f"flagged {flag}: example{plural} {', '.join(map(str, flagged[:5]))}{more}, {reason}")
    return lines


def _calibration(scores: DensityScores, flow: Flow) -> str:
    """What few calls were corrected by, and how near they come to the flow that is followed to its end."""
    finished = np.isfinite(scores.nats)
    assert scores.correction is not None
    assert scores.correction_error is not None
    correction = float(scores.correction[finished].mean())
    shared, single = (_rms(error[finished]) for error in (scores.correction_error, scores.solver_error))
    sign = "+" * (correction >= 0)
    return (
        f"the flow in {flow.num_calls} calls, corrected by {sign}{figure_text(correction, shared)} bits/dim in the mean; "
        f"one example is within {single:.2g} of the flow at tolerance {flow.tolerance:g} (one standard deviation)"
    )


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))
