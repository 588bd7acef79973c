"""`lowerbound sample RUN`: draw samples."""

import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from tqdm import tqdm

from lowerbound.cli.device import DeviceName
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.guide import GuidanceOptions, conditions, guided
from lowerbound.cli.options import ProcessesOption, RunPath, check_counts, check_effect, parse
from lowerbound.cli.progress import say_weakness
from lowerbound.cli.reading import DataReading
from lowerbound.cli.reverse import with_variance
from lowerbound.cli.sampler import FlatSampler, SamplerOptions
from lowerbound.cli.together import A_DAY, first_then_all, join
from lowerbound.cli.writing import check_out, suffixes, write_samples
from lowerbound.data import Reading
from lowerbound.errors import InputError
from lowerbound.files.whole import write_file
from lowerbound.guidance import AutoGuidance
from lowerbound.pictures.animation import FORMATS, animation
from lowerbound.run import open_run
from lowerbound.run.generate import generate, network_calls, states
from lowerbound.settings import Everyday
from lowerbound.training.parallel.processes import Processes
from lowerbound.words.counts import counted

MOST_FRAMES = 60
EFFECTIVE = ("num_samples", "out", "seed", "batch_size", "processes", "device", "json")
"""The options that have an effect on a relative."""


@dataclass(frozen=True)
class Options:
    """Draw samples from a trained run; sample i depends on the seed and i alone.

    Example: lowerbound sample runs/digits -n 64 --label 3 --guidance 2 -o samples.png
    """

    run: RunPath
    num_samples: Annotated[Everyday[int], tyro.conf.arg(aliases=["-n"])] = 64
    """The number of samples to draw."""
    out: Annotated[Everyday[Path | None], tyro.conf.arg(aliases=["-o"])] = None
    """The file to write: a .png picture of all samples, an .npy or .npz array in the layout, range and type of the data,
    of a table a .csv, .tsv, .parquet or .feather file with its names, types and order, of fields a .nc file with their
    variables, dimensions and units, a .gif or .webp animation of their way from noise to data, or a folder for one picture
    each; samples/samples.png in the run folder if not given. Of a table it is samples.csv there."""
    sampling: FlatSampler = field(default_factory=SamplerOptions)
    """The sampler and its grid."""
    label: Everyday[tuple[str, ...]] = ()
    """The class names to draw, repeated over the samples; conditional runs only."""
    condition: Path | None = None
    """An .npy file of condition vectors (N, F), a text file of one class name per line, or a table (.csv, .tsv, .parquet,
    .feather) with the columns that --condition-on named; repeated over the samples. Of a table the samples have these
    columns too."""
    reading: DataReading = field(default_factory=Reading)
    guidance: tyro.conf.OmitArgPrefixes[GuidanceOptions] = field(default_factory=GuidanceOptions)
    """Guidance settings."""
    seed: Everyday[int] = 0
    """The random seed; sample i depends only on (seed, i)."""
    brownian: bool = False
    """For samplers with noise: let it follow a Brownian path for each sample, which more steps refine and do not change."""
    batch_size: int = 64
    """The number of samples drawn at a time; it changes speed and memory only."""
    processes: ProcessesOption = 1
    device: Everyday[DeviceName] = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any] | None:
    """Run the verb."""
    options = parse(Options, "sample", arguments)
    check_counts(options, "num_samples", "batch_size", "processes")
    options.sampling.stepping_rule()  # refuses what does not fit before anything is measured
    processes, device = join("sample", options.processes, arguments, options.device, A_DAY, run=options.run)
    run = open_run(options.run, device)
    out = options.out or run.folder.samples / ("samples.csv" if run.spec.columns else "samples.png")
    check_out(out, run.spec, (*suffixes(run.spec), *(FORMATS if run.is_denoiser else ())))
    check_effect(options, Options(options.run), run, EFFECTIVE)
    cond, condition_rows = conditions(run, options.label, options.condition, options.num_samples, options.reading)
    plan, counting = None, nullcontext([])
    if run.is_denoiser:
        variance = options.sampling.needed_variance
        run = first_then_all(processes, partial(with_variance, run, variance, conditional=cond is not None))
        plan = options.sampling.plan(run)
        run = guided(run, options.guidance, conditional=cond is not None)
        counting = network_calls(run.denoiser)
    moving = out.suffix in FORMATS
    num_batches = 1 if moving else -(-options.num_samples // options.batch_size)
    _check_batches(options, num_batches, processes, moving)
    own_batches = len(range(processes.rank, num_batches, processes.count))
    total, unit = own_batches * run.model.num_steps(plan), "step" if run.is_denoiser else "batch"
    hidden = None if processes.is_first else True
    with tqdm(total=total, desc="sampling", unit=unit, disable=hidden) as bar, counting as calls:
        settings = {"seed": options.seed, "cond": cond, "brownian": options.brownian, "progress": bar.update}
        if moving:
            way = states(run, options.num_samples, plan, num_states=MOST_FRAMES, **settings)
            content = animation([state for _, state in way], run.spec.encoding.value_range, out.suffix)
            write_file(out, content)
        else:
            together = {"batch_size": options.batch_size, "processes": processes}
            samples = generate(run, options.num_samples, plan, **together, **settings)
            processes.by_first(lambda: write_samples(run.spec, samples, out, conditions=condition_rows))
    num_calls = processes.sum(torch.tensor(float(sum(calls)))).item()
    if not processes.is_first:
        return None
    source = f"of the model {run.config.model.name}"
    if run.is_denoiser:
        rule = "its own sampler" if run.diffusion.times is not None else options.sampling.sampler
        if options.guidance.guidance is None and isinstance(run.denoiser, AutoGuidance):
            rule = f"{rule} with autoguidance (--guidance 1: none)"
        source = f"by {rule}, {counted(num_calls / options.num_samples, 'network call')} each"
    print(f"{counted(options.num_samples, 'sample')} {source}: {out}")
    say_weakness(run)
    return {"num_samples": options.num_samples, "calls_per_sample": num_calls / options.num_samples, "out": out}


def _check_batches(options: Options, num_batches: int, processes: Processes, moving: bool) -> None:
    """Refuse an animation by several processes, and warn where some of them have nothing to do."""
    if processes.count == 1:
        return
    if moving:
        raise InputError("an animation is drawn in one batch, by one process: leave out --processes")
    if num_batches < processes.count and processes.is_first:
        enough = -(-options.num_samples // processes.count)
        warnings.warn(
            f"{counted(options.num_samples, 'sample')} in batches of {options.batch_size} are work for {num_batches} of "
            f"{processes.count} processes: give --batch-size {enough}",
            stacklevel=2,
        )
