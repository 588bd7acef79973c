"""`lowerbound impute RUN DATA`: fill in missing entries, several times."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from tqdm import tqdm

from lowerbound.cli.options import DataName, DeviceName, RunPath, check_counts, parse, pick_device
from lowerbound.cli.progress import say_weakness
from lowerbound.cli.writing import FIELDS, check_finite, write_netcdf, write_npz
from lowerbound.data.arrays import to_layout
from lowerbound.data.frames import imputed_table
from lowerbound.data.memory import check_memory
from lowerbound.errors import InputError
from lowerbound.files import check_folder
from lowerbound.inverse import TwistedParticles
from lowerbound.rounding import nine_digits
from lowerbound.run import open_denoiser
from lowerbound.run.examples import conditions, read_for
from lowerbound.run.impute import DEFAULT_STEPS, METHODS, default_method, impute, num_calls, read_mask
from lowerbound.tables import SUFFIXES as TABLES
from lowerbound.tables import TEXTS, write_table


@dataclass(frozen=True)
class Options:
    """Fill in missing entries several times, each time with a draw given the known ones, which stay as they are.

    DATA is whatever `train` takes, of the kind that the run knows; one example is enough. Missing entries are NaN in
    arrays of floats, empty entries of a table, or those that the mask leaves out. The .npz holds samples (N, K, ...) in
    the data's own units, type and order of axes, their mean and std (N, ...), and observed, True where an entry was known.
    A table is written as one, its gaps filled; of several imputations each is a row, after the columns row and imputation,
    which count from 1. An imputation depends on its example, the example's number, its own and the seed alone. Of a
    conditional run, the examples' labels or condition vectors are given where they have them.

    Example: lowerbound impute runs/digits broken.npy --mask mask.png --num-samples 16 -o imputed.npz
    """

    run: RunPath
    data: DataName
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The .npz file to write; of a table a .csv, .tsv, .parquet or .feather file; of fields a .nc file, with their
    variables, dimensions and units."""
    mask: Path | None = None
    """An .npy file of booleans or zeros and ones, or a black and white .png: True or white where an entry is known; of the
    shape of one example or of all."""
    split: Literal["train", "validation", "test"] | None = None
    """Fill in one split, as training makes it; all examples if not given."""
    num_samples: int | None = None
    """The number of imputations of each example; if not given 16, of a table that is written as one a single one."""
    method: Literal["replacement", "pigdm", "mmps", "particles"] | None = None
    """The method, in order of cost: replacement puts known entries in place after each step (RePaint); pigdm guides by a
    measurement with independent entries (Pi-GDM); mmps guides by one with the network's own covariance (MMPS); particles
    is exact if they are many. If not given pigdm, or for a forest replacement: its derivative says nothing of its trees."""
    num_particles: int | None = None
    """For the method particles: their number for each imputation; 16 if not given."""
    steps: int = DEFAULT_STEPS
    """The number of noise levels that each imputation goes through."""
    label: str | None = None
    """A class name for all examples, in the place of their own; conditional runs only."""
    seed: int = 0
    """The random seed; an imputation depends only on the seed, its example and its number."""
    batch_size: int = 64
    """The number of imputations drawn at a time; it changes speed and memory only."""
    device: DeviceName = "auto"


def main(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "impute", arguments)
    check_counts(options, "num_samples", "num_particles", "steps", "batch_size")
    if options.num_particles is not None and options.method != "particles":
        raise InputError("--num-particles has no effect without --method particles")
    as_table = options.out.suffix in TABLES
    if not as_table and options.out.suffix not in (".npz", FIELDS):
        raise InputError(
            f"cannot write imputations to {options.out}: the name must end in .npz, for a table in {', '.join(TABLES)}, "
            f"or for fields in {FIELDS}"
        )
    check_folder(options.out)
    run = open_denoiser(options.run, pick_device(options.device))
    if as_table and not run.spec.columns:
        raise InputError(
            f"cannot write imputations of {run.spec.name} to {options.out}, as it is no table: give an .npz file"
        )
    if options.out.suffix == FIELDS and run.spec.axes is None:
        raise InputError(f"cannot write {options.out}: {run.spec.name} are no fields with names; write .npz")
    options = replace(options, num_samples=options.num_samples or (1 if as_table else 16))
    assert options.num_samples is not None
    examples = read_for(run, options.data)
    indices = examples.indices(options.split)
    check_memory(
        f"{options.num_samples} imputations of {len(indices):,} examples",
        len(indices) * (1 + options.num_samples) * examples.values[0].nbytes,
        "give fewer examples or a smaller --num-samples",
    )
    raw = examples.values[indices]
    observed = np.ones(raw.shape, bool) if options.mask is None else read_mask(options.mask, examples)[indices]
    if raw.dtype.kind == "f":
        observed = observed & ~np.isnan(raw)
    method = default_method(run) if options.method is None else METHODS[options.method]
    if options.num_particles is not None:
        method = TwistedParticles(options.num_particles)
    total = num_calls(method, observed, options.num_samples, options.steps, options.batch_size)
    with tqdm(total=total, desc="imputing", unit="step", disable=None) as bar:
        imputations = impute(
            run,
            raw,
            observed,
            method=method,
            num_samples=options.num_samples,
            num_steps=options.steps,
            cond=conditions(run, examples, indices, options.label),
            numbers=indices,
            seed=options.seed,
            batch_size=options.batch_size,
            progress=bar.update,
        )
    samples, layout = imputations.samples, run.spec.layout
    flat = samples.reshape(-1, *samples.shape[2:])
    check_finite(flat, options.out)
    if as_table:
        # known entries with all their digits
        rows = np.where(observed[:, None], samples, nine_digits(samples))
        write_table(options.out, imputed_table(run.spec, rows, indices, as_text=options.out.suffix in TEXTS))
    elif options.out.suffix == FIELDS:
        arrays = {"": samples, "_mean": imputations.mean, "_std": imputations.std, "_observed": imputations.observed}
        write_netcdf(options.out, run.spec, arrays, ("draw",))
    else:
        flat = to_layout(flat, layout)
        write_npz(
            options.out,
            samples=flat.reshape(*samples.shape[:2], *flat.shape[1:]),
            mean=to_layout(imputations.mean, layout),
            std=to_layout(imputations.std, layout),
            observed=to_layout(imputations.observed, layout),
        )
    missing = 1 - observed.mean()
    print(
        f"{options.num_samples} imputations of {len(raw):,} example{'s' * (len(raw) > 1)}, {missing:.1%} of whose entries "
        f"were missing: {options.out}"
    )
    say_weakness(run)
