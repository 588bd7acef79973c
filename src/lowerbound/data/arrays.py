"""Arrays from .npy and .npz files, in any order of axes."""

from pathlib import Path

import numpy as np

from lowerbound.data.dataset import SPLITS, Dataset
from lowerbound.data.examples import Examples
from lowerbound.data.memory import check_memory
from lowerbound.errors import InputError

LAYOUTS = ("ND", "NL", "NHW", "NDHW", "NCL", "NLC", "NCHW", "NHWC", "NCDHW", "NDHWC")
"""Orders of axes: N examples, C channels, H height, W width, L length, D depth; in "ND", D features."""

_UNDERSTOOD = (
    "one array alone; x, optionally with labels (N,) and cond (N, F); or train with validation or test or both (also "
    "spelled train_images, ...), optionally with train_labels, train_cond, ..."
)
_SPELLINGS = {"": ("x",)} | {split: (split, f"{split}_images") for split in SPLITS}


def open_arrays(path: str | Path, *, layout: str | None = None, num_levels: int | None = None) -> Dataset:
    """Examples from an .npy file, or with labels, condition vectors and splits from an .npz file.

    Arguments:
        path: an .npz file holds one array alone; or `x`, optionally with `labels` (N,), any integers, and `cond`
            (N, F), floats; or `train` with `validation`, `test` or both, optionally with `train_labels`, `train_cond`
            and so on; `train_images` is read as `train`.
        layout: the order of axes, one of `LAYOUTS`. By default ND, NHW and NCDHW for 2, 3 and 5 axes; for 4 axes NHWC
            if the last has length 1, 3 or 4 and the second has not, else NCHW.
        num_levels: K of integer data; from their type or range if None.

    Raises:
        InputError: if the file is damaged, holds Python objects, or does not fit the description.
    """
    return read_arrays(path, layout=layout).dataset(num_levels)


def read_arrays(path: str | Path, *, layout: str | None = None) -> Examples:
    """The examples of an .npy or .npz file, as `open_arrays` understands it.

    Raises:
        InputError: if the file is damaged, holds Python objects, or does not fit the description.
    """
    path = Path(path)
    if path.suffix == ".npz":
        parts, labels, conditions = _parts(path, read_npz(path))
    else:
        parts, labels, conditions = {"": read_npy(path)}, None, None
    first = next(iter(parts.values()))
    for key, part in parts.items():
        if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype or part.ndim == 0:
            raise InputError(
                f"{path}: {key} has shape {part.shape} and type {part.dtype}; the examples of {next(iter(parts))} have "
                f"shape {first.shape[1:]} and type {first.dtype}: store all splits alike"
            )
    layout = _layout(path, first.shape, layout)
    ends = np.cumsum([len(part) for part in parts.values()])
    splits = {key: np.arange(end - len(part), end) for (key, part), end in zip(parts.items(), ends, strict=True) if key}
    indices, class_names = (None, ()) if labels is None else _classes(path, labels)
    return Examples(
        str(path),
        _channels_first(first if len(parts) == 1 else np.concatenate(list(parts.values())), layout),
        layout=layout,
        splits=splits,
        labels=indices,
        class_names=class_names,
        conditions=None if conditions is None else _conditions(path, conditions),
    )


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by their names.

    Raises:
        InputError: if the file is damaged, would not fit into memory, or holds anything else than arrays of plain values.
    """
    path = Path(path)
    _check_start(path, b"PK", ".npz")
    arrays = {}
    key = None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            check_memory(str(path), sum(member.file_size for member in archive.zip.infolist()))
            for key in archive.files:
                arrays[key] = archive[key]
    except InputError:
        raise
    # damaged headers and archives raise errors of many types
    except Exception as error:
        where = f"{path}: {key}" if key else str(path)
        raise InputError(_reason(where, error)) from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path}: {key} is not an array; write the file with numpy.savez")
    return arrays


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


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        InputError: if the file is damaged, would not fit into memory, or holds anything else than plain values.
    """
    _check_start(path, b"\x93NUMPY", ".npy")
    check_memory(str(path), path.stat().st_size)
    try:
        return np.load(path, allow_pickle=False)
    # damaged headers and archives raise errors of many types
    except Exception as error:
        raise InputError(_reason(str(path), error)) from error


def _check_start(path: Path, magic: bytes, suffix: str) -> None:
    """Refuse what is not the kind of file that it should be, before anything is parsed."""
    if path.suffix in {".pt", ".pth", ".pkl", ".pickle", ".joblib"}:
        raise InputError(
            f"{path} is a pickle, which runs code when opened: store arrays with numpy.save or numpy.savez"
        )
    if path.suffix != suffix:
        raise InputError(f"{path}: files of type {path.suffix or 'no suffix'} are not read; give .npy or .npz")
    try:
        with path.open("rb") as file:
            start = file.read(len(magic))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if start != magic:
        raise InputError(f"{path} is " + (f"not an {suffix} file: it starts with {start!r}" if start else "empty"))


def _reason(where: str, error: BaseException) -> str:
    if "allow_pickle" in str(error) or "Object arrays" in str(error):
        return f"{where} holds Python objects, which are not read: store numbers of one type, for example float32"
    if isinstance(error, MemoryError):
        return f"{where} does not fit into memory: {error}"
    return f"{where} is damaged or cut off: {error or type(error).__name__}"


def _parts(
    path: Path, arrays: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray | None, np.ndarray | None]:
    """Examples by split ("" for all together), labels and condition vectors of all."""
    if len(arrays) == 1 and "train" not in arrays:
        return {"": next(iter(arrays.values()))}, None, None
    found = {split: key for split, keys in _SPELLINGS.items() for key in keys if key in arrays}
    extras: dict[str, list[str]] = {"labels": [], "cond": []}
    for split in found:
        for kind, keys in extras.items():
            keys += [key for key in [f"{split}_{kind}".lstrip("_")] if key in arrays]
    used = {*found.values(), *extras["labels"], *extras["cond"]}
    if used != set(arrays) or not ("" in found) ^ ("train" in found):
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}; understood are {_UNDERSTOOD}")
    if "" in found and len(found) > 1:
        raise InputError(f"{path} holds x beside {', '.join(sorted(found)[1:])}; understood are {_UNDERSTOOD}")
    parts = {split: arrays[key] for split, key in found.items()}
    joined = [_join(path, parts, [(key, arrays[key]) for key in keys]) for keys in extras.values()]
    return parts, joined[0], joined[1]


def _join(path: Path, parts: dict[str, np.ndarray], extras: list[tuple[str, np.ndarray]]) -> np.ndarray | None:
    """Labels or condition vectors of all splits one after another."""
    if not extras:
        return None
    if len(extras) < len(parts):
        raise InputError(f"{path} has {', '.join(key for key, _ in extras)}, but not for every split")
    for part, (key, extra) in zip(parts.values(), extras, strict=True):
        if extra.ndim == 0 or len(extra) != len(part) or extra.shape[1:] != extras[0][1].shape[1:]:
            raise InputError(
                f"{path}: {key} has shape {extra.shape}; the first axis should be {len(part)} as in its split"
            )
    return extras[0][1] if len(extras) == 1 else np.concatenate([extra for _, extra in extras])


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


def _layout(path: Path, shape: tuple[int, ...], layout: str | None) -> str:
    if layout is None:
        layout = {2: "ND", 3: "NHW", 4: "NCHW", 5: "NCDHW"}.get(len(shape))
        if layout is None:
            raise InputError(f"{path}: an array of shape {shape}; the first axis counts examples, and 1 to 4 follow")
        channels = {1, 3, 4}
        return "NHWC" if layout == "NCHW" and shape[3] in channels and shape[1] not in channels else layout
    _check_layout(layout)
    if len(layout) != len(shape):
        raise InputError(f"{path}: layout {layout} has {len(layout)} axes, but the array has shape {shape}")
    return layout


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}: known are {', '.join(LAYOUTS)}")


def _channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    if "C" in layout:
        return np.moveaxis(array, layout.index("C"), 1)
    return array if layout == "ND" else array[:, None]
