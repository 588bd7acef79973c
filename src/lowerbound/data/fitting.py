"""What is chosen for a data set and fitted on its training examples: its splits, and an encoding of its type."""

import numpy as np

from lowerbound.data.codes import Scaled
from lowerbound.data.columns import Column
from lowerbound.data.encoding import Affine, Encoding, Levels
from lowerbound.data.marginals import MOST_WARPED, Marginals
from lowerbound.data.parts import ranges
from lowerbound.data.repeats import warn_of_repeats
from lowerbound.data.series.windows import Stored, Windows
from lowerbound.data.tables.encoding import Columns
from lowerbound.errors import InputError

_SPLIT_SEED = 0
_MAX_LEVELS = 65_536
_LEVELS_OF_TYPES = {"bool": 2, "uint8": 256, "uint16": 65_536}
LEAST_SHARE_OF_SERIES = 0.1
"""Of the rows of series, of a value with a probability of its own: with several rarer ones a network learns these, and
little of what their Gaussian leaves."""
SPLITS = ("train", "validation", "test")


def fitted_encoding(
    examples: Stored,
    splits: dict[str, np.ndarray],
    num_levels: int | None,
    columns: tuple[Column, ...] = (),
    names: tuple[str, ...] = (),
    densities: bool = False,
) -> Encoding:
    """Levels of integers, `num_levels` if it is given, an affine map of floats, or a code for each of their channels where
    one asks for it, and for each column of a table, fitted on the training split.

    Arguments:
        names: of channels, for messages, where they have any.
        densities: whether all real numbers are to have densities, repeated ones too.
        (the rest as in `assemble` and `Examples`)

    Raises:
        InputError: for infinite values, a channel of which nothing is there or that is constant, or integers that do not fit
            their levels.
    """
    if columns:
        if num_levels is not None:
            raise InputError(f"--num-levels {num_levels} was given, but a table has levels by column")
        assert isinstance(examples, np.ndarray)
        if densities:
            has_probability = [column.kind not in ("real", "date") for column in columns]
            warn_of_repeats(examples, splits["train"], tuple(column.name for column in columns), has_probability)
        return Columns.fit(examples, columns, splits, densities)
    if isinstance(examples, Windows):
        if num_levels is not None:
            raise InputError(f"--num-levels {num_levels} has no effect on series, which are real numbers")
        return _of_series(examples, splits["train"], names, densities)
    if examples.dtype.kind in "iub":
        if densities:
            raise InputError("--densities has no effect on integers, which have levels: store floats, or leave it out")
        return _levels(examples, splits, num_levels)
    if num_levels is not None:
        raise InputError(f"--num-levels {num_levels} was given, but the values are floats: store integers")
    chosen = np.zeros(len(examples), bool)
    chosen[splits["train"]] = True
    affine = Affine.fit(examples, chosen, names)
    if densities:
        warn_of_repeats(examples, splits["train"], names)
    may_warp = examples.ndim == 2 and examples.shape[1] <= MOST_WARPED
    return Marginals.where_needed(affine, examples, splits["train"], may_warp=may_warp, densities=densities)


def _of_series(windows: Windows, train: np.ndarray, names: tuple[str, ...], densities: bool) -> Encoding:
    """That of their rows, each counted once, with a warning of values that are repeated where there is a density."""
    rows, is_train = windows.rows, windows.is_covered(train)
    affine = Affine.fit(rows, is_train, names)
    if densities:
        warn_of_repeats(windows, train, names)
        return affine
    settings = {"may_warp": False, "least_share": LEAST_SHARE_OF_SERIES}
    encoding = Marginals.where_needed(affine, rows, np.flatnonzero(is_train), **settings)
    codes = encoding.codes if isinstance(encoding, Marginals) else ()
    warn_of_repeats(windows, train, names, [not isinstance(code, Scaled) for code in codes])
    return encoding


def _levels(examples: np.ndarray, splits: dict[str, np.ndarray], num_levels: int | None) -> Levels:
    """The levels of integers: those of their type, those given, or those from the smallest to the largest training value."""
    extremes, dtype = ranges(examples, splits), examples.dtype
    low, high = extremes["train"]
    lowest, highest = min(low for low, _ in extremes.values()), max(high for _, high in extremes.values())
    if highest >= 1 << 63:
        raise InputError(f"integers up to {highest} do not fit into 64 bits with a sign: subtract an offset")
    begin = offset = min(low, 0)
    whose = f"of --num-levels {num_levels}"
    if num_levels is None:
        if low == high:
            raise InputError(f"every value is {low} in the training split; give --num-levels if there are others")
        if dtype.name in _LEVELS_OF_TYPES:
            return Levels(_LEVELS_OF_TYPES[dtype.name], 0, str(dtype))
        if high - low >= _MAX_LEVELS:
            raise InputError(
                f"integers from {low} to {high} are more than {_MAX_LEVELS:,} levels: store them as floats to model them as "
                "continuous"
            )
        offset, num_levels, whose = low, high - low + 1, "of the training split"
    last = offset + num_levels - 1
    for split in SPLITS:
        smallest, largest = extremes[split]
        if smallest < offset or largest > last:
            value = smallest if smallest < offset else largest
            needed = highest - min(begin, lowest) + 1
            shift = f"add {-lowest} to every value and " if lowest < begin else ""
            remedy = f"{shift}give --num-levels of at least {needed}"
            if needed > _MAX_LEVELS:
                remedy = "store them as floats to model them as continuous"
            raise InputError(
                f"the {split} split holds the value {value}, outside the levels {whose}, {offset} to {last}: {remedy}"
            )
    most = 1 if dtype.kind == "b" else min(np.iinfo(dtype).max, np.iinfo(np.int64).max)
    if last > most:
        raise InputError(
            f"{num_levels} levels from {offset} do not fit into values of type {dtype}, of which at most {most} is read: "
            "store them in another type or give fewer levels"
        )
    return Levels(num_levels, offset, str(dtype))


def check_type(dtype: np.dtype) -> None:
    """Refuse values that are no real numbers, saying what to do with them, with an InputError."""
    remedies = {
        "c": "store real and imaginary parts as two channels",
        "M": "store times as numbers, such as seconds since the first",
        "m": "store durations as numbers, such as seconds",
        "U": "store words as numbers, or the columns of numbers alone",
        "S": "store words as numbers, or the columns of numbers alone",
        "V": "store named fields as columns of one array, with numpy.lib.recfunctions.structured_to_unstructured",
    }
    if dtype.kind not in "iubf":
        remedy = remedies.get(dtype.kind, "store numbers")
        raise InputError(f"values of type {dtype}; integers, booleans and floats are accepted: {remedy}")


def complete_splits(splits: dict[str, np.ndarray], num_examples: int) -> dict[str, np.ndarray]:
    """Indices of all of `SPLITS`, those that are missing made as `assemble` says."""
    if set(splits) == set(SPLITS):
        return splits
    free = np.random.default_rng(_SPLIT_SEED).permutation(num_examples)
    if "train" in splits:
        free = free[np.isin(free, splits["train"])]
    elif splits:
        free = free[~np.isin(free, np.concatenate(list(splits.values())))]
    tenth = max(1, len(free) // 10)
    for split, num in (("test", tenth), ("validation", min(tenth, 5000))):
        if split not in splits:
            splits, free = {**splits, split: np.sort(free[:num])}, free[num:]
    return {**splits, "train": np.sort(free)}
