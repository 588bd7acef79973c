"""The clock of a series: time stamps as whole steps of a regular grid, and back.

Dates are counted in microseconds or, where every row has the same day of the month and time of day, in calendar months;
numbers as they are. Dates with a time zone are counted in UTC or, where all rows have the same time of day there, as a clock
there shows them: then days are steps though the clock is changed in between. What does not fit the grid is said with its
row, and nothing is moved unasked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from lowerbound.data.tables import zones
from lowerbound.errors import InputError
from lowerbound.words.counts import counted

Irregular = Literal["refuse", "missing", "mean"]
Where = Callable[[Any], str]
"""Of the number of a row."""
_MICROSECONDS = {"week": 604_800_000_000, "day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000}
_MICROSECONDS |= {"second": 1_000_000, "millisecond": 1000, "microsecond": 1}
_SHORTEST_MONTH = 28 * _MICROSECONDS["day"]
_CLOSE = 1e-6
"""How far from the grid a time may be that is a number, in steps."""


@dataclass(frozen=True)
class Clock:
    """A grid of times: step k is at first + k step.

    Arguments:
        unit: what `first` and `step` count: calendar months since 1970, microseconds since 1970, plain numbers, or rows, of
            series without times.
        first: the time of step 0.
        step: from one step to the next.
        offset: of calendar months: microseconds from the beginning of the month.
        zone: of dates that have a time zone, as Arrow names it.
        is_local: whether times are what a clock in the zone shows, or in UTC.
    """

    unit: Literal["month", "microsecond", "number", "row"] = "row"
    first: float = 0
    step: float = 1
    offset: int = 0
    zone: str = ""
    is_local: bool = True

    @property
    def text(self) -> str:
        """The step in words: "15 minutes"."""
        if self.unit in ("row", "month"):
            return f"{self.step:g} {self.unit}{'s' * (self.step != 1)}"
        if self.unit == "number":
            return f"{self.step:.6g}"
        for name, length in _MICROSECONDS.items():
            if self.step % length == 0:
                number = int(self.step // length)
                return f"{number} {name}{'s' * (number != 1)}"
        raise AssertionError(self)

    def stamps(self, steps: np.ndarray) -> np.ndarray:
        """The times of steps, (n,): datetime64 of dates, as they are counted; numbers of everything else."""
        if self.unit == "row":
            return steps.astype(np.int64)
        times = self.first + steps * self.step
        if self.unit == "month":
            months = np.asarray(times).astype(np.int64).astype("datetime64[M]")
            return months.astype("datetime64[us]") + np.timedelta64(self.offset, "us")
        return times.astype(np.int64).astype("datetime64[us]") if self.unit == "microsecond" else times

    def column(self, steps: np.ndarray) -> pa.Array:
        """The times of steps as a column: dates in their zone, numbers of everything else."""
        stamps = pa.array(self.stamps(steps))
        if not self.zone:
            return stamps
        return zones.from_local(stamps, self.zone) if self.is_local else stamps.cast(pa.timestamp("us", self.zone))

    def shown(self, steps: np.ndarray) -> np.ndarray:
        """The times of steps, as `stamps`, but of dates with a zone those that a clock there shows."""
        return self.stamps(steps) if self.is_local else _array(zones.local(self.column(steps)))

    def texts(self, steps: np.ndarray) -> list[str]:
        """The times of steps as they are written into a file."""
        stamps = self.shown(steps)
        if stamps.dtype.kind != "M":
            return [f"{stamp:.15g}" for stamp in stamps]
        whole_days = bool((stamps == stamps.astype("datetime64[D]")).all()) and not self.zone
        whole_seconds = bool((stamps == stamps.astype("datetime64[s]")).all())
        unit = "D" if whole_days else "s" if whole_seconds else "us"
        texts = [str(text).replace("T", " ") for text in np.datetime_as_string(stamps, unit=unit)]
        if not self.zone:
            return texts
        ahead = (stamps - _array(self.column(steps).cast(pa.timestamp("us")))) // np.timedelta64(1, "m")
        return [f"{text}{zones.written(int(minutes))}" for text, minutes in zip(texts, ahead, strict=True)]

    def cycle(self, steps: np.ndarray, name: str) -> np.ndarray:
        """Sine and cosine of the place in a cycle of the calendar, (n, 2).

        Arguments:
            steps: (n,).
            name: one of `CYCLES`.

        Raises:
            InputError: if the times are no dates.
        """
        stamps = self.shown(steps)
        if stamps.dtype.kind != "M":
            raise InputError(
                f"--covariates {name} is of the calendar, and the times are no dates: name the column of dates by --time"
            )
        begin, length = CYCLES[name]
        since = (stamps - stamps.astype(f"datetime64[{begin}]")) / np.timedelta64(1, "us")
        if name == "weekday":
            since = (stamps - np.datetime64("1970-01-05")) / np.timedelta64(1, "us") % length
        angle = 2 * np.pi * since / length
        return np.stack([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


CYCLES = {
    "hour": ("D", _MICROSECONDS["day"]),
    "weekday": ("D", _MICROSECONDS["week"]),
    "month": ("Y", 365.2425 * _MICROSECONDS["day"]),
}
"""Cycles of the calendar as covariates, by name: of the day, the week and the year."""


def counted_in(zone: str, times: np.ndarray) -> tuple[np.ndarray, bool]:
    """Times in UTC, (T,) datetime64[us], as they are counted, and whether that is as a clock in the zone shows them."""
    shown = _array(zones.local(pa.array(times).cast(pa.timestamp("us", zone))))
    of_day = np.unique((shown - shown.astype("datetime64[D]"))[~np.isnat(shown)])
    is_local = zones.is_fixed(zone) or len(of_day) == 1
    return (shown if is_local else times), is_local


def regular(
    times: np.ndarray,
    series: np.ndarray,
    names: Sequence[str],
    irregular: Irregular,
    order: np.ndarray,
    location: Callable[[int], str],
) -> tuple[Clock, np.ndarray]:
    """The clock of the rows of a file and the step of each, (T,) int64.

    Arguments:
        times: (T,) datetime64[us] or floats, those of one series together, and these in the order of the file.
        series: the number of the series of each row, (T,).
        names: of the series.
        order: which row of the file each is, (T,).
        location: where a row of the file is, for messages.
        irregular: "refuse" what is unsorted, doubled or not on a grid; "missing": rows may come in any order and be lacking;
            "mean": the same time may be there several times as well.

    Raises:
        InputError: for times that are not known or not on one grid, naming the first row.
    """
    unknown = np.flatnonzero(np.isnat(times) if times.dtype.kind == "M" else ~np.isfinite(times))
    if len(unknown):
        raise InputError(
            f"{location(int(order[unknown[0]]))} has no time, one of {len(unknown)} such rows: leave them out"
        )
    in_time = np.lexsort((times, series))
    unit, offset, counted = _counted(times)
    same = series[in_time][1:] == series[in_time][:-1]
    gaps = np.diff(counted[in_time])[same]

    def where(row: Any) -> str:
        """A row of the file, its series where there are several, and its time."""
        of = f" of the series {names[int(series[row])]}" if len(names) > 1 else ""
        return f"{location(int(order[row]))}{of}, {_text(times[row])},"

    _check_order(times, series, names, irregular, where)
    positive = gaps[gaps > 0]
    if not len(positive):
        raise InputError("every row has the same time: a series has several")
    lengths, counts = np.unique(positive, return_counts=True)
    step = lengths[counts.argmax()]
    clock = Clock(unit, counted.min().item(), step.item(), offset)
    exact = (counted - clock.first) / step
    steps = np.rint(exact).astype(np.int64)
    off = np.flatnonzero(np.abs(exact - steps) > (_CLOSE if unit == "number" else 0))
    if len(off):
        row = off[0]
        raise InputError(
            f"{where(row)} is no whole number of steps of {clock.text} after "
            f"{_text(times[int(np.argmin(counted))])}, the first of {len(off)} such rows of {len(times)}: give times on one "
            "grid, rounded or interpolated to it"
        )
    if irregular == "refuse":
        ahead = np.flatnonzero((np.diff(steps) != 1) & (np.diff(series) == 0))
        if len(ahead):
            row = ahead[0] + 1
            raise InputError(
                f"{where(row)} comes {steps[row] - steps[row - 1]} steps of "
                f"{clock.text} after the row before, the first of {len(ahead)} such gaps: --irregular missing takes what "
                "is lacking as missing values"
            )
    return clock, steps


def _counted(times: np.ndarray) -> tuple[Literal["month", "microsecond", "number"], int, np.ndarray]:
    """Times as numbers: months where dates lie a month or more apart, all at the same place of their month."""
    if times.dtype.kind != "M":
        return "number", 0, times.astype(np.float64)
    months = times.astype("datetime64[M]")
    within = (times - months).astype(np.int64)
    counted = times.astype(np.int64)
    apart = np.diff(np.unique(counted))
    if len(apart) and apart.min() >= _SHORTEST_MONTH and (within == within[0]).all():
        return "month", int(within[0]), months.astype(np.int64)
    return "microsecond", 0, counted


def _check_order(
    times: np.ndarray, series: np.ndarray, names: Sequence[str], irregular: Irregular, where: Where
) -> None:
    """Refuse rows out of order, and times that are there twice."""
    if irregular != "mean":
        order = np.lexsort((times, series))
        twice = np.flatnonzero((times[order][1:] == times[order][:-1]) & (series[order][1:] == series[order][:-1]))
        if len(twice):
            first, second = order[twice[0]], order[twice[0] + 1]
            several = "" if len(names) > 1 else "; of several series in one file name the column by --series-id"
            raise InputError(
                f"{where(first)} and {where(second)} have the same time, and "
                f"{counted(len(twice), 'row')} in all one that is there already: --irregular mean takes their mean{several}"
            )
    if irregular == "refuse":
        falls = np.flatnonzero((times[1:] < times[:-1]) & (series[1:] == series[:-1]))
        if len(falls):
            row = falls[0] + 1
            raise InputError(
                f"{where(row)} is earlier than the row before, "
                f"{_text(times[row - 1])}, the first of {len(falls)} such places: --irregular missing sorts them"
            )


def _array(times: pa.Array) -> np.ndarray:
    return times.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)


def _text(time: Any) -> str:
    return str(time).replace("T", " ").removesuffix(".000000") if isinstance(time, np.datetime64) else f"{time:g}"
