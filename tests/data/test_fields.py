"""Fields with names: what xarray wrote is read, trained on, and written with the same names, coordinates and units."""

import dataclasses
import json
import shutil
import sys
import zipfile

import numpy as np
import pytest

from lowerbound.cli.main import run
from lowerbound.data import DataSpec, describe, open_dataset
from lowerbound.errors import InputError

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
KINDS = ["x.nc", "x3.nc", "x.zarr", "x.zarr.zip"]
NUM, LAT, LON = 40, 4, 6


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "lowerbound"


def fields(num=NUM, dtype="float32", **changed):
    """Two variables over time, latitude and longitude."""
    rng = np.random.default_rng(0)
    dims = ("time", "lat", "lon")
    coordinates = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(num) * np.timedelta64(6, "h"),
        "lat": ("lat", np.linspace(-45.0, 45.0, LAT), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(0.0, 300.0, LON), {"units": "degrees_east"}),
        **changed,
    }
    variables = {
        "t2m": (dims, (280 + 5 * rng.standard_normal((num, LAT, LON))).astype(dtype), {"units": "K"}),
        "wind": (dims, rng.standard_normal((num, LAT, LON)).astype(dtype), {"units": "m s-1"}),
    }
    return xarray.Dataset(variables, coordinates)


def save(dataset, path):
    if path.name.endswith(".nc"):
        dataset.to_netcdf(path, engine="scipy" if "3" in path.name else "h5netcdf")
        return str(path)
    pytest.importorskip("zarr")
    folder = path.with_suffix("")
    dataset.to_zarr(folder if path.name.endswith(".zip") else path, consolidated=False)
    if path.name.endswith(".zip"):
        shutil.make_archive(str(folder), "zip", folder)
    return str(path)


@pytest.mark.parametrize("name", KINDS)
def test_fields_are_read_with_their_names(tmp_path, name):
    stored = fields()
    dataset = open_dataset(save(stored, tmp_path / name))
    assert np.array_equal(dataset.examples, np.stack([stored.t2m, stored.wind], 1))
    axes = dataset.spec.axes
    assert (axes.variables, axes.units) == (("t2m", "wind"), ("K", "m s-1"))
    assert (axes.sample_dim, axes.dims) == ("time", ("lat", "lon"))
    assert axes.coordinates == (tuple(stored.lat.values), tuple(stored.lon.values))
    assert axes.coordinate_units == ("degrees_north", "degrees_east")
    assert dataset.spec.layout == "NCHW"
    assert "t2m (K), wind (m s-1) over lat (axis 0), lon (axis 1); examples along time" in describe(dataset)
    facts = json.loads(json.dumps(dataset.spec.to_dict()))
    assert DataSpec.from_dict(facts) == dataset.spec


def test_splits_are_blocks_of_time(tmp_path):
    dataset = open_dataset(save(fields(), tmp_path / "x.nc"))
    assert np.array_equal(np.concatenate([dataset.train, dataset.validation, dataset.test]), np.arange(NUM))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (32, 4, 4)
    dataset = open_dataset(save(fields(time=np.arange(NUM)), tmp_path / "y.nc"))
    assert not np.array_equal(dataset.test, np.arange(NUM - 4, NUM)), "numbers are no times"


def test_a_variable_and_a_dimension_of_choice(tmp_path):
    stored = fields()
    path = save(stored, tmp_path / "x.nc")
    dataset = open_dataset(path, variables=("wind",), sample_dim="lon")
    assert np.array_equal(dataset.examples[:, 0], stored.wind.transpose("lon", "time", "lat"))
    assert dataset.spec.layout == "NHW"
    assert dataset.spec.axes.dims == ("time", "lat")
    assert dataset.spec.axes.coordinates[0] == (), "times are no numbers"


def test_land_is_missing(tmp_path):
    stored = fields()
    stored["t2m"][:, 1, 2] = np.nan
    dataset = open_dataset(save(stored, tmp_path / "x.nc"))
    assert dataset.spec.has_missing
    assert (dataset.num_observed == 2 * LAT * LON - 1).all()
    assert np.isnan(dataset.examples[:, 0, 1, 2]).all()


def test_packed_values_are_unpacked(tmp_path):
    stored = fields(dtype="float64").round(1)
    encoding = {"t2m": {"dtype": "int16", "scale_factor": 0.1, "add_offset": 280.0, "_FillValue": -32768}}
    stored["t2m"][3, 1, 2] = np.nan
    stored.to_netcdf(tmp_path / "x.nc", engine="h5netcdf", encoding=encoding)
    read = open_dataset(str(tmp_path / "x.nc")).examples[:, 0]
    assert np.isnan(read[3, 1, 2])
    assert np.nanmax(np.abs(read - stored.t2m.values)) < 1e-6


def test_vectors_and_series_and_volumes(tmp_path):
    stored = fields()
    assert open_dataset(save(stored.isel(lat=0, lon=0), tmp_path / "0.nc")).shape == (2,)
    assert open_dataset(save(stored.isel(lat=0), tmp_path / "1.nc")).shape == (2, LON)
    assert open_dataset(save(stored.expand_dims(level=3, axis=1), tmp_path / "v.nc")).shape == (2, 3, LAT, LON)


@pytest.mark.parametrize("name", ["x.nc", "x.zarr"])
def test_fields_beyond_memory_are_read_into_a_file(tmp_path, monkeypatch, cache, name):
    stored = fields(2000)
    path = save(stored, tmp_path / name)
    inside = open_dataset(path)
    monkeypatch.setenv("LOWERBOUND_MEMORY", str(inside.examples.nbytes * 0.9 / 2**30))
    monkeypatch.setattr("lowerbound.data.arrays.fields.PART", 1000)
    outside = open_dataset(path)
    assert inside.fingerprint() == outside.fingerprint()
    assert not any(cache.iterdir())


def _variable(dims, shape, dtype="float32"):
    return (dims, np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda x: x.drop_vars(["t2m", "wind"]), {}, "it holds no variables"),
        (
            lambda x: x,
            {"variables": ("rain",)},
            r"--variables rain: there is none .*t2m over time, lat, lon; wind over",
        ),
        (lambda x: x, {"variables": ("wind", "wind")}, "a name is there twice"),
        (lambda x: x, {"sample_dim": "day"}, "--sample-dim day: t2m is over time, lat, lon"),
        (
            lambda x: x.assign(mask=_variable(("lat", "lon"), (LAT, LON))),
            {},
            "several dimensions: name alike ones by --v",
        ),
        (lambda x: x.assign(crs=((), 0)).drop_vars(["t2m", "wind"]), {}, "no variables of numbers over any dimensions"),
        (lambda x: x.assign(crs=((), 0)), {"variables": ("crs",)}, "several dimensions"),
        (lambda x: x.expand_dims(a=1, b=1), {"sample_dim": "time"}, "4 dimensions beside time"),
        (lambda x: x.isel(time=slice(0)), {}, "0 examples"),
        (lambda x: x.isel(time=[0]), {}, "1 example of shape"),
        (lambda x: x.isel(time=[0, 1, 3, 2, 4]), {}, r"times along time do not rise: number 3 is 2020-01-01T12"),
        (lambda x: x.isel(time=[0, 1, 1, 2]), {}, r"times along time do not rise: number 2"),
        (lambda x: x.where(x.lat < -100), {}, "nothing but NaN"),
        (
            lambda x: x.assign(name=(("time",), np.array(["a"] * NUM))),
            {"variables": ("name",)},
            "store words as numbers",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, settings, message):
    with pytest.raises(InputError, match=rf"x\.nc: .*{message}"):
        open_dataset(save(change(fields()), tmp_path / "x.nc"), **settings)


def test_what_is_no_store_is_named(tmp_path):
    for name, content in (
        ("x.nc", b"words"),
        ("y.nc", b""),
        ("z.nc", b"\x89HDF\r\n\x1a\n cut"),
        ("w.nc", b"CDF\1 cut"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: it is "):
            open_dataset(str(tmp_path / name))
    pytest.importorskip("zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match=r"empty\.zarr: it is not a Zarr store"):
        open_dataset(str(tmp_path / "empty.zarr"))
    with zipfile.ZipFile(tmp_path / "x.zarr.zip", "w") as archive:
        archive.writestr("readme.txt", "words")
    with pytest.raises(InputError, match=r"x\.zarr\.zip: it is not a Zarr store"):
        open_dataset(str(tmp_path / "x.zarr.zip"))


def test_pickles_in_a_store_are_never_opened(tmp_path):
    zarr = pytest.importorskip("zarr")
    save(fields(), tmp_path / "x.zarr")
    metadata = tmp_path / "x.zarr" / "t2m" / "zarr.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "codecs": [{"name": "numcodecs.pickle"}]}))
    with pytest.raises(InputError, match=r"x\.zarr: zarr\.json says that values are pickles"):
        open_dataset(str(tmp_path / "x.zarr"))
    group = zarr.open_group(tmp_path / "y.zarr", mode="w", zarr_format=2)
    group.create_array("a", shape=(4, 2), dtype="f4")
    array = json.loads((tmp_path / "y.zarr" / "a" / ".zarray").read_text())
    (tmp_path / "y.zarr" / "a" / ".zarray").write_text(
        json.dumps({**array, "dtype": "|O", "filters": [{"id": "pickle"}]})
    )
    with pytest.raises(InputError, match=r"y\.zarr: \.zarray says that values are pickles"):
        open_dataset(str(tmp_path / "y.zarr"))


@pytest.mark.parametrize("name", ["x.nc", "x.zarr"])
def test_a_damaged_store_is_an_input_error_or_none(tmp_path, name):
    path, rng = tmp_path / name, np.random.default_rng(0)
    save(fields(), path)
    file = path if path.is_file() else path / "t2m" / "zarr.json"
    whole = file.read_bytes()
    for trial in range(20):
        content = bytearray(whole)
        first = rng.integers(len(content) - 20)
        content[first:] = content[first:0] if trial % 2 else rng.bytes(20) + content[first + 20 :]
        file.write_bytes(content)
        try:
            open_dataset(str(path))
        except InputError as error:
            assert str(error).startswith(str(path))  # noqa: PT017


def test_without_the_library_it_is_said(tmp_path, monkeypatch, capsys):
    save(fields(), tmp_path / "x.nc")
    monkeypatch.setitem(sys.modules, "xarray", None)
    assert run(["train", str(tmp_path / "x.nc"), "--dry-run"]) == 2
    assert "needs xarray, which is not installed: pip install 'lowerbound[science]'" in capsys.readouterr().err


def test_a_run_of_fields_writes_fields_and_knows_its_data(tmp_path, monkeypatch, capsys):
    stored = fields()
    stored["t2m"][:, 1, 2] = np.nan
    path, out = save(stored, tmp_path / "x.nc"), tmp_path / "run"
    train = ["train", path, "-o", str(out), "--batch-size", "4", "--network.width", "8", "--network.multipliers", "1"]
    assert run([*train, "--steps", "2", "--network.periodic", "1"]) == 0
    assert run(["sample", str(out), "-n", "3", "--steps", "2", "-o", str(tmp_path / "s.nc")]) == 0
    with xarray.open_dataset(tmp_path / "s.nc", engine="h5netcdf") as samples:
        assert samples.t2m.dims == ("time", "lat", "lon")
        assert samples.t2m.shape == (3, LAT, LON)
        assert (samples.t2m.units, samples.wind.units, samples.lat.units) == ("K", "m s-1", "degrees_north")
        assert np.array_equal(samples.lon, stored.lon)
        assert samples.t2m.dtype == np.float32
    impute = ["impute", str(out), path, "--split", "test", "--num-samples", "2", "--steps", "2"]
    assert run([*impute, "-o", str(tmp_path / "i.nc")]) == 0
    with xarray.open_dataset(tmp_path / "i.nc", engine="h5netcdf") as imputed:
        assert imputed.t2m.dims == ("time", "draw", "lat", "lon")
        assert imputed.t2m_mean.dims == ("time", "lat", "lon")
        assert not imputed.t2m.isnull().any()
        known = imputed.t2m_observed.values.astype(bool)
        assert (~known).sum() == len(known)
        assert np.array_equal(imputed.t2m.values[:, 0][known], stored.t2m.values[-len(known) :][known])
    # a file that changed is not gone on with
    changed = stored.copy(deep=True)
    changed["wind"][0, 0, 0] += 1
    save(changed, tmp_path / "x.nc")
    capsys.readouterr()
    assert run([*train, "--steps", "4", "--network.periodic", "1"]) == 2
    assert "data" in capsys.readouterr().err
    assert run(["sample", str(out), "-n", "3", "-o", str(tmp_path / "s.csv")]) == 2
    assert ".nc" in capsys.readouterr().err


def test_axes_of_a_strangers_run_are_checked(tmp_path):
    facts = open_dataset(save(fields(), tmp_path / "x.nc")).spec.to_dict()
    for wrong in ({"units": ["K"]}, {"variables": ["a"], "units": [""]}, {"dims": ["a", "a"]}, {"sample_dim": "lat"}):
        with pytest.raises(InputError, match=r"^config: axes"):
            DataSpec.from_dict({**facts, "axes": {**facts["axes"], **wrong}}, "config")
    assert dataclasses.replace(DataSpec.from_dict(facts), axes=None).to_dict().get("axes") is None
