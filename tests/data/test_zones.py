"""Times with a zone are counted in UTC, and come out in the zone and the form that they came in."""

import datetime
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lowerbound.cli.forecast import columns_of
from lowerbound.cli.impute import filled_columns
from lowerbound.data import DataConfig, describe, open_dataset, read_examples
from lowerbound.data.columns import Column
from lowerbound.data.series.examples import read_series
from lowerbound.data.tables.frames import to_table
from lowerbound.errors import InputError
from lowerbound.run.series import SeriesDraws

DAYS = range(10, 28)


def _written(path, dates):
    path.write_text("\n".join(["when,a", *(f"{date},{k % 7 / 4}" for k, date in enumerate(dates)), ""]))
    return str(path)


@pytest.mark.parametrize(
    ("text", "zone", "hours_ahead"),
    [
        ("2024-01-{}T10:00:00+02:00", "+02:00", 2),
        ("2024-01-{} 10:00:00.250000 -0330", "-03:30", -3.5),
        ("2024-01-{} 10:00 UTC", "UTC", 0),
        ("2024-01-{}T10:00Z", "UTC", 0),
        ("{}.01.2024 10:00:00+05", "+05:00", 5),
    ],
)
def test_texts_with_one_offset_come_out_as_they_came(tmp_path, text, zone, hours_ahead):
    dates = [text.format(day) for day in DAYS]
    dataset = open_dataset(_written(tmp_path / "x.csv", dates))
    column = dataset.spec.columns[0]
    assert (column.kind, column.zone) == ("date", zone)
    assert f"date (zone {zone})" in describe(dataset)
    local = datetime.datetime(2024, 1, 10, 10, 0, 0, 250_000 if ".25" in text else 0, datetime.UTC)
    assert dataset.examples[0, 0] == local.timestamp() - 3600 * hours_ahead
    assert to_table(dataset.spec, dataset.examples, as_text=True)["when"].to_pylist() == dates
    typed = to_table(dataset.spec, dataset.examples)["when"]
    assert typed[0].as_py().utcoffset() == datetime.timedelta(hours=hours_ahead)


def test_several_offsets_are_written_in_utc_and_told_of(tmp_path):
    path = _written(tmp_path / "x.csv", [f"2024-03-{day} 10:00:00+0{1 + (day > 20)}:00" for day in DAYS])
    with pytest.warns(UserWarning, match=r"column when: times of several offsets.*\+01:00, \+02:00.*in UTC"):
        dataset = open_dataset(path)
    written = to_table(dataset.spec, dataset.examples, as_text=True)["when"].to_pylist()
    assert written == [f"2024-03-{day} 0{9 - (day > 20)}:00:00+00:00" for day in DAYS]


@pytest.mark.parametrize("other", ["2024-03-10 10:00:00", "2024-03-10 10:00:00+99:00"])
def test_a_time_without_an_offset_among_others_is_refused_by_line(tmp_path, other):
    path = _written(tmp_path / "x.csv", [*(f"2024-03-{day} 10:00:00+01:00" for day in DAYS), other])
    with pytest.raises(InputError, match=r"line 20, column when: .* is no date of the form %Y-%m-%d %H:%M:%S%z"):
        open_dataset(path)


def test_a_file_of_another_offset_is_read_and_one_without_is_refused(tmp_path):
    path = _written(tmp_path / "x.csv", [f"2024-01-{day}T10:00+02:00" for day in DAYS])
    dataset = open_dataset(path)
    config = DataConfig(_written(tmp_path / "y.csv", [f"2024-01-{day}T08:00Z" for day in DAYS]))
    assert np.array_equal(read_examples(config, dataset.spec).values, dataset.examples)
    _written(tmp_path / "y.csv", [f"2024-01-{day}T08:00" for day in DAYS])
    with pytest.raises(InputError, match=r"when has times without a time zone, and the run.*\+02:00: write them with"):
        read_examples(config, dataset.spec)
    naive = open_dataset(str(tmp_path / "y.csv")).spec
    with pytest.raises(InputError, match=r"when has times of the zone \+02:00, and the run knows times without one"):
        read_examples(DataConfig(path), naive)
    of_before = Column("when", "date", "timestamp[s]", format="%Y-%m-%dT%H:%MZ")
    assert of_before.zone == "UTC"


def test_what_may_be_a_date_is_told_how_to_become_one(tmp_path):
    path = _written(tmp_path / "x.csv", [f"{day} Mar 2024" for day in DAYS])
    with pytest.raises(InputError, match=r"such as '10 Mar 2024'.*--date-format, such as '%d %b %Y'"):
        open_dataset(path)
    assert open_dataset(path, date_format="%d %b %Y").spec.columns[0].kind == "date"
    with pytest.raises(InputError, match="if they are dates, store them as such"):
        open_dataset(pa.table({"when": [f"2024-03-{day}" for day in DAYS], "a": np.arange(18.0) ** 2}))


ZONES = [None, "UTC", "Europe/Berlin", "-05:00"]


def _stamps(unit, zone, num=300):
    """Hours, days or months of a clock in a zone, as a column."""
    if unit == "h":  # in UTC, across a change of the clock
        hours = np.datetime64("2024-03-25") + np.arange(num) * np.timedelta64(1, "h")
        return pa.array(hours.astype("datetime64[us]"), pa.timestamp("us")).cast(pa.timestamp("us", zone))
    shown = (np.datetime64("2024-01", unit) + np.arange(num)).astype("datetime64[us]").tolist()
    if zone in ("UTC", "Europe/Berlin"):
        return pa.compute.assume_timezone(pa.array(shown, pa.timestamp("us")), zone)
    hours = datetime.timedelta(hours=0 if zone is None else 5)
    return pa.array([time + hours for time in shown], pa.timestamp("us")).cast(pa.timestamp("us", zone))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("unit", "text"), [("h", "1 hour"), ("D", "1 day"), ("M", "1 month")])
def test_series_have_steps_of_their_zone_and_come_out_in_it(tmp_path, zone, unit, text):
    path, stamps = tmp_path / "x.parquet", _stamps(unit, zone)
    parquet.write_table(pa.table({"when": stamps, "a": np.arange(300.0) % 7}), path)
    series = read_series(path, DataConfig(str(path), window=8))
    assert series.clock.text == text
    assert series.clock.column(series.steps).equals(stamps)
    if zone is not None:
        texts = series.clock.texts(series.steps)
        assert [datetime.datetime.fromisoformat(each) for each in texts] == stamps.to_pylist()


def test_covariates_of_the_calendar_are_those_of_the_zone(tmp_path):
    path, stamps = tmp_path / "x.parquet", _stamps("h", "Europe/Berlin")
    parquet.write_table(pa.table({"when": stamps, "a": np.arange(300.0) % 7}), path)
    series = read_series(path, DataConfig(str(path), window=8, covariates=("hour",)))
    hours = np.array([time.hour for time in stamps.to_pylist()])
    assert hours[145] == hours[144] + 2  # the clock is put forward
    np.testing.assert_allclose(series.covariates[:, 0], np.sin(2 * np.pi * hours / 24), atol=1e-6)


def test_forecasts_and_imputations_have_the_offset(tmp_path):
    path, stamps = tmp_path / "x.parquet", _stamps("h", "-05:00")
    parquet.write_table(pa.table({"when": stamps, "a": np.arange(300.0) % 7}), path)
    series = read_series(path, DataConfig(str(path), window=8))
    draws = SeriesDraws(series, np.zeros((2, 300, 1)))
    assert filled_columns(draws, as_text=False)["when"].combine_chunks().equals(stamps)
    assert filled_columns(draws, as_text=True)["when"][0].as_py() == "2024-03-24 19:00:00-05:00"
    ahead = SeriesDraws(replace(series, steps=series.steps + 300), draws.samples)
    times = columns_of(ahead, (), as_text=False)["when"]
    assert times.type == stamps.type
    assert (times[0].as_py(), times[2].as_py()) == (
        stamps[0].as_py() + datetime.timedelta(hours=300),
        stamps[0].as_py() + datetime.timedelta(hours=301),
    )
