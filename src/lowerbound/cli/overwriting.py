"""What a verb writes takes the place of what was there, but never of what it reads, nor of what a run consists of."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowerbound.errors import InputError


def check_overwriting(options: Any) -> None:
    """Refuse an --out in whose place a verb's DATA lie, another file that it reads, the data of its run or a part of a run,
    with an InputError."""
    out = getattr(options, "out", None)
    if not isinstance(out, Path) or out.is_dir():
        return
    from lowerbound.training.folder import RunFolder

    within = RunFolder(out.parent)
    if within.exists and out in within.files:
        raise InputError(f"--out {out} is a part of the run in {within.path}: give another name")
    if not out.is_file():
        return
    for read in _texts(options, leave_out="out"):
        if _same(read, out):
            raise InputError(f"--out {out} is read by this command, and would be lost: give another name")
    run = getattr(options, "run", None)
    if isinstance(run, Path) and (folder := RunFolder(run)).exists:
        config, _ = folder.read_config()
        if any(_same(read, out) for read in _texts(config.data)):
            raise InputError(
                f"--out {out} holds data that {run} was trained on, which would be lost: give another name"
            )


def _texts(settings: Any, leave_out: str = "") -> Iterator[str | Path]:
    """The names among settings, those of their sections included."""
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        if dataclasses.is_dataclass(value):
            yield from _texts(value)
        elif each.name != leave_out:
            yield from (
                name for name in (value if isinstance(value, tuple) else (value,)) if isinstance(name, str | Path)
            )


def _same(name: str | Path, out: Path) -> bool:
    path = Path(name).expanduser()
    try:
        return path.exists() and path.samefile(out)
    except (OSError, ValueError):  # a name that no file can have
        return False
