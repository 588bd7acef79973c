"""`lowerbound forecast RUN SERIES`: draw what comes next."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import tyro
from tqdm import tqdm

from lowerbound.cli.device import DeviceName, pick_device
from lowerbound.cli.figures import JsonOption
from lowerbound.cli.options import RunPath, check_counts, parse
from lowerbound.cli.progress import say_weakness
from lowerbound.cli.reading import DataReading
from lowerbound.cli.writing import check_finite
from lowerbound.data import Reading
from lowerbound.data.series.examples import Series
from lowerbound.errors import InputError
from lowerbound.files.arrow import write_table
from lowerbound.files.tables import TEXTS, check_table
from lowerbound.files.whole import check_folder, replacing
from lowerbound.pictures.bands import Drawn, draw_bands
from lowerbound.run import open_denoiser
from lowerbound.run.series import Drawing, SeriesDraws, forecast, num_forecast_windows, read_series_for, series_spec
from lowerbound.settings import Everyday
from lowerbound.words.counts import counted
from lowerbound.words.printable import printable

SeriesName = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="SERIES", help="A table with a row for each time and the channels that the run knows."),
]
HISTORY, MOST_SHOWN = 3, 4
"""What is drawn before a forecast, in its lengths, and how many series."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Options:
    """Draw the steps that follow a series, given its last --window ones.

    The forecast begins after the last row in which any channel is known. Covariates of the calendar go on by themselves;
    those that are columns have to be there for the steps to come, in rows whose channels are empty. The table has a column
    for each channel and, for each time to come, a row for each quantile and each sample: draw says which. A sample is one
    series from beginning to end, so that sums and extremes of a path are to be taken of samples, not of quantiles.

    Example: lowerbound forecast runs/etth1 etth1.csv -o forecast.csv --num-samples 100
    """

    run: RunPath
    series: SeriesName
    out: Annotated[Everyday[Path], tyro.conf.arg(aliases=["-o"])]
    """The .csv, .tsv, .parquet or .feather file to write, or a .png picture with bands of 50 and 90 %%."""
    horizon: Everyday[int | None] = None
    """The number of steps to draw; the run's own --horizon if not given, and piece by piece if it is more."""
    num_samples: Annotated[Everyday[int], tyro.conf.arg(aliases=["-n"])] = 100
    """The number of samples of the future."""
    quantiles: tuple[float, ...] = QUANTILES
    """The quantiles of each value to write beside the samples, between 0 and 1."""
    steps: int | None = None
    """The number of noise levels that each sample goes through; as many as `sample` takes if not given."""
    reading: DataReading = field(default_factory=Reading)
    seed: Everyday[int] = 0
    """The random seed; a sample depends only on the seed, its series and its number."""
    batch_size: int | None = None
    """The number of samples drawn at a time; it changes speed and memory only. If not given 64 to 1,024, the more the
    smaller an example is."""
    device: DeviceName = "auto"
    json: JsonOption = False


def main(arguments: list[str]) -> dict[str, Any]:
    """Run the verb."""
    options = parse(Options, "forecast", arguments)
    check_counts(options, "num_samples", "steps", "batch_size", "horizon")
    for quantile in options.quantiles:
        if not 0 <= quantile <= 1:
            raise InputError(f"--quantiles has {quantile:g}: a quantile lies between 0 and 1")
    if options.out.suffix == ".png":
        check_folder(options.out)
    else:
        check_table(options.out)
    run = open_denoiser(options.run, pick_device(options.device))
    series_spec(run)
    series = read_series_for(run, options.series, options.reading)
    settings = Drawing(options.num_samples, None, options.steps, options.seed, options.batch_size)
    total = num_forecast_windows(run, series, options.horizon) * settings.num_calls(run, options.num_samples)
    with tqdm(total=total, desc="drawing", unit="step", disable=None) as bar:
        draws = forecast(run, series, options.horizon, replace(settings, progress=bar.update))
    check_finite(draws.samples, options.out)
    if options.out.suffix == ".png":
        with replacing(options.out) as unfinished:
            shown = [_drawn(series, draws, number) for number in range(min(MOST_SHOWN, len(series.ids)))]
            draw_bands(unfinished, shown, series.channels, series.clock.text)
    else:
        write_table(options.out, columns_of(draws, options.quantiles, as_text=options.out.suffix in TEXTS))
    num = len(draws.series.steps) // len(series.ids)
    of = f" of {len(series.ids)} series" if len(series.ids) > 1 else ""
    print(
        f"{counted(options.num_samples, 'sample')} of {counted(num, 'step')} of {series.clock.text}{of}: {options.out}"
    )
    say_weakness(run)
    return {"num_samples": options.num_samples, "num_steps": num, "num_series": len(series.ids), "out": options.out}


def columns_of(draws: SeriesDraws, quantiles: tuple[float, ...], *, as_text: bool) -> pa.Table:
    """A long table: for each time a row for each quantile and each sample."""
    series, num_samples = draws.series, len(draws.samples)
    drawn = draws.samples
    if quantiles:
        drawn = np.concatenate([np.quantile(drawn, quantiles, axis=0), drawn])
    names = [*(f"quantile {quantile:g}" for quantile in quantiles), *(f"sample {k}" for k in range(num_samples))]
    num = len(names)
    columns: dict[str, list[str] | np.ndarray | pa.Array] = {}
    drawn = drawn.astype(np.float32)
    if series.series_id:
        columns[series.series_id] = [name for name in series.row_ids for _ in range(num)]
    times = pa.array(series.clock.texts(series.steps)) if as_text else series.clock.column(series.steps)
    columns[series.time or "step"] = times.take(np.arange(len(times)).repeat(num))
    columns["draw"] = names * len(times)
    for index, channel in enumerate(series.channels):
        columns[channel] = drawn[:, :, index].T.reshape(-1)
    return pa.table(columns)


def _drawn(series: Series, draws: SeriesDraws, number: int) -> Drawn:
    """The end of a series and what was drawn after it, for a picture."""
    part, ahead = series.parts[number], draws.series.parts[number]
    samples = np.moveaxis(draws.samples[:, ahead], 2, 1)
    rows = series.rows[part]
    rows = rows[: np.flatnonzero(~np.isnan(rows).all(1))[-1] + 1][-HISTORY * samples.shape[2] :].T
    known = np.concatenate([rows, np.full(samples.shape[1:], np.nan)], 1)
    return Drawn(printable(series.ids[number]), known, np.pad(samples, ((0, 0), (0, 0), (rows.shape[1], 0))))
