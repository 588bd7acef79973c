"""From what a user names to a data set."""

import difflib
from pathlib import Path

from lowerbound.data import bundled
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
_SETTINGS = {"name": (), "folder": ("image_size", "skip_bad_files"), "file": ("layout", "num_levels")}
"""What can be set, by the kind of a source."""


def open_dataset(
    source: str,
    *,
    layout: str | None = None,
    num_levels: int | None = None,
    image_size: tuple[int, int] | None = None,
    skip_bad_files: bool = False,
) -> Dataset:
    """Open a data set.

    Arguments:
        source: one of `NAMED`, a folder of images, or an .npy or .npz file.
        layout: for arrays, the order of axes (see `arrays.LAYOUTS`).
        num_levels: for integer arrays, the number of levels; from their type, or the range of the training examples, if
            None.
        image_size: for a folder, the height and width to crop and resize to.
        skip_bad_files: for a folder, leave out unreadable files with a warning.

    Raises:
        InputError: if there is no such source, or a setting does not apply to it.
    """
    allowed = _SETTINGS[_kind(source)]
    settings = {"layout": layout, "num_levels": num_levels, "image_size": image_size, "skip_bad_files": skip_bad_files}
    for name, value in settings.items():
        if value is not None and value is not False and name not in allowed:
            possible = f"{' and '.join(map(flag, allowed))} would" if allowed else "no such setting applies"
            raise InputError(f"{flag(name)} has no effect on {source}: {possible}")
    if source in NAMED:
        return NAMED[source]()
    examples = read_examples(source, layout=layout, image_size=image_size, skip_bad_files=skip_bad_files)
    return examples.dataset(num_levels)


def read_examples(
    source: str, *, layout: str | None = None, image_size: tuple[int, int] | None = None, skip_bad_files: bool = False
) -> Examples:
    """Examples as they are stored, one or more, for a model that knows its data already.

    Arguments:
        source: as in `open_dataset`.
        layout, image_size, skip_bad_files: how the model's own data were read; used where they apply.

    Raises:
        InputError: if there is no such source, or it cannot be read so.
    """
    kind, path = _kind(source), Path(source).expanduser()
    if kind == "name":
        return Examples.of(NAMED[source]())
    if kind == "folder":
        from lowerbound.data.images import read_folder

        return read_folder(path, image_size=image_size, skip_bad_files=skip_bad_files)
    from lowerbound.data.arrays import read_arrays

    return read_arrays(path, layout=layout)


def _kind(source: str) -> str:
    """Which of `_SETTINGS` a source is; refuses, with an InputError, what is none."""
    path = Path(source).expanduser()
    if source in NAMED:
        return "name"
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "file"
    near = difflib.get_close_matches(source, NAMED, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise InputError(
        f"no data called {source!r}{hint} Known names: {', '.join(NAMED)}; or give a folder of images, or an .npy or .npz "
        "file that exists"
    )
