"""From what a user names to a data set: the kinds of data, and who reads each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lowerbound.data import bundled
from lowerbound.data.arrays.fields import SUFFIXES as FIELD_SUFFIXES
from lowerbound.data.arrays.fields import is_zarr, read_fields
from lowerbound.data.config import TABLE_SETTINGS, DataConfig, Reading
from lowerbound.data.dataset import Dataset, Examples
from lowerbound.data.images.tiff import SUFFIXES as TIFF_SUFFIXES
from lowerbound.data.images.tiff import read_tiff
from lowerbound.data.listing import ARCHIVES
from lowerbound.data.listing import IMAGES as IMAGE_SUFFIXES
from lowerbound.data.mnist import binary_mnist, mnist
from lowerbound.data.spec import DataSpec
from lowerbound.errors import InputError
from lowerbound.files.whole import names_in
from lowerbound.words.nearest import nearest

NAMED = {
    "digits": bundled.digits,
    "moons": bundled.moons,
    "swiss-roll": bundled.swiss_roll,
    "checkerboard": bundled.checkerboard,
    "mixture": bundled.mixture,
    "mnist": mnist,
    "binary-mnist": binary_mnist,
}


@dataclass(frozen=True)
class Source:
    """A kind of data.

    Arguments:
        settings: what of `DataConfig` has an effect on it, besides the source itself.
        read: what it holds, for a model that knows its data if that is there.
    """

    settings: tuple[str, ...]
    read: Callable[[DataConfig, DataSpec | None], Examples]


def _named(config: DataConfig, spec: DataSpec | None) -> Examples:
    return Examples.of(NAMED[config.source]())


def _images(config: DataConfig, spec: DataSpec | None) -> Examples:
    from lowerbound.data.images.examples import read_images
    from lowerbound.data.images.labels import read_labels

    labels = None if config.labels is None else read_labels(Path(config.labels).expanduser())
    return read_images(_path(config), **_of_images(config), labels=labels)


def _of_images(config: DataConfig) -> dict[str, Any]:
    """How each image is read, wherever it lies."""
    return {name: getattr(config, name) for name in ("image_size", "background", "skip_bad_files")}


def _arrays(config: DataConfig, spec: DataSpec | None) -> Examples:
    from lowerbound.data.arrays.examples import read_arrays

    return read_arrays(_path(config), layout=config.layout if spec is None else spec.layout)


def _table(config: DataConfig, spec: DataSpec | None) -> Examples:
    from lowerbound.data.tables.examples import read_table

    return read_table(_path(config), config, spec)


def _fields(config: DataConfig, spec: DataSpec | None) -> Examples:
    return read_fields(_path(config), variables=config.variables, sample_dim=config.sample_dim)


def _hub(config: DataConfig, spec: DataSpec | None) -> Examples:
    from lowerbound.data.hub import read_hub

    return read_hub(config.source, **_of_images(config))


def _series(config: DataConfig, spec: DataSpec | None) -> Examples:
    from lowerbound.data.series.examples import read_windows

    return read_windows(_path(config), config, spec)


BUNDLED = Source((), _named)
IMAGES = Source(("image_size", "crop", "background", "skip_bad_files", "labels", "num_levels"), _images)
ARRAYS = Source(("layout", "crop", "num_levels", "densities"), _arrays)
TIFF = Source(("crop", "num_levels", "densities"), lambda config, spec: read_tiff(_path(config)))
HUB = Source(("image_size", "crop", "background", "skip_bad_files", "num_levels"), _hub)
HUB_PREFIX = "hf:"
"""How the name of a data set of the hub begins."""
FIELDS = Source(("variables", "sample_dim", "num_levels", "densities"), _fields)
_MARKS = ("missing", "separator", "decimal", "header", "text_encoding", "date_format")
_CUT = ("columns", "ignore", "window", "horizon", "stride", "split_steps")
_TIMES = ("time", "series_id", "covariates", "irregular")
TABLES = Source(TABLE_SETTINGS, _table)
TEXTS = Source((*TABLE_SETTINGS, *_MARKS), _table)
SERIES = Source((*_CUT, *_TIMES, *_MARKS, "densities", "skip_bad_rows"), _series)
"""Of a table when `window` is given."""
FILES = {
    ".npy": ARRAYS,
    ".npz": ARRAYS,
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt", ".dat", ".data"), TEXTS),
    **dict.fromkeys((".parquet", ".pq", ".feather", ".arrow"), TABLES),
    **dict.fromkeys(sorted(IMAGE_SUFFIXES), IMAGES),
    **dict.fromkeys(TIFF_SUFFIXES, TIFF),
    **dict.fromkeys(FIELD_SUFFIXES, FIELDS),
    **dict.fromkeys(ARCHIVES, IMAGES),
}
"""Who reads a file, by the end of its name; of all others `ARRAYS` says what to do with them."""


def open_dataset(source: Any, **settings: Any) -> Dataset:
    """Open a data set.

    Arguments:
        source: one of `NAMED`, a folder of images or a Zarr store, a file of a kind in `FILES`, or hf:NAME of the hub; all
            that is said of the data, a `DataConfig`; or a dataframe of pandas, polars or pyarrow.
        settings: how it is read, by the names of the fields of `DataConfig`.

    Raises:
        InputError: if there is no such source, or a setting does not apply to it.
    """
    if isinstance(source, DataConfig):
        config = source
    elif isinstance(source, str | Path):
        _check_names(settings)
        config = DataConfig(str(source), **settings)
    else:
        from lowerbound.data.tables.frames import from_dataframe

        return from_dataframe(source, **settings).dataset(densities=settings.get("densities", False))
    kind = _kind(config)
    config.check_effect(kind.settings, config.source)
    if kind is BUNDLED:
        return NAMED[config.source]()
    return _read(config, kind, None).dataset(config.num_levels, densities=config.densities)


def _check_names(settings: Iterable[str]) -> None:
    """Refuse settings that there are not, with the one that was perhaps meant, by an InputError."""
    known = [each.name for each in fields(DataConfig) if each.name != "source"]
    for name in settings:
        if name not in known:
            near = nearest(name, known)
            meant = f"did you mean {near}? There are" if near else "there are"
            raise InputError(f"data have no setting {name}: {meant} {', '.join(known)}")


def read_examples(config: DataConfig, spec: DataSpec | None = None, reading: Reading | None = None) -> Examples:
    """Examples as they are stored, one or more, for a model that knows its data already.

    Arguments:
        config: the source, and how the model's own data were read, which is used where it applies.
        spec: what the model knows of its data.
        reading: what is said of this source.

    Raises:
        InputError: if there is no such source, it cannot be read so, or what is said has no effect on it.
    """
    config = read_as(config, reading)
    return _read(config, _kind(config), spec)


def _read(config: DataConfig, kind: Source, spec: DataSpec | None) -> Examples:
    """What a source of a kind holds, cut to its pieces."""
    examples = kind.read(config, spec)
    return examples if config.crop is None else examples.cropped(config.crop)


def read_as(config: DataConfig, reading: Reading | None) -> DataConfig:
    """The same source, read as it is said to be.

    Raises:
        InputError: if there is no such source, or what is said has no effect on it.
    """
    settings = {} if reading is None else reading.changed
    if settings:
        DataConfig(config.source, **settings).check_effect(_kind(config).settings, config.source)
    return replace(config, **settings)


def is_path(source: str) -> bool:
    """Whether a source is a file or a folder, and no name."""
    return source not in NAMED and not source.startswith(HUB_PREFIX)


_RUN = ("config.json", "log.jsonl")
"""Files that a run's folder has, and no folder of images."""


def _path(config: DataConfig) -> Path:
    return Path(config.source).expanduser()


def _kind(config: DataConfig) -> Source:
    """Who reads a source; refuses, with an InputError, what is none."""
    source = config.source
    path = Path(source).expanduser()
    if source in NAMED:
        return BUNDLED
    if source.startswith(HUB_PREFIX):
        return HUB
    if path.is_dir():
        if all((path / name).exists() for name in _RUN):
            raise InputError(f"{source} is the folder of a run, and no data: give the data, as to `lowerbound train`")
        return FIELDS if is_zarr(path) else IMAGES
    if path.is_file():
        name = path.name.lower()
        kind = next((kind for end, kind in FILES.items() if name.endswith(end)), ARRAYS)
        return SERIES if config.window is not None and kind in (TABLES, TEXTS) else kind
    if path.is_symlink():
        raise InputError(f"{source} is a link to {path.readlink()}, which there is not: give the file itself")
    if path.exists():
        raise InputError(
            f"{source} is neither a file nor a folder: write what comes out of it to a file, and give that"
        )
    if path.name.lower().endswith(tuple(FILES)) or path.parent != Path():
        near = nearest(path.name, names_in(path.parent))
        hint = f": did you mean {path.parent / near}?" if near else f", seen from {Path.cwd()}"
        raise InputError(f"there is no file or folder {source}{hint}")
    near = nearest(source, NAMED)
    hint = f"; did you mean {near}?" if near else "."
    raise InputError(
        f"no data called {source!r}{hint} Known names: {', '.join(NAMED)}; or give hf:NAME, a folder or an archive of "
        f"images, or a file that exists ({', '.join(FILES)})"
    )
