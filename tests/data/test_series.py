"""Windows over series are those that a loop would cut, in the order of time and within one split and one series."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lowerbound.data import DataConfig, DataSpec, describe, open_dataset
from lowerbound.data.series.clock import regular
from lowerbound.data.series.examples import read_series
from lowerbound.data.series.windows import Windows

HOURS = np.datetime64("2024-02-28T22:00") + np.arange(400) * np.timedelta64(1, "h")


def write(path, columns) -> str:
    """A table of text."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(path)


def waves(num: int, seed: int = 0) -> np.ndarray:
    """Two channels, (num, 2) float32."""
    rng, places = np.random.default_rng(seed), np.arange(num)
    clean = np.stack([np.sin(places * 0.26), 5 + np.cos(places * 0.26)], 1)
    return (clean + 0.1 * rng.standard_normal((num, 2))).astype(np.float32)


@pytest.fixture
def table(tmp_path):
    values = waves(400)
    times = [str(time).replace("T", " ") for time in HOURS]
    return write(tmp_path / "waves.csv", {"date": times, "a": values[:, 0], "b": values[:, 1]})


@pytest.mark.parametrize(("window", "horizon", "stride"), [(8, 0, 1), (7, 3, 5), (12, 4, 24)])
def test_windows_are_those_of_a_loop(table, window, horizon, stride):
    dataset = open_dataset(table, window=window, horizon=horizon, stride=stride)
    values, length = waves(400), window + horizon
    starts = [first for first in range(400) if first % stride == 0 and first + length <= 400]
    np.testing.assert_allclose(dataset.examples[:], [values[first : first + length].T for first in starts], rtol=1e-6)
    splits = {"train": (0, 320), "validation": (320, 360), "test": (360, 400)}
    for split, (begin, end) in splits.items():
        inside = [first for first in starts if begin <= first and first + length <= end]
        assert [starts[index] for index in dataset.indices(split)] == inside
        assert inside
    lost = len(starts) - sum(len(dataset.indices(split)) for split in splits)
    assert (f"{lost:,} overlap a border" in describe(dataset)) == (lost > 0)


def test_the_normalisation_counts_each_training_row_once(table):
    encoding = open_dataset(table, window=20).spec.encoding
    np.testing.assert_allclose(encoding.shift, waves(400)[:320].mean(0), rtol=1e-5)
    np.testing.assert_allclose(encoding.scale, waves(400)[:320].std(0), rtol=1e-5)


def test_windows_take_no_memory():
    rows = np.zeros((1000, 3), np.float32)
    windows = Windows(rows, np.arange(900), 100)
    assert windows.shape == (900, 3, 100)
    assert np.shares_memory(windows[7], rows)
    assert windows[np.array([3, 1])].shape == (2, 3, 100)
    assert windows[2:5].shape == (3, 3, 100)
    covered = windows.is_covered(np.array([0, 2, 800]))
    assert np.flatnonzero(covered).tolist() == [*range(102), *range(800, 900)]


def test_splits_of_given_lengths(table):
    dataset = open_dataset(table, window=10, split_steps=(100, 50, 60))
    assert [len(dataset.indices(split)) for split in ("train", "validation", "test")] == [91, 41, 51]
    assert dataset.test.max() + 10 == 210


def test_several_series_are_cut_apart_and_split_at_the_same_times(tmp_path):
    # interleaved, of different lengths
    rows = [
        (HOURS[k], name, 100 * (name == "x") + k) for k in range(100) for name in ("x", "y") if name == "x" or k >= 40
    ]
    columns = {"when": [str(time) for time, _, _ in rows], "id": [name for _, name, _ in rows]}
    path = write(tmp_path / "two.csv", {**columns, "level": [float(value) for *_, value in rows]})
    dataset = open_dataset(path, window=6, series_id="id")
    for split in ("train", "validation", "test"):
        for window in dataset.examples[dataset.indices(split)][:, 0]:
            assert (np.diff(window) == 1).all()  # neither series nor time is left
    ends = {
        split: max(window[0, -1] % 100 for window in dataset.examples[dataset.indices(split)]) for split in ("train",)
    }
    first = min(window[0, 0] % 100 for window in dataset.examples[dataset.test])
    assert ends["train"] < first
    series = read_series(tmp_path / "two.csv", DataConfig(path, window=6, series_id="id"))
    assert series.ids == ("x", "y")
    assert [part.stop - part.start for part in series.parts] == [100, 60]


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_what_is_lacking_is_missing(tmp_path, order):
    values, keep = waves(200), np.ones(200, bool)
    keep[[5, 6, 7, 50, 190]] = False
    kept = np.flatnonzero(keep)
    if order == "shuffled":
        kept = np.random.default_rng(0).permutation(kept)
    path = write(tmp_path / "gaps.csv", {"t": kept * 0.25, "a": values[kept, 0]})
    series = read_series(tmp_path / "gaps.csv", DataConfig(path, window=4, time="t", irregular="missing"))
    assert series.clock.text == "0.25"
    assert len(series.rows) == 200
    assert (np.isnan(series.rows[:, 0]) == ~keep).all()
    np.testing.assert_allclose(series.rows[keep, 0], values[keep, 0], rtol=1e-6)
    dataset = open_dataset(path, window=4, time="t", irregular="missing")
    assert dataset.spec.has_missing
    stored = DataSpec.from_dict(dataset.spec.to_dict())
    assert stored.series == dataset.spec.series


def test_rows_of_the_same_time_have_their_mean(tmp_path):
    path = write(tmp_path / "twice.csv", {"t": [0, 1, 1, 2, 3], "a": [0.0, 1.0, 3.0, 4.0, 5.5], "b": [1, 2, "", 4, 5]})
    series = read_series(tmp_path / "twice.csv", DataConfig(path, window=2, time="t", irregular="mean"))
    assert series.rows[:, 0].tolist() == [0, 2, 4, 5.5]
    assert series.rows[:, 1].tolist() == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.arange("2020-01", "2022-01", dtype="datetime64[M]"), "1 month"),
        (np.arange("2000-01", "2024-01", 3, dtype="datetime64[M]"), "3 months"),
        (np.arange("2024-02-27", "2024-03-05", dtype="datetime64[D]"), "1 day"),
        (np.arange("2024-02-27", "2024-03-05", 900, dtype="datetime64[s]"), "15 minutes"),
        (np.arange("2024-02-27", "2024-02-28", 1500, dtype="datetime64[s]"), "25 minutes"),
        (np.arange("1990", "2020", dtype="datetime64[Y]"), "12 months"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_clock_goes_on_as_it_went(times, words):
    times = times.astype("datetime64[us]")
    num = len(times) - 3
    clock, steps = regular(times[:num], np.zeros(num, int), ("",), "refuse", np.arange(num), str)
    assert clock.text == words
    assert (clock.stamps(steps) == times[:num]).all()
    assert (clock.stamps(steps[-1] + 1 + np.arange(3)) == times[num:]).all()


def test_covariates_lie_along_the_windows(tmp_path):
    values = waves(400)
    columns = {"date": [str(time) for time in HOURS], "a": values[:, 0], "price": values[:, 1]}
    dataset = open_dataset(
        write(tmp_path / "c.csv", columns), window=10, stride=3, covariates=("hour", "price", "weekday")
    )
    series = dataset.spec.series
    assert series is not None
    assert series.channels == ("a",)
    assert series.covariates == ("price", "hour (sin)", "hour (cos)", "weekday (sin)", "weekday (cos)")
    cond = dataset.cond(np.array([0, 5]))
    assert cond is not None
    assert cond.shape == (2, 6, 10)
    assert cond[:, 0].isnan().all()
    train = values[:320, 1]
    np.testing.assert_allclose(cond[1, 1], (values[15:25, 1] - train.mean()) / train.std(), atol=0.02)
    hours = ((HOURS - HOURS.astype("datetime64[D]")) / np.timedelta64(1, "h"))[15:25]
    angle = np.arctan2(*(cond[1, 2 + k].numpy() * series.normalisation.scale[1 + k] + series.normalisation.shift[1 + k]
                         for k in range(2)))  # fmt: skip
    np.testing.assert_allclose(angle % (2 * np.pi), 2 * np.pi * hours / 24, atol=1e-5)
    assert dataset.spec.conditioned(True) is dataset.spec


def test_parquet_is_read_as_text_is(table, tmp_path):
    values = waves(400)
    columns = {"date": HOURS.astype("datetime64[us]"), "a": values[:, 0], "b": values[:, 1]}
    parquet.write_table(
        pa.table({name: pa.array(column) for name, column in columns.items()}), tmp_path / "waves.parquet"
    )
    one, other = (open_dataset(str(path), window=12) for path in (table, tmp_path / "waves.parquet"))
    np.testing.assert_allclose(one.examples[:], other.examples[:], rtol=1e-6)
    assert one.spec.series == other.spec.series
    assert one.has_fingerprint(one.fingerprint())
    assert not open_dataset(table, window=12, stride=2).has_fingerprint(one.fingerprint())
