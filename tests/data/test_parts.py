"""What is taken in one pass over parts is what numpy takes of the whole, and takes no memory that grows with the data."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lowerbound.cli.main import run
from lowerbound.data import open_dataset, parts
from lowerbound.data.encoding import Affine
from lowerbound.data.parts import check_finite, gathered, moments, ranges
from lowerbound.errors import InputError


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART", 60)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(101, 5), (37, 2, 7), (3, 2, 50, 40)])
def test_moments_are_those_of_the_whole(small_parts, dtype, shape):
    values = (100 + np.random.default_rng(0).standard_normal(shape)).astype(dtype)
    chosen = np.arange(shape[0]) % 3 != 1
    axes = (0, *range(2, len(shape)))
    for counted, whole in ((None, values), (chosen, values[chosen])):
        found = moments(values, counted)
        assert np.abs(found.mean - whole.mean(axes, dtype=np.float64)).max() < 1e-12
        assert np.abs(found.variance - whole.var(axes, dtype=np.float64)).max() < 1e-11
        assert not found.has_missing


@pytest.mark.parametrize("shape", [(101, 5), (37, 2, 7), (3, 2, 50, 40)])
def test_moments_with_gaps_are_those_of_the_entries_that_are_there(small_parts, shape):
    rng = np.random.default_rng(0)
    values = 100 + rng.standard_normal(shape)
    values[rng.random(shape) < 0.3] = np.nan
    chosen, axes = np.arange(shape[0]) % 3 != 1, (0, *range(2, len(shape)))
    for counted, whole in ((None, values), (chosen, values[chosen])):
        found = moments(values, counted)
        assert np.abs(found.mean - np.nanmean(whole, axes)).max() < 1e-12
        assert np.abs(found.variance - np.nanvar(whole, axes)).max() < 1e-11
        assert np.array_equal(found.num_entries, (~np.isnan(whole)).sum(axes))
        assert found.has_missing


def test_a_channel_that_is_empty_in_some_parts_is_that_of_the_others(small_parts):
    values = np.random.default_rng(0).standard_normal((300, 2))
    values[:250, 1] = np.nan
    found = moments(values)
    assert np.abs(found.mean - np.nanmean(values, 0)).max() < 1e-12
    assert np.abs(found.variance - np.nanvar(values, 0)).max() < 1e-12
    # counted or not, a gap anywhere is one that an encoding has to know
    assert moments(values, np.arange(300) >= 250).has_missing


def test_moments_of_one_part_are_numpys_own():
    values = np.random.default_rng(0).standard_normal((50, 3))
    found = moments(values)
    assert np.array_equal(found.mean, values.mean(0))
    assert np.array_equal(found.variance, values.var(0))


def test_ranges_are_those_of_each_split(small_parts):
    values = np.random.default_rng(0).integers(-1000, 1000, (300, 7))
    order = np.random.default_rng(1).permutation(300)
    splits = {"train": order[:200], "test": order[200:]}
    expected = {name: (values[rows].min(), values[rows].max()) for name, rows in splits.items()}
    assert ranges(values, splits) == expected


@pytest.mark.parametrize("refuse", [check_finite, moments, Affine.fit])
def test_what_is_not_finite_is_named_in_whichever_part_it_lies(small_parts, refuse):
    values = np.random.default_rng(0).standard_normal((300, 7))
    values[[3, 200, 299], 2] = np.inf, np.nan if refuse is check_finite else np.inf, -np.inf
    with pytest.raises(InputError, match=r"3 of 300 examples .*\(example 3, 200, 299\)"):
        refuse(values)


def test_values_too_large_to_be_squared_are_refused(small_parts):
    values = np.random.default_rng(0).standard_normal((300, 7))
    values[250] = 1e200
    with pytest.raises(InputError, match=r"up to 1e\+200 are too large"):
        Affine.fit(values)


def _sparse(path, dtype, shape):
    """A large file of which little is written; its first examples differ from the rest."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    array[:100] = np.random.default_rng(0).integers(0, 50, (100, *shape[1:]))
    array.flush()


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float32", (26_000, 3, 32, 32)), ("float32", (26_000, 32, 32, 3)), (">i4", (26_000, 3, 32, 32))],
)
def test_opening_takes_no_memory_that_grows_with_the_file(tmp_path, dtype, shape, monkeypatch):
    # less than the file has
    monkeypatch.setenv("LOWERBOUND_MEMORY", "0.1")
    _sparse(tmp_path / "large.npy", dtype, shape)
    tracemalloc.start()
    try:
        dataset = open_dataset(str(tmp_path / "large.npy"))
        dataset.fingerprint()
        dataset.encoded(dataset.train[:32])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert dataset.examples.nbytes > 300e6
    assert peak < 40e6


def test_a_dry_run_takes_no_memory_that_grows_with_the_file(tmp_path, capsys):
    small = ["--network.width", "8", "--steps", "8"]  # whose trial step is not the subject
    _sparse(tmp_path / "small.npy", "float32", (1000, 8))
    assert run(["train", str(tmp_path / "small.npy"), "--dry-run", *small]) == 0  # everything imported
    _sparse(tmp_path / "large.npy", "float32", (100_000, 800))
    tracemalloc.start()
    try:
        assert run(["train", str(tmp_path / "large.npy"), "--dry-run", *small]) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "100,000 examples" in capsys.readouterr().out
    # of 320
    assert peak < 60e6


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_parts_of_an_archive_are_read_into_one_array(tmp_path, order):
    num = {"C": 80_000, "F": 400}[order]
    train, test = (
        np.random.default_rng(k).integers(256, size=(n, 28, 28), dtype="u1") for k, n in enumerate((num, num // 4))
    )
    np.savez(tmp_path / "x.npz", train=np.asarray(train, order=order), test=test)
    if order == "F":
        dataset = open_dataset(str(tmp_path / "x.npz"))
    else:
        tracemalloc.start()
        try:
            dataset = open_dataset(str(tmp_path / "x.npz"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1.0 * (train.nbytes + test.nbytes) + 36e6
    assert np.array_equal(dataset.examples[:, 0], np.concatenate([train, test]))


@pytest.mark.skipif(sys.platform != "linux", reason="counts mapped pages in /proc")
def test_a_large_batch_keeps_few_pages_of_its_file(tmp_path, monkeypatch):
    path, num_examples = tmp_path / "images.npy", 40_000
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(num_examples, 3072))
    written[:, 0] = np.arange(num_examples) % 251
    mapped = np.asarray(np.load(path, mmap_mode="r"))
    indices = np.random.default_rng(0).permutation(num_examples)[:3000]
    release, seen = parts.release, []

    def counted(array):
        seen.append(mapped_megabytes())
        release(array)

    monkeypatch.setattr(parts, "release", counted)
    release(written)
    before = mapped_megabytes()
    assert np.array_equal(gathered(mapped, indices)[:, 0], indices % 251)
    # a page is of 2 MiB at most, and an example lies on two; all of the file, 123 MB, would be there if they were looked
    # up at once, and 32 MB of sixteen together
    assert max(seen) - before < 8
    assert mapped_megabytes() - before < 1


def mapped_megabytes() -> float:
    """Pages of files that this process has mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssFile"))
