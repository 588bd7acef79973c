"""The five tables that normalising flows are compared on, prepared as they were published.

Papamakarios, Pavlakou & Murray 2017, "Masked autoregressive flow for density estimation" (arXiv 1705.07057, appendix D),
whose program every later paper took over. Files and folders have the names that they have in the authors' archive
(zenodo.org, record 1161203):

| name | file | rows as published, columns |
|---|---|---|
| `power` | power/data.npy | 1,659,917 · 184,435 · 204,928, 6 |
| `gas` | gas/ethylene_CO.csv | 852,174 · 94,685 · 105,206, 8 |
| `hepmass` | hepmass/1000_train.csv, 1000_test.csv | 315,123 · 35,013 · 174,987, 21 |
| `miniboone` | miniboone/data.npy | 29,556 · 3,284 · 3,648, 43 |
| `bsds300` | BSDS300/BSDS300.hdf5 | 1,000,000 · 50,000 · 250,000, 63 |

`gas` comes as a pickle, which is a program and is not run here: `pandas.read_pickle("ethylene_CO.pickle").to_csv(
"ethylene_CO.csv", index=False)` makes a table of it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lowerbound.data.extras import extra
from lowerbound.errors import InputError

Rows = Float[np.ndarray, "_rows _columns"]
FILES = {
    "power": ("power/data.npy",),
    "gas": ("gas/ethylene_CO.csv",),
    "hepmass": ("hepmass/1000_train.csv", "hepmass/1000_test.csv"),
    "miniboone": ("miniboone/data.npy",),
    "bsds300": ("BSDS300/BSDS300.hdf5",),
}
"""The files of each table, in the folder of all."""
MOST_CORRELATED = 0.98
"""Between columns of `gas`, of which one is left out beyond it."""
MOST_REPEATED = 5
"""Rows of `hepmass` that have a column's smallest value, of which it is left out beyond it."""


class FlowTable(NamedTuple):
    """A table in its three parts.

    Arguments:
        train, validation, test: float64 rows, in the units in which log densities are published.
    """

    train: Rows
    validation: Rows
    test: Rows


def flow_table(name: str, folder: Path | str) -> FlowTable:
    """A table of the flow papers, from the files that they used.

    Arguments:
        name: power, gas, hepmass, miniboone or bsds300.
        folder: that holds the files, under the names of the module's table.

    Raises:
        InputError: for another name, or if a file is not there or does not hold what it should.
    """
    if name not in FILES:
        raise InputError(f"there is no flow table {name!r}: choose from {', '.join(FILES)}")
    paths = [Path(folder).expanduser() / file for file in FILES[name]]
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{path} is not there: the archive zenodo.org/records/1161203 has it (of gas a pickle: write it as .csv)"
            )
    try:
        return _PREPARED[name](*paths)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(f"{paths[0]} does not hold the table {name} as it was published: {error}") from error


def _power(path: Path) -> FlowTable:
    """Shuffled; without two columns of eight; recorded values are dequantised by uniform noise as wide as their rounding."""
    rng = np.random.RandomState(42)
    data = np.load(path, allow_pickle=False)
    rng.shuffle(data)
    num = len(data)
    data = np.delete(data, [1, 3], axis=1)
    voltage, gap, meters = 0.01 * rng.rand(num, 1), 0.001 * rng.rand(num, 1), rng.rand(num, 3)
    return _normalised(data + np.hstack([gap, voltage, meters, np.zeros((num, 1))]))


def _gas(path: Path) -> FlowTable:
    """Without time and the two gases; of columns that are nearly the same the first is left out; of all rows one scale."""
    with path.open() as file:
        names = [name.strip().strip('"') for name in file.readline().split(",")]
    data = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    data = np.delete(data, [names.index(name) for name in ("Time", "Meth", "Eth")], axis=1)
    while (many := (np.corrcoef(data.T) > MOST_CORRELATED).sum(1) > 1).any():
        data = np.delete(data, int(np.argmax(many)), axis=1)
    return _split((data - data.mean(0)) / data.std(0, ddof=1))


def _hepmass(train_path: Path, test_path: Path) -> FlowTable:
    """The signal alone, without its label and the columns in which values recur; normalised as the training file is."""
    train, test = (np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2) for path in (train_path, test_path))
    train, test = (data[data[:, 0] == 1, 1:] for data in (train, test))
    test = test[:, : train.shape[1]]  # whose file has a column too many
    mean, std = train.mean(0), train.std(0, ddof=1)
    train, test = (train - mean) / std, (test - mean) / std
    kept = (train == train.min(0)).sum(0) <= MOST_REPEATED
    num = len(train) - int(0.1 * len(train))
    return FlowTable(train[:num, kept], train[num:, kept], test[:, kept])


def _miniboone(path: Path) -> FlowTable:
    return _normalised(np.load(path, allow_pickle=False).astype(np.float64))


def _bsds300(path: Path) -> FlowTable:
    """Patches of 8 x 8 pixels, dequantised, without their mean and their last pixel; as they are in the file."""
    with extra("h5py", "science", "BSDS300").File(path) as file:
        return FlowTable(*(np.asarray(file[name], np.float64) for name in ("train", "validation", "test")))


_PREPARED: dict[str, Callable[..., FlowTable]] = {
    "power": _power,
    "gas": _gas,
    "hepmass": _hepmass,
    "miniboone": _miniboone,
    "bsds300": _bsds300,
}


def _split(data: Rows) -> FlowTable:
    """The last tenth for testing, and of the rest the last tenth for validation."""
    first = len(data) - int(0.1 * len(data))
    second = first - int(0.1 * first)
    return FlowTable(data[:second], data[second:first], data[first:])


def _normalised(data: Rows) -> FlowTable:
    """Split, to mean 0 and standard deviation 1 of the training and validation rows together."""
    parts = _split(data)
    known = np.concatenate(parts[:2])
    mean, std = known.mean(0), known.std(0)
    return FlowTable(*((part - mean) / std for part in parts))
