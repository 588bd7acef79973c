"""Arrays from .npy and .npz files, in any order of axes."""

from pathlib import Path

import numpy as np

from lowerbound.data.arrays.archive import Member, open_npz, read_npy
from lowerbound.data.dataset import Examples
from lowerbound.data.fitting import SPLITS, check_type
from lowerbound.data.spec import naming
from lowerbound.errors import InputError

LAYOUTS = ("ND", "NL", "NHW", "NDHW", "NCL", "NLC", "NCHW", "NHWC", "NCDHW", "NDHWC")
"""Orders of axes: N examples, C channels, H height, W width, L length, D depth; in "ND", D features."""

_UNDERSTOOD = (
    "one array alone; x, optionally with labels (N,) and cond (N, F); or train with validation or test or both (also "
    "spelled train_images, ...), optionally with train_labels, train_cond, ..."
)
_FEW = (1, 3, 4)
"""Numbers of channels that are seldom anything else."""
_SHORTEST_SIGNAL = 16
_BY_AXES = {2: "ND", 3: "NHW", 4: "NCHW", 5: "NCDHW"}
"""Guesses by the number of axes."""
_SPELLINGS = {"": ("x",)} | {split: (split, f"{split}_images") for split in SPLITS}


def read_arrays(path: Path, *, layout: str | None = None) -> Examples:
    """Examples from an .npy file, or with labels, condition vectors and splits from an .npz file.

    An .npy file is mapped into memory: it may be larger than that, and must not change while it is used.

    Arguments:
        path: an .npz file holds one array alone; or `x`, optionally with `labels` (N,), any integers, and `cond`
            (N, F), floats; or `train` with `validation`, `test` or both, optionally with `train_labels`, `train_cond`
            and so on; `train_images` is read as `train`.
        layout: the order of axes, one of `LAYOUTS`. By default ND, NHW and NCDHW for 2, 3 and 5 axes; for 4 axes NHWC
            if the last has length 1, 3 or 4 and the second has not, else NCHW.

    Raises:
        InputError: if the file is damaged, holds Python objects, or does not fit the description.
    """
    if path.suffix == ".npz":
        return _read_npz(path, layout)
    stored = read_npy(path)
    layout, hint = _layout(path, stored, layout)
    return Examples(str(path), _channels_first(stored, layout), layout, layout_hint=hint)


def _read_npz(path: Path, layout: str | None) -> Examples:
    """The examples of an .npz file; those of all splits are read into one array, none of them twice."""
    with open_npz(path) as members:
        parts, label_parts, condition_parts = _parts(path, members)
        key, first = next(iter(parts.items()))
        layout, hint = _layout(path, first, layout)
        for other, part in parts.items():
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise InputError(
                    f"{path}: {other} has shape {part.shape} and type {part.dtype}; the examples of {key} have "
                    f"shape {first.shape[1:]} and type {first.dtype}: store all splits alike"
                )
        labels, conditions = (_joined(extras) if extras else None for extras in (label_parts, condition_parts))
        stored = _joined(list(parts.values()))
    numbers = np.split(np.arange(len(stored)), np.cumsum([len(part) for part in parts.values()])[:-1])
    splits = {split: indices for split, indices in zip(parts, numbers, strict=True) if split}
    labels, class_names = (None, ()) if labels is None else _classes(path, labels)
    conditions = None if conditions is None else _conditions(path, conditions)
    values = _channels_first(stored, layout)
    return Examples(str(path), values, layout, splits, labels, class_names, conditions, layout_hint=hint)


def _joined(members: list[Member]) -> np.ndarray:
    """The arrays one after another, each read into its place."""
    if len(members) == 1:
        return members[0].read()
    ends = np.cumsum([len(member) for member in members])
    joined = np.empty((ends[-1], *members[0].shape[1:]), np.result_type(*(member.dtype for member in members)))
    for member, end in zip(members, ends, strict=True):
        member.read(joined[end - len(member) : end])
    return joined


def to_layout(raw: np.ndarray, layout: str) -> np.ndarray:
    """Channels-first examples, (N, *shape), in the order of axes that they came in.

    Raises:
        InputError: if the layout is unknown or has no place for the channels.
    """
    _check_layout(layout)
    num_axes = len(layout) + (layout != "ND" and "C" not in layout)
    if raw.ndim != num_axes or (num_axes > len(layout) and raw.shape[1] != 1):
        raise InputError(f"examples of shape {raw.shape[1:]}, channels first, do not fit the layout {layout}")
    if "C" in layout:
        return np.moveaxis(raw, 1, layout.index("C"))
    return raw if layout == "ND" else raw[:, 0]


def _parts(path: Path, members: dict[str, Member]) -> tuple[dict[str, Member], list[Member], list[Member]]:
    """Examples by split ("" for all together), and the labels and condition vectors of each."""
    if len(members) == 1 and "train" not in members:
        return {"": next(iter(members.values()))}, [], []
    key_of = {split: key for split, keys in _SPELLINGS.items() for key in keys if key in members}
    labels, conditions = (
        {key: members[key] for split in key_of if (key := f"{split}_{kind}".lstrip("_")) in members}
        for kind in ("labels", "cond")
    )
    if {*key_of.values(), *labels, *conditions} != set(members) or not ("" in key_of) ^ ("train" in key_of):
        raise InputError(f"{path} holds {', '.join(members) or 'nothing'}; understood are {_UNDERSTOOD}")
    if "" in key_of and len(key_of) > 1:
        raise InputError(f"{path} holds x beside {', '.join(sorted(key_of)[1:])}; understood are {_UNDERSTOOD}")
    parts = {split: members[key] for split, key in key_of.items()}
    for split, part in parts.items():
        if not part.shape:
            raise InputError(f"{path}: {key_of[split]} is a single number; the first axis of an array counts examples")
    for extras in (labels, conditions):
        if 0 < len(extras) < len(parts):
            raise InputError(f"{path} has {', '.join(extras)}, but not for every split")
        for part, (key, extra) in zip(parts.values(), extras.items(), strict=False):
            if extra.shape[:1] != part.shape[:1] or extra.shape[1:] != next(iter(extras.values())).shape[1:]:
                raise InputError(
                    f"{path}: {key} has shape {extra.shape}; the first axis should be {len(part)} as in its split"
                )
    return parts, list(labels.values()), list(conditions.values())


def _classes(path: Path, labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise InputError(
            f"{path}: labels of shape {labels.shape} and type {labels.dtype}; they should be (N,) integers"
        )
    names, indices = np.unique(labels, return_inverse=True)
    return indices.astype(np.int64), tuple(map(str, names))


def _conditions(path: Path, conditions: np.ndarray) -> np.ndarray:
    if conditions.ndim != 2 or conditions.dtype.kind not in "iubf" or not np.isfinite(conditions).all():
        raise InputError(
            f"{path}: cond of shape {conditions.shape} and type {conditions.dtype}; it should be (N, F), one vector for "
            "each example, of finite numbers"
        )
    return conditions.astype(np.float32, copy=False)


def _layout(path: Path, array: np.ndarray | Member, layout: str | None) -> tuple[str, str]:
    """The order of an array's axes, and `_layout_hint`; refuses, with an InputError, what is no array of examples."""
    with naming(str(path)):
        check_type(array.dtype)
    shape = array.shape
    if layout is not None:
        _check_layout(layout)
        if len(layout) != len(shape):
            raise InputError(f"{path}: an array of shape {shape}, where the layout {layout} has {len(layout)} axes")
        return layout, ""
    if len(shape) not in _BY_AXES:
        remedy = ": of one number each, store them with a second axis of length 1" if len(shape) == 1 else ""
        raise InputError(
            f"{path}: an array of shape {shape}; the first axis counts examples, and 1 to 4 follow{remedy}"
        )
    layout = _BY_AXES[len(shape)]
    if layout == "NCHW" and shape[3] in _FEW and shape[1] not in _FEW:
        layout = "NHWC"
    return layout, _layout_hint(shape, layout)


def _layout_hint(shape: tuple[int, ...], layout: str) -> str:
    """How an array is read whose layout was guessed, and how to have what else it could be; "" if it is clear.

    It is clear of short vectors, of square images, and where one axis alone could be that of 1, 3 or 4 channels.

    Arguments:
        shape: of the array, (N, ...).
        layout: the guess.
    """
    others = []
    match shape[1:]:
        case (length,) if length >= _SHORTEST_SIGNAL:
            others = ["NL"]
        case (height, width) if height != width:
            others = ["NCL" if height < width else "NLC"]
        case (first, _, last) if layout == "NCHW" and (first not in _FEW or last in _FEW):
            others = ["NHWC"] + ["NDHW"] * (first not in _FEW)
        case (first, _, _, last) if first not in _FEW or last in _FEW:
            others = ["NDHWC"]
    if not others:
        return ""
    choices = "; for ".join(f"{_words(shape, other)} give --layout {other}" for other in others)
    return f"{_words(shape, layout)}; for {choices}"


def _words(shape: tuple[int, ...], layout: str) -> str:
    """What the examples of a layout are."""
    if layout == "ND":
        return f"vectors of {shape[1]} features"
    sizes = " x ".join(str(length) for axis, length in zip(layout, shape, strict=True) if axis not in "NC")
    kind = {"L": "signals of length", "H": "images of", "D": "volumes of"}[layout.replace("C", "")[1]]
    if "C" not in layout:
        return f"{kind} {sizes} in one channel"
    axis = layout.index("C")
    return f"{kind} {sizes} in {shape[axis]} channels, which come {'first' if axis == 1 else 'last'}"


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise InputError(f"unknown --layout {layout!r}: known are {', '.join(LAYOUTS)}")


def _channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    if "C" in layout:
        return np.moveaxis(array, layout.index("C"), 1)
    return array if layout == "ND" else array[:, None]
