"""Series of any length by a model of windows: gaps filled in, and the future drawn.

Windows are gone through in the order of time, and each is drawn given what is known of it and what the same draw has filled
in before, so that a draw is one series from end to end. Windows of a gap overlap by half. Of each the last quarter is not
kept but drawn again by the next, which knows what comes after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lowerbound.data import Reading, read_as
from lowerbound.data.memory import check_memory
from lowerbound.data.series.examples import Series, read_series
from lowerbound.data.series.windows import SeriesSpec
from lowerbound.errors import InputError
from lowerbound.run.impute import Drawing, check_missing, draws
from lowerbound.run.opened import Run
from lowerbound.words.brief import Brief


@dataclass(frozen=True, eq=False, repr=False)
class SeriesDraws(Brief):
    """Several draws of the same rows.

    Arguments:
        series: what they are of; the rows of a forecast are those to come.
        samples: (K, T, C), in the units of the file; what is known is in each as it came.
    """

    series: Series
    samples: Float[np.ndarray, "num_samples num_rows channels"]

    @property
    def observed(self) -> Bool[np.ndarray, "num_rows channels"]:
        """Which entries are known."""
        return ~np.isnan(self.series.rows)


def read_series_for(run: Run, source: str, reading: Reading | None = None) -> Series:
    """The series of a file, read as those that a run learned from, but for what is said of this one.

    Raises:
        InputError: if the run is not of series; if the file cannot be read so, or has another time from row to row.
    """
    spec = series_spec(run)
    config = read_as(replace(run.config.data, source=source), reading)
    series = read_series(Path(source).expanduser(), config, spec.channels)
    apart = series.clock.text
    if apart != spec.step:
        raise InputError(
            f"{source}: its rows are {apart} apart, and those that the run in {run.folder.path} learned from {spec.step}: "
            "resample them"
        )
    return series


def series_spec(run: Run) -> SeriesSpec:
    """What a run knows of its series.

    Raises:
        InputError: if it has none.
    """
    if run.spec.series is None:
        raise InputError(
            f"the run in {run.folder.path} is not of series: train one on a table with --window and --horizon"
        )
    return run.spec.series


def forecast(run: Run, series: Series, horizon: int | None = None, drawing: Drawing | None = None) -> SeriesDraws:
    """Draw what comes after the last rows of which anything is known.

    A horizon beyond the run's own is drawn piece by piece, each given those before.

    Arguments:
        run: the model.
        series: what is known; covariates that are columns go on for the horizon.
        horizon: steps; the run's own if None.
        drawing: how.

    Raises:
        InputError: if the run has no horizon and none is given, or covariates end too early.
    """
    spec, drawing = series_spec(run), drawing or Drawing(num_samples=100)
    piece, length = spec.horizon, run.spec.shape[1]
    if horizon is None and not piece:
        raise InputError(
            f"the run in {run.folder.path} was trained without --horizon: say how many steps are wanted by --horizon"
        )
    horizon = horizon or piece
    if horizon < 1:
        raise InputError(f"--horizon is {horizon}: it is at least 1")
    piece = piece or min(horizon, length // 2)
    future, samples = [], []
    for number, part in enumerate(series.parts):
        last = _last_known(series, part)
        known = series.rows[max(part.start, last - (length - 1)) : last]
        ahead = _ahead(series, part, last, horizon)
        rows = _after_gap(known, length - len(known))
        rows = np.concatenate([rows, np.full((horizon, known.shape[1]), np.nan, np.float32)])
        covariates = _covariates(series, part, last, length, ahead)
        windows = [(first, first + length) for first in range(piece, horizon, piece)] + [(horizon, horizon + length)]
        drawn = _drawn(run, rows, covariates, windows, drawing, number)
        samples.append(drawn[:, -horizon:])
        future.append(ahead)
    num, channels = len(series.ids), len(series.channels)
    whole = replace(
        series,
        rows=np.full((num * horizon, channels), np.nan, np.float32),
        covariates=np.concatenate([ahead[1] for ahead in future]),
        steps=np.concatenate([ahead[0] for ahead in future]),
        ends=np.arange(1, num + 1) * horizon,
    )
    return SeriesDraws(whole, np.concatenate(samples, 1))


def num_forecast_windows(run: Run, series: Series, horizon: int | None) -> int:
    """How many windows `forecast` draws."""
    piece = series_spec(run).horizon or (horizon or 1)
    return len(series.ids) * -(-(horizon or piece) // piece)


def fill(run: Run, series: Series, drawing: Drawing | None = None) -> SeriesDraws:
    """Draw what is missing.

    Arguments:
        run: the model.
        series: with NaN where a value is missing.
        drawing: how.

    Raises:
        InputError: if nothing is missing, or everything is.
    """
    drawing = drawing or Drawing(num_samples=16)
    check_missing(~np.isnan(series.rows), series.rows.shape)
    check_memory(series.name, drawing.num_samples * series.rows.nbytes, "give a smaller --num-samples")
    samples = []
    for number, part in enumerate(series.parts):
        rows, covariates = series.rows[part], series.covariates[part]
        windows = list(_fill_windows(rows, run.spec.shape[1]))
        if len(rows) < run.spec.shape[1]:  # as if more had been before
            lacking = run.spec.shape[1] - len(rows)
            rows, covariates = _after_gap(rows, lacking), _after_gap(covariates, lacking)
        samples.append(
            _drawn(run, rows, covariates, windows, drawing, number)[:, len(rows) - (part.stop - part.start) :]
        )
    return SeriesDraws(series, np.concatenate(samples, 1))


def num_fill_windows(run: Run, series: Series) -> int:
    """How many windows `fill` draws."""
    return sum(len(list(_fill_windows(series.rows[part], run.spec.shape[1]))) for part in series.parts)


def _fill_windows(rows: np.ndarray, length: int) -> Iterator[tuple[int, int]]:
    """Where windows of missing entries begin, and up to where what they draw is kept.

    Arguments:
        rows: of one series, (T, C).
        length: of a window.
    """
    gaps, done = np.flatnonzero(np.isnan(rows).any(1)), 0
    if len(rows) <= length:
        if len(gaps):
            yield 0, length
        return
    while len(gaps := gaps[gaps >= done]):
        # the gap's first row in the window's middle, or earlier, what is kept being a quarter from its end
        start = int(min(max(0, gaps[0] - length // 4), len(rows) - length))
        done = start + length if start + length == len(rows) else start + length - length // 4
        yield start, done


def _drawn(
    run: Run, rows: np.ndarray, covariates: np.ndarray, windows: list[tuple[int, int]], drawing: Drawing, number: int
) -> np.ndarray:
    """Rows, (K, T, C), in which windows were drawn one after another.

    Arguments:
        rows: of one series, (T, C), NaN where one is missing.
        covariates: (T, K').
        windows: where each begins, and up to where what it draws is kept.
        number: of the series, on which its noise depends.
    """
    length, num = run.spec.shape[1], drawing.num_samples
    of_each = replace(drawing, num_samples=1)
    samples = np.repeat(rows[None], num, 0)
    for index, (start, end) in enumerate(windows):
        window = np.ascontiguousarray(np.moveaxis(samples[:, start : start + length], 2, 1))
        known = ~np.isnan(window)
        if known[..., : end - start].all():
            continue
        cond = _condition(run, covariates[start : start + length], num)
        numbers = (((number << 24) + index) << 16) + np.arange(num)
        drawn = draws(run, window, known, of_each, cond, numbers).samples[:, 0]
        samples[:, start:end] = np.moveaxis(drawn, 1, 2)[:, : end - start]
    return samples


def _condition(run: Run, covariates: np.ndarray, num: int) -> Tensor | None:
    """Covariates along a window, (L, K'), as the condition of each of its draws; NaN where they are not known."""
    spec = series_spec(run)
    if not spec.covariates:
        return None
    unknown = np.isnan(covariates)
    cond = spec.condition(np.where(unknown, 0, covariates).T[None])
    hidden = torch.from_numpy(np.ascontiguousarray(unknown.T))[None]
    cond[:, spec.num_own :] = cond[:, spec.num_own :].masked_fill(hidden, torch.nan)
    return cond.expand(num, -1, -1)


def _last_known(series: Series, part: slice) -> int:
    """The row after the last one of a series of which anything is known."""
    present = np.flatnonzero(~np.isnan(series.rows[part]).all(1))
    if not len(present):
        raise InputError(
            f"{series.name}: every value of {_called(series, part)} is missing: there is nothing to go on from"
        )
    return part.start + int(present[-1]) + 1


def _ahead(series: Series, part: slice, last: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """The steps to come, (H,), and their covariates, (H, K')."""
    steps = series.steps[last - 1] + np.arange(1, horizon + 1)
    known = series.covariates[last : min(part.stop, last + horizon), : len(series.known)]
    if series.known and len(known) < horizon:
        raise InputError(
            f"{series.name}: of the {horizon} steps of {_called(series, part)} to come, the covariates "
            f"{', '.join(series.known)} are known for {len(known)}: add rows with their values in which all channels are "
            "empty, or give a smaller --horizon"
        )
    cycles = [series.clock.cycle(steps, name) for name in series.cycles]
    return steps, np.concatenate([known if series.known else np.empty((horizon, 0), np.float32), *cycles], 1)


def _covariates(
    series: Series, part: slice, last: int, length: int, ahead: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Along the last `length` rows that are known and those to come; NaN before the series begins."""
    before = series.covariates[max(part.start, last - length) : last]
    return np.concatenate([_after_gap(before, length - len(before)), ahead[1]])


def _after_gap(rows: np.ndarray, num_lacking: int) -> np.ndarray:
    """Rows behind others of which nothing is known."""
    return np.concatenate([np.full((num_lacking, rows.shape[1]), np.nan, np.float32), rows])


def _called(series: Series, part: slice) -> str:
    number = series.parts.index(part)
    return f"the series {series.ids[number]}" if len(series.ids) > 1 else "the series"
