"""Files that are not read: the line that makes an .npy file of them."""

import json
import shlex
from pathlib import Path

_SHEETS = {".xlsx", ".xls", ".ods"}
_PACKED = {".gz", ".bz2", ".xz", ".7z", ".zst", ".rar"}
_PICKLES = {".pkl", ".pickle", ".joblib"}
_LOADERS = {
    ".mat": ("scipy.io", 'scipy.io.loadmat({file})["NAME"]', "NAME is what the array is called there"),
    ".h5": ("h5py", 'h5py.File({file})["NAME"][:]', "it needs h5py, and NAME is what the array is called there"),
    ".pt": ("torch", "torch.load({file}, weights_only=True).numpy()", "if it holds one tensor; no code in it is run"),
}
_SAME = {".hdf5": ".h5", ".pth": ".pt"}


def how_to_convert(path: Path) -> str:
    """What to do with a file of a kind that is not read, as the second half of a message."""
    suffix = _SAME.get(path.suffix.lower(), path.suffix.lower())
    if suffix in _SHEETS:
        return "save the sheet as .csv"
    if suffix in _PICKLES:
        return "a pickle runs code when opened: where it was made, store the array with numpy.save"
    if suffix in _PACKED:
        return "unpack it first"
    if suffix not in _LOADERS:
        return "store the array with numpy.save as .npy, or several with numpy.savez as .npz"
    module, expression, remark = _LOADERS[suffix]
    warning = "a pickle runs code when opened; " if suffix == ".pt" else ""
    return f"{warning}save it as .npy, with\n  {_line(path, module, expression)}\n({remark})"


def _line(path: Path, module: str, expression: str) -> str:
    """A command line, quoted so that no name can be more than a name."""
    file, saved = (json.dumps(str(name), ensure_ascii=False) for name in (path, path.with_suffix(".npy")))
    modules = ", ".join(filter(None, ["numpy", module]))
    code = f"import {modules}; numpy.save({saved}, {expression})".replace("{file}", file)
    return f"python -c {shlex.quote(code)}"
