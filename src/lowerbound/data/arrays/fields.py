"""Fields in NetCDF files and Zarr stores: variables over named dimensions, with units and coordinates, gaps included."""

import json
import os
import warnings
import zipfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.arrays.axes import Axes
from lowerbound.data.damage import undamaged
from lowerbound.data.dataset import Examples
from lowerbound.data.extras import extra
from lowerbound.data.fitting import check_type
from lowerbound.data.memory import allocate, check_memory, memory_limit, release
from lowerbound.data.parts import PART
from lowerbound.data.spec import naming
from lowerbound.errors import InputError
from lowerbound.words.printable import printable

SUFFIXES = (".nc", ".nc4", ".cdf", ".zarr.zip")
ZARR = ".zarr"
"""How the name of a folder that is a Zarr store ends."""
_METADATA = (".zarray", ".zgroup", ".zmetadata", ".zattrs", "zarr.json")
_MOST_METADATA = 1 << 26
_LAYOUTS = (("ND", "ND"), ("NL", "NCL"), ("NHW", "NCHW"), ("NDHW", "NCDHW"))
"""Of one channel, and of several, by the number of spatial dimensions."""
_PURPOSE = "NetCDF and Zarr"


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return folder.name.lower().endswith(ZARR) or any((folder / name).is_file() for name in _METADATA)


def read_fields(path: Path, *, variables: tuple[str, ...] = (), sample_dim: str | None = None) -> Examples:
    """Fields of a NetCDF file or a Zarr store, one example for each place along one dimension.

    Variables become channels, and other dimensions than that of the examples, three at most, become spatial axes in their
    order. NaN, and what the file says is missing, are missing entries. If the examples follow each other in time, the splits
    are blocks of it: the first 80 % for training, a tenth for validation, the last tenth for testing; split at random, an
    example would have its neighbours among those that it is to be told from.

    Arguments:
        path: of a NetCDF file, a Zarr folder, or a .zarr.zip.
        variables: their names; all numbers, by their names' order, if none is given.
        sample_dim: the dimension that counts examples; the first one if not given.

    Raises:
        InputError: if it is damaged, or its variables and dimensions are not what was asked for.
    """
    with naming(str(path)), _opened(path) as source:
        names = _variables(source, variables, sample_dim)
        first = source[names[0]]
        sample_dim = sample_dim or str(first.dims[0])
        dims = tuple(str(dim) for dim in first.dims if dim != sample_dim)
        if len(dims) >= len(_LAYOUTS):
            raise InputError(
                f"{names[0]} has {len(dims)} dimensions beside {sample_dim} ({', '.join(dims)}): at most three"
            )
        arrays = [source[name].transpose(sample_dim, *dims) for name in names]
        for array in arrays:
            check_type(array.dtype)
        splits = _blocks(source, sample_dim)
        axes = Axes(
            tuple(map(printable, names)),
            tuple(_units(array) for array in arrays),
            printable(sample_dim),
            tuple(map(printable, dims)),
            tuple(_coordinates(source, dim) for dim in dims),
            tuple(_units(source[dim]) if dim in source.coords else "" for dim in dims),
        )
        values = _values(str(path), arrays)
    layout = _LAYOUTS[len(dims)][len(names) > 1]
    return Examples(str(path), values, layout, splits, axes=axes)


def write_fields(path: Path, axes: Axes, arrays: Mapping[str, np.ndarray], extra_dims: tuple[str, ...] = ()) -> None:
    """Write a NetCDF file of variables with the names, dimensions, coordinates and units of the data.

    Arguments:
        path: of the file.
        axes: of the data.
        arrays: (N, *extra, C, *spatial) by what is put behind the variables' names, with the `extra_dims` if it has them.
        extra_dims: names of axes behind the first.

    Raises:
        InputError: if xarray is not installed.
    """
    xarray = extra("xarray", "science", _PURPOSE)
    extra("h5netcdf", "science", _PURPOSE)
    variables = {}
    for ending, values in arrays.items():
        between = extra_dims if values.ndim == len(axes.dims) + 2 + len(extra_dims) else ()
        channels = np.moveaxis(values, 1 + len(between), 0)
        for name, unit, channel in zip(axes.variables, axes.units, channels, strict=True):
            attributes = {"units": unit} if unit and channel.dtype.kind != "b" else {}
            stored = channel.astype(np.int8) if channel.dtype.kind == "b" else channel
            variables[name + ending] = ((axes.sample_dim, *between, *axes.dims), stored, attributes)
    coordinates = {
        dim: (dim, np.array(along), {"units": unit} if unit else {})
        for dim, along, unit in zip(axes.dims, axes.coordinates, axes.coordinate_units, strict=True)
        if along
    }
    xarray.Dataset(variables, coordinates).to_netcdf(path, engine="h5netcdf")


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    """The opened file or store, nothing of it read but what it says of itself; errors of any kind are InputErrors."""
    xarray = extra("xarray", "science", _PURPOSE)
    with undamaged(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what was found out on the way to opening it
        with _open(xarray, path) as opened:
            yield opened


def _open(xarray: Any, path: Path) -> Any:
    settings = {"chunks": None, "decode_timedelta": False}
    if path.is_file() and not path.name.lower().endswith(".zip"):
        with path.open("rb") as file:
            start = file.read(8)
        if start[:3] == b"CDF":
            return xarray.open_dataset(path, engine="scipy", **settings)
        if start != b"\x89HDF\r\n\x1a\n":
            raise InputError("it is not a NetCDF file")
        extra("h5netcdf", "science", _PURPOSE)
        with extra("h5py", "science", _PURPOSE).File(path) as file:  # h5netcdf would speak of damage twice
            file.visititems(_look_at)
        return xarray.open_dataset(path, engine="h5netcdf", **settings)
    zarr = extra("zarr", "science", _PURPOSE)
    _check_codecs(path)
    store = str(path) if path.is_dir() else zarr.storage.ZipStore(path, mode="r")
    return xarray.open_dataset(store, engine="zarr", **settings)


def _look_at(name: str, item: Any) -> None:
    """Read what an array or a group of an HDF5 file says of itself, which damage makes an error."""
    dict(item.attrs)
    for fact in ("shape", "dtype", "chunks"):
        getattr(item, fact, None)


def _check_codecs(path: Path) -> None:
    """Refuse a store whose chunks are pickles, which run code when they are read, before any chunk is."""
    has_metadata = False
    for name, content in _metadata(path):
        has_metadata = True
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name} is damaged: {error}") from error
        if _has_pickles(values):
            raise InputError(
                f"{name} says that values are pickles, which run code when opened: store numbers of one type"
            )
    if not has_metadata:
        raise InputError("it is not a Zarr store: none of " + ", ".join(_METADATA) + " is in it")


def _metadata(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in set(files).intersection(_METADATA):
                with Path(folder, name).open("rb") as file:
                    yield name, file.read(_MOST_METADATA)
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.rpartition("/")[2] in _METADATA:
                with archive.open(entry) as file:
                    yield entry.filename, file.read(_MOST_METADATA)


def _has_pickles(values: Any) -> bool:
    if isinstance(values, dict):
        names = (str(values.get(key, "")) for key in ("id", "name"))
        return any("pickle" in name for name in names) or any(map(_has_pickles, values.values()))
    return isinstance(values, list) and any(map(_has_pickles, values))


def _variables(source: Any, wanted: tuple[str, ...], sample_dim: str | None) -> list[str]:
    """The names of variables over the same dimensions."""
    known = {str(name): tuple(map(str, array.dims)) for name, array in source.data_vars.items()}
    described = [
        f"{printable(name)} over {', '.join(map(printable, dims)) or 'nothing'}" for name, dims in known.items()
    ]
    listed = "; ".join(described)
    if not known:
        raise InputError("it holds no variables")
    for name in wanted:
        if name not in known:
            raise InputError(f"--variables {printable(name)}: there is none of this name; there are {listed}")
    if len(set(wanted)) < len(wanted):
        raise InputError(f"--variables {' '.join(wanted)}: a name is there twice")
    names = list(wanted) or sorted(name for name, dims in known.items() if dims and source[name].dtype.kind in "iubf")
    if not names:
        raise InputError(f"it holds no variables of numbers over any dimensions: there are {listed}")
    dims = known[names[0]]
    if any(set(known[name]) != set(dims) for name in names) or not dims:
        raise InputError(f"its variables have several dimensions: name alike ones by --variables, of {listed}")
    if sample_dim is not None and sample_dim not in dims:
        raise InputError(f"--sample-dim {printable(sample_dim)}: {names[0]} is over {', '.join(map(printable, dims))}")
    return names


def _blocks(source: Any, sample_dim: str) -> dict[str, np.ndarray]:
    """Splits in the order of time; none if the examples do not follow each other in time."""
    if sample_dim not in source.coords:
        return {}
    times = source[sample_dim].values
    if times.dtype.kind != "M" and not (times.dtype.kind == "O" and len(times) and hasattr(times[0], "calendar")):
        return {}
    wrong = np.flatnonzero(~(times[1:] > times[:-1]))
    if len(wrong):
        number = wrong[0] + 1
        raise InputError(
            f"its times along {sample_dim} do not rise: number {number} is {times[number]}, after {times[number - 1]}: sort "
            "them and leave out what is there twice"
        )
    num_times = len(times)
    tenth = max(1, num_times // 10)
    ends = [max(0, num_times - 2 * tenth), max(0, num_times - tenth)]
    return dict(zip(("train", "validation", "test"), np.split(np.arange(num_times), ends), strict=True))


def _units(array: Any) -> str:
    units = array.attrs.get("units", "")
    return printable(units) if isinstance(units, str) else ""


def _coordinates(source: Any, dim: str) -> tuple[float, ...]:
    if dim not in source.coords:
        return ()
    along = source[dim].values
    if along.ndim != 1 or along.dtype.kind not in "iuf" or not np.isfinite(along).all():
        return ()
    return tuple(map(float, along))


def _values(name: str, arrays: list[Any]) -> np.ndarray:
    """The values of variables (N, C, *spatial), read block by block."""
    num_examples, *spatial = arrays[0].shape
    values = allocate(name, (num_examples, len(arrays), *spatial), np.result_type(*(array.dtype for array in arrays)))
    if not values.size:
        return values
    for channel, array in enumerate(arrays):
        per_example = max(1, array[0].size)
        stored = list(array.encoding.get("chunks") or array.encoding.get("chunksizes") or [])
        # whole chunks, none of which is unpacked twice, unless they are too large for that
        chunk = stored[0] if len(stored) == array.ndim and stored[0] else 1
        if chunk * per_example * array.dtype.itemsize > memory_limit() // 4:
            chunk = 1
        check_memory(f"a block of {array.name}", chunk * per_example * array.dtype.itemsize)
        length = chunk * max(1, PART // (chunk * per_example))
        for first in range(0, num_examples, length):
            values[first : first + length, channel] = array[first : first + length].values
            release(values)
    return values
