"""The tables of the flow papers, prepared from small files of their layout: columns, order, splits and units."""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

from lowerbound.data.flow_tables import flow_table
from lowerbound.errors import InputError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def units(*parts):
    """The largest mean, and how far a standard deviation is from 1."""
    rows = np.concatenate(parts)
    return np.abs(rows.mean(0)).max(), np.abs(rows.std(0) - 1).max()


def test_power_is_shuffled_dequantised_and_normalised(rng, tmp_path):
    (tmp_path / "power").mkdir()
    table = np.round(rng.normal(240, 3, (1000, 8)), 2)
    np.save(tmp_path / "power" / "data.npy", table)
    train, validation, test = flow_table("power", tmp_path)
    assert (len(train), len(validation), len(test)) == (810, 90, 100)
    assert train.shape[1] == 6
    assert max(units(train, validation)) < 1e-9
    # the published order and noise: the same generator, asked in the same order
    state = np.random.RandomState(42)
    order = np.arange(1000)
    state.shuffle(order)
    voltage, gap, meters = 0.01 * state.rand(1000, 1), 0.001 * state.rand(1000, 1), state.rand(1000, 3)
    noise = np.hstack([gap, voltage, meters, np.zeros((1000, 1))])
    expected = table[order][:, [0, 2, 4, 5, 6, 7]] + noise
    expected = (expected - expected[:900].mean(0)) / expected[:900].std(0)
    assert np.allclose(np.concatenate([train, validation, test]), expected)


def test_gas_leaves_out_columns_that_are_nearly_the_same(rng, tmp_path):
    (tmp_path / "gas").mkdir()
    sensors = rng.normal(size=(500, 3))
    columns = [sensors[:, 0], sensors[:, 0] + 0.01 * rng.normal(size=500), sensors[:, 1], sensors[:, 2]]
    rows = np.column_stack([np.arange(500), rng.random(500), rng.random(500), *columns])
    header = "Time,Meth,Eth," + ",".join(f"s{number}" for number in range(4))
    np.savetxt(tmp_path / "gas" / "ethylene_CO.csv", rows, delimiter=",", header=header, comments="")
    parts = flow_table("gas", tmp_path)
    assert [len(part) for part in parts] == [405, 45, 50]
    whole = np.concatenate(parts)
    expected = np.column_stack(columns[1:])  # of the two the first is left out
    assert np.allclose(whole, (expected - expected.mean(0)) / expected.std(0, ddof=1), atol=1e-6)


def test_hepmass_is_the_signal_without_what_recurs(rng, tmp_path):
    (tmp_path / "hepmass").mkdir()
    for name, num, extra in (("train", 400, 0), ("test", 200, 1)):
        label = (np.arange(num) % 2).astype(float)
        recurring = np.round(rng.random(num) * 3)
        table = np.column_stack([label, rng.normal(5, 2, (num, 2)), recurring, rng.normal(size=(num, 1 + extra))])
        header = ",".join(f"f{number}" for number in range(table.shape[1]))
        np.savetxt(tmp_path / "hepmass" / f"1000_{name}.csv", table, delimiter=",", header=header)
        if name == "train":
            signal = table[label == 1]
    train, validation, test = flow_table("hepmass", tmp_path)
    assert (len(train), len(validation), len(test)) == (180, 20, 100)
    assert train.shape[1] == validation.shape[1] == test.shape[1] == 3
    expected = signal[:, [1, 2, 4]]
    expected = (expected - expected.mean(0)) / expected.std(0, ddof=1)
    assert np.allclose(np.concatenate([train, validation]), expected)


def test_miniboone_is_split_in_its_order(rng, tmp_path):
    (tmp_path / "miniboone").mkdir()
    np.save(tmp_path / "miniboone" / "data.npy", rng.normal(3, 2, (300, 4)).cumsum(0))
    train, validation, test = flow_table("miniboone", tmp_path)
    assert (len(train), len(validation), len(test)) == (243, 27, 30)
    assert max(units(train, validation)) < 1e-9
    assert test.min() > train.max() - 1, "later rows of a growing table come last"


def test_bsds300_stays_as_it_is(rng, tmp_path):
    (tmp_path / "BSDS300").mkdir()
    parts = {name: rng.normal(size=(num, 63)) for name, num in (("train", 20), ("validation", 5), ("test", 8))}
    with h5py.File(tmp_path / "BSDS300" / "BSDS300.hdf5", "w") as file:
        for name, rows in parts.items():
            file[name] = rows
    for name, rows in flow_table("bsds300", tmp_path)._asdict().items():
        assert np.array_equal(rows, parts[name])


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="choose from power, gas"):
        flow_table("iris", tmp_path)
    with pytest.raises(InputError, match=r"data\.npy is not there: the archive"):
        flow_table("power", tmp_path)
    (tmp_path / "miniboone").mkdir()
    (tmp_path / "miniboone" / "data.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="does not hold the table miniboone"):
        flow_table("miniboone", tmp_path)


def test_published_rows_stand_beside_ours_with_their_sources(monkeypatch, capsys):
    script = Path(__file__).parents[2] / "benchmarks" / "flow_tables.py"
    spec = importlib.util.spec_from_file_location("flow_tables_benchmark", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def measured(name, options):
        if name == "gas":
            raise InputError("ethylene_CO.csv is not there")
        return {"bound (ours)": f"{len(name)}.00 ± 0.10"}

    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr("sys.argv", ["flow_tables.py", "folder"])
    module.main()
    missing, head, _, ours, *published = capsys.readouterr().out.splitlines()
    assert missing == "gas is left out: ethylene_CO.csv is not there"
    assert head == "| nats per test row | power | hepmass | miniboone | bsds300 |"
    assert ours == "| bound (ours) | 5.00 ± 0.10 | 7.00 ± 0.10 | 9.00 ± 0.10 | 7.00 ± 0.10 |"
    assert "| TraDE (Fakoor et al. 2020) | 0.73 | -12.01 | -9.49 | 160.01 |" in published
    assert all(any(year in row for year in ("2017", "2019", "2020", "2021")) for row in published)
