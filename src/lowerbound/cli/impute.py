"""`lowerbound impute RUN DATA`: fill in missing entries, several times."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import tyro
from tqdm import tqdm

from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import DataName, RunPath, check_counts, parse
from lowerbound.cli.progress import say_weakness
from lowerbound.cli.reading import DataReading
from lowerbound.cli.writing import FIELDS, check_finite, write_netcdf, write_npz
from lowerbound.data import Reading
from lowerbound.data.arrays.examples import to_layout
from lowerbound.data.memory import check_memory
from lowerbound.data.tables.frames import imputed_table
from lowerbound.errors import InputError
from lowerbound.files.arrow import write_table
from lowerbound.files.tables import SUFFIXES as TABLES
from lowerbound.files.tables import TEXTS, check_table
from lowerbound.files.whole import check_folder
from lowerbound.inverse import Method, TwistedParticles
from lowerbound.run import Run, open_denoiser
from lowerbound.run.examples import condition_rows, conditions, read_for
from lowerbound.run.impute import Drawing, check_missing, draws, incomplete_examples, named_method, read_mask
from lowerbound.run.series import SeriesDraws, fill, num_fill_windows, read_series_for
from lowerbound.words.counts import counted
from lowerbound.words.rounding import nine_digits


@dataclass(frozen=True)
class Options:
    """Fill in missing entries several times, each time with a draw given the known ones, which stay as they are.

    DATA is whatever `train` takes, of the kind that the run knows; one example is enough. Missing entries are NaN in
    arrays of floats, empty entries of a table, or those that the mask leaves out. The .npz holds samples (N, K, ...) in
    the data's own units, type and order of axes, their mean and std (N, ...), and observed, True where an entry was known.
    A table is written as one, its gaps filled. Of several imputations each is a row, after the columns example and
    imputation, which count from 0; columns behind them have each filled entry's mean and std, or the share of the
    imputations that drew this category, and are empty where the entry was known. An imputation depends on its example, the
    example's number, its own and the seed alone. Of a conditional run, the examples' labels or condition vectors are given
    where they have them.

    For a run of series, DATA is a table with gaps of any length, and a .csv or .parquet with as many rows comes out: each
    channel with the mean of the imputations in its gaps, and their spread beside it, 0 where a value was known.

    Example: lowerbound impute runs/digits broken.npy --mask mask.png --num-samples 16 -o imputed.npz
    """

    run: RunPath
    data: DataName
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file to write: .npz (of series, with all samples); for a table or series .csv, .tsv, .parquet or .feather; for
    fields .nc, with their variables, dimensions and units."""
    mask: Path | None = None
    """An .npy file of booleans or zeros and ones, or a black and white .png: True or white where an entry is known, black or
    transparent where it is not; of the shape of one example or of all."""
    split: Literal["train", "validation", "test"] | None = None
    """Fill in one split, as training makes it; all examples if not given."""
    num_samples: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """The number of imputations of each example; if not given 16, or 1 where a table is written as a table."""
    method: Literal["network", "mixture", "replacement", "pigdm", "mmps", "particles"] | None = None
    """The method, in order of cost: network gives what is known to the network itself, of runs of series, which are trained
    so; mixture gives it to the fitted mixture that the network of a table stands upon; replacement puts known entries in
    place after each step (RePaint); pigdm guides by a measurement with independent entries (Pi-GDM); mmps guides by one with
    the network's own covariance (MMPS); particles is exact if they are many. If not given network for series, mixture where
    there is one, replacement for a forest, whose derivative says nothing of its trees, else pigdm."""
    num_particles: int | None = None
    """For the method particles: their number for each imputation; 16 if not given."""
    steps: int | None = None
    """The number of noise levels that each imputation goes through; if not given 100, or 16 with the method network."""
    label: str | None = None
    """A class name for all examples, in the place of their own; conditional runs only."""
    reading: DataReading = field(default_factory=Reading)
    seed: int = 0
    """The random seed; an imputation depends only on the seed, its example and its number."""
    batch_size: int | None = None
    """The number of imputations drawn at a time; it changes speed and memory only. If not given 64 to 1,024, the more the
    smaller an example is."""
    device: DeviceName = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "impute", arguments)
    check_counts(options, "num_samples", "num_particles", "steps", "batch_size")
    if options.num_particles is not None and options.method != "particles":
        method = options.method or "the method that is taken"
        raise InputError(f"--num-particles has no effect on {method}: use --method particles")
    as_table = options.out.suffix in TABLES
    if not as_table and options.out.suffix not in (".npz", FIELDS):
        raise InputError(
            f"cannot write imputations to {options.out}: the name must end in .npz, for a table in {', '.join(TABLES)}, "
            f"or for fields in {FIELDS}"
        )
    check_folder(options.out)
    run = open_denoiser(options.run, pick_device(options.device))
    num_samples = options.num_samples or (1 if as_table and run.spec.series is None else 16)
    drawing = Drawing(num_samples, _method(options, run), options.steps, options.seed, options.batch_size)
    if run.spec.series is not None:
        return _fill(options, run, drawing)
    if as_table and not run.spec.columns:
        raise InputError(
            f"cannot write imputations of {run.spec.name} to {options.out}, as it is no table: give an .npz file"
        )
    if options.out.suffix == FIELDS and run.spec.axes is None:
        raise InputError(f"cannot write {options.out}: {run.spec.name} are no fields with names; write .npz")
    examples = read_for(run, options.data, options.reading)
    indices = examples.indices(options.split)
    check_memory(
        f"{counted(num_samples, 'imputation')} of {counted(len(indices), 'example')}",
        len(indices) * (1 + num_samples) * examples.values[0].nbytes,
        "give fewer examples or a smaller --num-samples",
    )
    raw = examples.values[indices]
    observed = np.ones(raw.shape, bool) if options.mask is None else read_mask(options.mask, examples)[indices]
    if raw.dtype.kind == "f":
        observed = observed & ~np.isnan(raw)
    check_missing(observed, raw.shape)
    cond = conditions(run, examples, indices, options.label)
    total = drawing.num_calls(run, num_samples * len(incomplete_examples(observed)))
    with tqdm(total=total, desc="imputing", unit="step", disable=None) as bar:
        imputations = draws(run, raw, observed, replace(drawing, progress=bar.update), cond, indices)
    samples, layout = imputations.samples, run.spec.layout
    flat = samples.reshape(-1, *samples.shape[2:])
    check_finite(flat, options.out)
    if as_table:
        # known entries with all their digits
        rows = np.where(observed[:, None], samples, nine_digits(samples, run.spec.encoding.centers))
        conditions_of_rows = condition_rows(run, examples, indices, options.label)
        write_table(
            options.out,
            imputed_table(run.spec, rows, observed, indices, options.out.suffix in TEXTS, conditions_of_rows),
        )
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
    return _report(options, run, num_samples, "example", observed)


def _method(options: Options, run: Run) -> Method:
    """That which was asked for."""
    if options.num_particles is not None:
        return TwistedParticles(options.num_particles)
    return named_method(run, options.method)


def _fill(options: Options, run: Run, drawing: Drawing) -> dict[str, Any]:
    """Fill the gaps of series."""
    for name in ("mask", "split", "label"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} has no effect on series: leave missing values empty in {options.data}")
    if options.out.suffix != ".npz":
        check_table(options.out)
    series = read_series_for(run, options.data, options.reading)
    total = num_fill_windows(run, series) * drawing.num_calls(run, drawing.num_samples)
    with tqdm(total=total, desc="imputing", unit="step", disable=None) as bar:
        imputations = fill(run, series, replace(drawing, progress=bar.update))
    check_finite(imputations.samples, options.out)
    if options.out.suffix == ".npz":
        write_npz(options.out, samples=imputations.samples, observed=imputations.observed)
    else:
        write_table(options.out, filled_columns(imputations, as_text=options.out.suffix in TEXTS))
    return _report(options, run, drawing.num_samples, "row", imputations.observed)


def _report(options: Options, run: Run, num_samples: int, noun: str, observed: np.ndarray) -> dict[str, Any]:
    """Say what was filled in: examples, or rows of series; returns the figures."""
    num, missing = len(observed), 1 - observed.mean()
    filled = f"{counted(num_samples, 'imputation')} of {counted(num, noun)}"
    print(f"{filled}, {missing:.1%} of whose entries were missing: {options.out}")
    say_weakness(run)
    return {"num_samples": num_samples, f"num_{noun}s": num, "share_missing": missing, "out": options.out}


def filled_columns(draws: SeriesDraws, *, as_text: bool) -> pa.Table:
    """The rows with the mean of the imputations in the gaps, and the spread of each value beside them."""
    series, columns = draws.series, dict[str, list[str] | np.ndarray | pa.Array]()
    if series.series_id:
        columns[series.series_id] = series.row_ids
    if series.time:
        columns[series.time] = series.clock.texts(series.steps) if as_text else series.clock.column(series.steps)
    mean = np.where(draws.observed, series.rows, draws.samples.mean(0, dtype=np.float64))
    for index, channel in enumerate(series.channels):
        columns[channel] = mean[:, index].astype(np.float32)
    if len(draws.samples) > 1:
        std = np.where(draws.observed, 0.0, draws.samples.std(0, ddof=1, dtype=np.float64))
        for index, channel in enumerate(series.channels):
            columns[f"{channel} std"] = std[:, index].astype(np.float32)
    return pa.table(columns)
