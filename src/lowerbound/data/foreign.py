"""Files that are not read: the line that makes an .npy file of them."""

import json
import shlex
from itertools import zip_longest
from pathlib import Path

_START = 1 << 16  # bytes of a text that are looked at
_TABLES = {".csv", ".tsv", ".tab", ".txt", ".dat", ".data"}
_IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
_PACKED = {".gz", ".bz2", ".xz", ".7z", ".zst", ".rar"}
_PICKLES = {".pkl", ".pickle", ".joblib"}
_PARQUET = 'pandas.read_parquet({file}).select_dtypes("number").to_numpy()'
_LOADERS = {
    ".mat": ("scipy.io", 'scipy.io.loadmat({file})["NAME"]', "NAME is what the array is called there"),
    ".h5": ("h5py", 'h5py.File({file})["NAME"][:]', "it needs h5py, and NAME is what the array is called there"),
    ".parquet": ("pandas", _PARQUET, "it needs pandas and pyarrow"),
    ".pt": ("torch", "torch.load({file}, weights_only=True).numpy()", "if it holds one tensor; no code in it is run"),
}
_SAME = {".hdf5": ".h5", ".pq": ".parquet", ".pth": ".pt"}


def how_to_convert(path: Path) -> str:
    """What to do with a file that is neither .npy nor .npz, as the second half of a message.

    Of a table the start is looked at: its delimiter, the lines above its numbers, and which of its columns are numbers.
    """
    suffix = _SAME.get(path.suffix.lower(), path.suffix.lower())
    if suffix in _TABLES:
        return _table(path)
    if suffix in _PICKLES:
        return "a pickle runs code when opened: where it was made, store the array with numpy.save"
    if suffix in _IMAGES:
        return "give the folder or the archive that the images are in"
    if suffix in _PACKED:
        return "unpack it first"
    if suffix not in _LOADERS:
        return "store the array with numpy.save as .npy, or several with numpy.savez as .npz"
    module, expression, remark = _LOADERS[suffix]
    warning = "a pickle runs code when opened; " if suffix == ".pt" else ""
    return f"{warning}save it as .npy, with\n  {_line(path, module, expression)}\n({remark})"


def _table(path: Path) -> str:
    """The line for a table of text."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        lines = (start[: start.rfind(b"\n")] if len(start) == _START else start).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    skipped, delimiter = _beginning(lines)
    rows = [[word.strip() for word in line.split(delimiter)] for line in lines[skipped:] if line.strip()]
    columns = list(zip_longest(*rows, fillvalue=""))
    filled = [k for k, column in enumerate(columns) if any(column)]
    numbers = [k for k in filled if all(not word or _is_number(word) for word in columns[k])]
    if not numbers:
        return "save its numbers as .npy with numpy.save"
    settings = [] if delimiter is None else [f"delimiter={json.dumps(delimiter)}"]
    settings += [f"skiprows={skipped}"] * (skipped > 0) + ["ndmin=2"]
    if len(numbers) < len(columns):
        settings.append(f"usecols={numbers}")
    remarks = []
    if numbers != filled:
        remarks.append("these columns, counted from 0, are numbers")
    if not all(all(columns[k]) for k in numbers):
        remarks.append("first remove the rows in which entries are missing")
    remark = f"\n({'; '.join(remarks)})" if remarks else ""
    expression = "numpy.loadtxt(" + ", ".join(["{file}", *settings]) + ")"
    return f"save it as .npy, with\n  {_line(path, '', expression)}{remark}"


def _beginning(lines: list[str]) -> tuple[int, str | None]:
    """How many lines stand above the numbers, all if there are none, and what is between the numbers; None for blanks."""
    for skipped, line in enumerate(lines):
        for delimiter in (*(mark for mark in "\t;," if mark in line), None):
            if any(map(_is_number, line.split(delimiter))):
                return skipped, delimiter
    return len(lines), None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _line(path: Path, module: str, expression: str) -> str:
    """A command line, quoted so that no name can be more than a name."""
    file, saved = (json.dumps(str(name), ensure_ascii=False) for name in (path, path.with_suffix(".npy")))
    modules = ", ".join(filter(None, ["numpy", module]))
    code = f"import {modules}; numpy.save({saved}, {expression})".replace("{file}", file)
    return f"python -c {shlex.quote(code)}"
