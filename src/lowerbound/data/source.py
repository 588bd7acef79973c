"""From what a user names to a data set: the kinds of data, and who reads each."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lowerbound.data import bundled
from lowerbound.data.config import DataConfig
from lowerbound.data.dataset import Dataset, Examples
from lowerbound.data.mnist import binary_mnist, mnist
from lowerbound.errors import InputError, flag

NAMED = {
    "digits": bundled.digits,
    "moons": bundled.moons,
    "swiss-roll": bundled.swiss_roll,
    "checkerboard": bundled.checkerboard,
    "mixture": bundled.mixture,
    "mnist": mnist,
    "binary-mnist": binary_mnist,
}
_ALWAYS = ("source", "conditional")
"""Settings of all data."""


@dataclass(frozen=True)
class Source:
    """A kind of data.

    Arguments:
        settings: what of `DataConfig` has an effect on it, besides the source itself.
        read: what it holds.
    """

    settings: tuple[str, ...]
    read: Callable[[DataConfig], Examples]


def _named(config: DataConfig) -> Examples:
    return Examples.of(NAMED[config.source]())


def _folder(config: DataConfig) -> Examples:
    from lowerbound.data.images import read_folder

    return read_folder(_path(config), image_size=config.image_size, skip_bad_files=config.skip_bad_files)


def _arrays(config: DataConfig) -> Examples:
    from lowerbound.data.arrays import read_arrays

    return read_arrays(_path(config), layout=config.layout)


def _series(config: DataConfig) -> Examples:
    from lowerbound.data.series import read_windows

    return read_windows(_path(config), config)


BUNDLED = Source((), _named)
FOLDER = Source(("image_size", "skip_bad_files"), _folder)
ARRAYS = Source(("layout", "num_levels"), _arrays)
_READING = ("ignore", "missing", "separator", "decimal", "header", "text_encoding", "date_format", "skip_bad_rows")
"""Settings of how tables are read."""
_CUT = ("columns", "window", "horizon", "stride", "time", "series_id", "covariates", "irregular", "split_steps")
SERIES = Source((*_READING, *_CUT), _series)
FILES = {".npy": ARRAYS, ".npz": ARRAYS}
"""Who reads a file, by its suffix; of all others `ARRAYS` says what to do with them."""


def open_dataset(source: str | DataConfig, **settings: Any) -> Dataset:
    """Open a data set.

    Arguments:
        source: one of `NAMED`, a folder of images, or a file of a kind in `FILES`; or all that is said of the data.
        settings: how it is read, by the names of the fields of `DataConfig`.

    Raises:
        InputError: if there is no such source, or a setting does not apply to it.
    """
    config = source if isinstance(source, DataConfig) else DataConfig(source, **settings)
    kind = _kind(config)
    for field in fields(config):
        if field.name not in (*_ALWAYS, *kind.settings) and getattr(config, field.name) != field.default:
            possible = f"{' and '.join(map(flag, kind.settings))} would" if kind.settings else "no such setting applies"
            raise InputError(f"{flag(field.name)} has no effect on {config.source}: {possible}")
    if kind is BUNDLED:
        return NAMED[config.source]()
    return kind.read(config).dataset(config.num_levels)


def read_examples(config: DataConfig) -> Examples:
    """Examples as they are stored, one or more, for a model that knows its data already.

    Arguments:
        config: the source, and how the model's own data were read, which is used where it applies.

    Raises:
        InputError: if there is no such source, or it cannot be read so.
    """
    return _kind(config).read(config)


def _path(config: DataConfig) -> Path:
    return Path(config.source).expanduser()


def _kind(config: DataConfig) -> Source:
    """Who reads a source; refuses, with an InputError, what is none."""
    source = config.source
    path = Path(source).expanduser()
    if source in NAMED:
        return BUNDLED
    if path.is_dir():
        return FOLDER
    if path.is_file():
        if config.window is not None and path.suffix not in FILES:
            return SERIES
        return FILES.get(path.suffix, ARRAYS)
    near = difflib.get_close_matches(source, NAMED, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise InputError(
        f"no data called {source!r}{hint} Known names: {', '.join(NAMED)}; or give a folder of images, or an .npy or .npz "
        "file that exists"
    )
