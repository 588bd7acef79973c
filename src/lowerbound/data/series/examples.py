"""Series from long tables: a row for each time, a column for each channel, cut into windows that overlap.

Training, validation and testing follow one another in time, at the same times for all series of a file. A window belongs to
the part that all of its rows are in; one that overlaps a border belongs to none. The normalisation is that of the training
rows, each counted once.
"""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from lowerbound.data.config import DataConfig
from lowerbound.data.dataset import Examples
from lowerbound.data.fitting import SPLITS
from lowerbound.data.memory import check_memory
from lowerbound.data.series.clock import CYCLES, Clock, counted_in, regular
from lowerbound.data.series.windows import SeriesSpec, Windows
from lowerbound.data.spec import DataSpec, naming
from lowerbound.data.tables.examples import READERS
from lowerbound.data.tables.source import TableSource
from lowerbound.errors import InputError
from lowerbound.words.brief import Brief
from lowerbound.words.printable import printable

SHARES = (0.8, 0.9)
"""Of the rows, in the order of time, that come before validation and before testing."""
_NAMED = 8
"""Columns that a warning names."""
_TIME_NAMES = ("time", "date", "datetime", "timestamp", "ds")
"""Names of columns of numbers that are times."""


@dataclass(frozen=True, eq=False, repr=False)
class Series(Brief):
    """What a file of series holds.

    Arguments:
        name: of the file.
        rows: (T, C) float32, the series one after another, each in the order of time and on the clock's grid; NaN where a
            value is missing.
        covariates: (T, K) float32, known at every step.
        steps: of the clock, of each row, (T,).
        ends: the row after the last one of each series, (S,).
        ids: the name of each series; "" where there is no column of them.
        channels: the names of the C columns.
        known: the names of the covariates that are columns, the first of the K.
        cycles: those of the calendar, each a sine and a cosine.
        clock: from steps to times.
        time, series_id: the names of the columns of times and series; "" where there are none.
    """

    name: str
    rows: np.ndarray
    covariates: np.ndarray
    steps: np.ndarray
    ends: np.ndarray
    ids: tuple[str, ...]
    channels: tuple[str, ...]
    known: tuple[str, ...]
    cycles: tuple[str, ...]
    clock: Clock
    time: str = ""
    series_id: str = ""

    @property
    def parts(self) -> list[slice]:
        """The rows of each series."""
        ends = self.ends.tolist()
        return [slice(first, end) for first, end in zip([0, *ends[:-1]], ends, strict=True)]

    @property
    def row_ids(self) -> list[str]:
        """The name of each row's series."""
        return np.repeat(self.ids, np.diff(self.ends, prepend=0)).tolist()

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """Of all K."""
        return (*self.known, *(f"{name} ({wave})" for name in self.cycles for wave in ("sin", "cos")))

    def spec(self, horizon: int) -> SeriesSpec:
        """What a model is to know of it; the normalisation of covariates comes with the training rows."""
        return SeriesSpec(self.channels, horizon, self.clock.text, self.covariate_names)


def read_windows(path: Path, config: DataConfig, spec: DataSpec | None = None) -> Examples:
    """The windows of the series in a file.

    Arguments:
        path: of a table.
        config: `window`, `horizon` and `stride`, and all that `read_series` takes.
        spec: what a run knows, whose channels are then looked for by their names.

    Raises:
        InputError: as `read_series`; if a window is longer than every series.
    """
    series = read_series(path, config, () if spec is None or spec.series is None else spec.series.channels)
    assert config.window is not None
    length = config.window + config.horizon
    longest = max(part.stop - part.start for part in series.parts)
    if longest < length:
        raise InputError(
            f"{path}: a window of {length} steps ({_window_flags(config)}) is longer than the "
            f"{'longest ' * (len(series.ids) > 1)}series, of {longest} rows: give a shorter --window"
        )
    starts = np.concatenate([np.arange(part.start, part.stop - length + 1, config.stride) for part in series.parts])
    num_present = np.concatenate([[0], (~np.isnan(series.rows).all(1)).cumsum()])
    is_empty = num_present[starts + length] == num_present[starts]
    starts = starts[~is_empty]
    if not len(starts):
        raise InputError(f"{path}: every window holds nothing but missing values")
    splits = _splits(series, starts, length, config)
    if spec is None:
        _check_parts(path, splits, length, config)
    num_lost = len(starts) - sum(map(len, splits.values()))
    num_short = sum(part.stop - part.start < length for part in series.parts)
    channels, covariates = (", ".join(map(printable, names)) for names in (series.channels, series.covariate_names))
    remarks = {
        f"{_window_text(config)} of {series.clock.text}, of {channels}": True,
        f"given {covariates}": bool(covariates),
        f"{num_lost:,} overlap a border between the splits, or lie behind the last one, and belong to none": num_lost
        > 0,
        f"{np.sum(is_empty):,} of nothing but missing values are left out": bool(is_empty.any()),
        f"{num_short} of {len(series.ids)} series are shorter than a window and left out": num_short > 0,
        f"times are in the column {printable(series.time)}": bool(series.time),
    }
    return Examples(
        str(path),
        Windows(series.rows, starts, length),
        "NCL",
        splits,
        conditions=Windows(series.covariates, starts, length) if series.covariate_names else None,
        notes=("series    " + "; ".join(remark for remark, holds in remarks.items() if holds),),
        series=series.spec(config.horizon),
    )


def read_series(path: Path, config: DataConfig, channels: tuple[str, ...] = ()) -> Series:
    """The series of a file, as they are.

    Arguments:
        path: of a table.
        config: `time`, `series_id`, `covariates`, `irregular`, and how tables are read.
        channels: the columns that a model knows; all numbers that are not anything else if empty.

    Raises:
        InputError: if the file cannot be read, a column is not there or holds no numbers, or times are not on one grid.
    """
    table = READERS[path.suffix.lower()](path, replace(config, columns=(), condition_on=(), categorical=()))
    with naming(str(path)):
        known = tuple(name for name in config.covariates if name not in CYCLES)
        is_known = bool(channels) and not config.columns  # which said what to leave out
        time, channels = _roles(table, config, channels, known)
        taken = [*channels, *known, *filter(None, (time, config.series_id))]
        if is_known and (others := [name for name in table.schema.names if name not in taken]):
            warnings.warn(
                f"{path}: left out, as the run does not know them: {', '.join(others[:_NAMED])}", stacklevel=3
            )
        columns = _columns(table, [name for name in table.schema.names if name in taken], time, config.series_id)
        series, ids = np.zeros(table.num_rows, np.int64), ("",)
        if config.series_id is not None:
            names, series = np.unique(columns[config.series_id], return_inverse=True)
            ids = tuple(printable(str(name)) for name in names)
        order = np.argsort(series, kind="stable")
        series = series[order]
        begins = np.searchsorted(series, np.arange(len(ids)))
        clock, steps = Clock(), np.arange(len(series)) - begins[series]
        if time is not None:
            times, zone, is_local = columns[time][order], getattr(table.schema.field(time).type, "tz", None) or "", True
            if zone:
                times, is_local = counted_in(zone, times)
            clock, steps = regular(times, series, ids, config.irregular, order, table.location)
            clock = replace(clock, zone=zone, is_local=is_local)
        elif config.irregular != "refuse":
            raise InputError(f"--irregular {config.irregular} has no effect without times: name their column by --time")
        values = np.stack([columns[name][order] for name in (*channels, *known)], 1)
        values, steps, ends = _on_grid(str(path), values, series, steps, len(ids))
        cycles = tuple(name for name in config.covariates if name in CYCLES)
        along = values[:, len(channels) :]
        _check_known(known, along, clock, steps)
        along = np.concatenate([along, *(clock.cycle(steps, name) for name in cycles)], 1)
        rows = np.ascontiguousarray(values[:, : len(channels)])
        parts = (rows, along, steps, ends, ids, channels, known, cycles, clock)
        return Series(str(path), *parts, time or "", config.series_id or "")


def _roles(
    table: TableSource, config: DataConfig, channels: tuple[str, ...], known: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """The column of times, if there is one, and those of the channels.

    Raises:
        InputError: if a column that was named is not there, or one that is no number would be a channel.
    """
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    listed = ", ".join(table.schema.names[:12]) + ", ..." * (len(types) > 12)
    named = [("--time", config.time), ("--series-id", config.series_id), *(("--covariates", name) for name in known)]
    for flag, name in (*named, *(("--columns", name) for name in config.columns)):
        if name is not None and name not in types:
            cycles = f", nor is it one of {', '.join(CYCLES)}" if flag == "--covariates" else ""
            raise InputError(f"{flag} {name}: there is no such column; there are {listed}{cycles}")
    time = config.time
    if time is None:
        dates = [name for name, kind in types.items() if pa.types.is_temporal(kind) and name not in config.columns]
        dates += [name for name in types if name.lower() in _TIME_NAMES and name not in (*config.columns, *known)]
        time = next((name for name in dates if name != config.series_id), None)
    if time is not None and not (pa.types.is_temporal(types[time]) or _is_number(types[time])):
        raise InputError(f"the times in the column {time} are neither dates nor numbers: see --date-format")
    if channels and (lacking := [name for name in channels if name not in types]):
        raise InputError(f"there is no column {lacking[0]}, a channel that the run knows; there are {listed}")
    roles = (time, config.series_id, *known)
    channels = channels or config.columns or tuple(name for name in types if name not in roles)
    for name in (*channels, *known):
        if not _is_number(types[name]):
            remedy = f"leave it out with --ignore {printable(name)}, or say what it is with --time or --series-id"
            raise InputError(f"the column {printable(name)} holds no numbers ({types[name]}): {remedy}")
    if not channels:
        raise InputError(f"there is no column of numbers beside {', '.join(filter(None, roles))}")
    return time, channels


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)


def _columns(table: TableSource, names: list[str], time: str | None, series_id: str | None) -> dict[str, np.ndarray]:
    """Columns as arrays: times as datetime64[us] or doubles, series as texts, all others as single precision."""
    check_memory(table.name, 4 * table.num_rows * len(names), "leave out columns with --ignore")
    columns: dict[str, np.ndarray] = {name: np.empty(table.num_rows, np.float32) for name in names}
    texts: list[str] = []
    if time is not None:
        is_date = pa.types.is_temporal(table.schema.field(time).type)
        columns[time] = np.empty(table.num_rows, "datetime64[us]" if is_date else np.float64)
    first = 0
    for batch in table.batches():
        part = slice(first, first := first + batch.num_rows)
        for name in names:
            values = batch.column(table.schema.names.index(name))
            if name == series_id:
                texts += map(str, values.to_pylist())
                continue
            if columns[name].dtype.kind == "M":
                values = values.cast(pa.timestamp("us"))
                columns[name][part] = values.to_numpy(zero_copy_only=False)
                continue
            with np.errstate(over="ignore"):
                columns[name][part] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
            infinite = np.flatnonzero(np.isinf(columns[name][part]))
            if len(infinite):
                raise InputError(
                    f"{table.location(part.start + int(infinite[0]))}, column {printable(name)}: infinite, or too large for "
                    "single precision: correct it, or give the column in a larger unit"
                )
    return {**columns, series_id: np.array(texts)} if series_id is not None else columns


def _on_grid(
    name: str, values: np.ndarray, series: np.ndarray, steps: np.ndarray, num_series: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, (T, C), in the order of time, those that lack all NaN, of the same step their mean; their steps, and where
    each series ends."""
    order = np.lexsort((steps, series))
    if not (order[1:] > order[:-1]).all():
        values, series, steps = values[order], series[order], steps[order]
    bounds = np.searchsorted(series, np.arange(num_series + 1))
    begins, lasts = steps[bounds[:-1]], steps[bounds[1:] - 1]
    ends = (lasts - begins + 1).cumsum()
    if len(steps) == ends[-1] and (np.diff(steps)[np.diff(series) == 0] == 1).all():
        return values, steps, ends
    check_memory(
        name, 4 * int(ends[-1]) * values.shape[1], "its times are far apart for their step: leave out the gaps"
    )
    places = steps - begins[series] + np.concatenate([[0], ends[:-1]])[series]
    total, count = (np.zeros((ends[-1], values.shape[1]), dtype) for dtype in (np.float64, np.int64))
    np.add.at(total, places, np.where(np.isnan(values), 0, values))
    np.add.at(count, places, ~np.isnan(values))
    with np.errstate(invalid="ignore"):
        rows = (total / count).astype(np.float32)
    whole = np.concatenate([np.arange(begin, last + 1) for begin, last in zip(begins, lasts, strict=True)])
    return rows, whole, ends


def _check_known(names: tuple[str, ...], values: np.ndarray, clock: Clock, steps: np.ndarray) -> None:
    """Refuse covariates that are not known everywhere."""
    unknown = np.argwhere(np.isnan(values))
    if len(unknown):
        row, column = unknown[0]
        raise InputError(
            f"the covariate {printable(names[column])} is not known at {clock.texts(steps[row : row + 1])[0]}: a covariate "
            "is known at every step; make it a channel instead, which may have gaps"
        )


def _splits(series: Series, starts: np.ndarray, length: int, config: DataConfig) -> dict[str, np.ndarray]:
    """The windows all of whose rows are in one part of the time."""
    steps, last = series.steps, series.steps[starts + length - 1]
    first = steps.min()
    if config.split_steps is None:
        ordered = np.sort(steps)
        borders = [first, *(ordered[int(share * len(ordered))] for share in SHARES), steps.max() + 1]
    else:
        borders = [first, *(first + np.cumsum(config.split_steps))]
    return {
        split: np.flatnonzero((steps[starts] >= begin) & (last < end))
        for split, begin, end in zip(SPLITS, borders[:-1], borders[1:], strict=True)
    }


def _check_parts(path: Path, splits: dict[str, np.ndarray], length: int, config: DataConfig) -> None:
    """Refuse parts of the time that hold no window."""
    if all(len(indices) for indices in splits.values()):
        return
    counts = ", ".join(f"{len(indices)} {split}" for split, indices in splits.items())
    lengths = (
        "the lengths of --split-steps" if config.split_steps else "80, 10 and 10 % of the rows, in the order of time"
    )
    raise InputError(
        f"{path}: the splits have {counts} windows of {length} steps ({_window_flags(config)}), and at least one example is "
        f"needed in each; a window lies in one of the splits, which are {lengths}: give a shorter --window, other lengths "
        "by --split-steps, or more rows"
    )


def _window_flags(config: DataConfig) -> str:
    return f"--window {config.window}" + (f" and --horizon {config.horizon}" if config.horizon else "")


def _window_text(config: DataConfig) -> str:
    horizon = f" + {config.horizon}" if config.horizon else ""
    stride = f", one every {config.stride}," if config.stride > 1 else ""
    return f"windows of {config.window}{horizon} steps{stride}"
