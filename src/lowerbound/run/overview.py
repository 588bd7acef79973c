"""The runs below a folder, and how each stands, from its small files alone."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lowerbound.errors import InputError
from lowerbound.files.records import MOST_BYTES
from lowerbound.training.checkpoint import checkpoints, step_of
from lowerbound.training.config import Config
from lowerbound.training.folder import RunFolder
from lowerbound.training.trainer import TRAINING_SHARE

TAIL_BYTES = 1 << 16
"""Of the end of a log, in which its last records are."""


@dataclass(frozen=True)
class Overview:
    """How a run stands.

    Arguments:
        path: its folder.
        state: `training`: a process trains it; `complete`: as long as was asked for, or stopped early as was asked for;
            `interrupted`: to go on with; or `damaged`.
        data: their source.
        model: its kind.
        step, minutes: how far its training has come.
        held_out_bits_per_dim, standard_error: of the weights that it keeps; None where there are none.
        bytes: of all its files.
        changed: when its log or its configuration was written last, in seconds since 1970.
        reason: what is damaged, or why it has stopped early; empty else.
    """

    path: str
    state: Literal["training", "complete", "interrupted", "damaged"]
    data: str = ""
    model: str = ""
    step: int | None = None
    minutes: float | None = None
    held_out_bits_per_dim: float | None = None
    standard_error: float | None = None
    bytes: int = 0
    changed: float = 0.0
    reason: str = ""


def overviews(folder: Path) -> list[Overview]:
    """All runs in a folder and below it, the one that was changed last first.

    Raises:
        InputError: if there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give one with runs in it, such as runs")
    return sorted(map(overview, _run_folders(folder)), key=lambda run: -run.changed)


def overview(path: Path) -> Overview:
    """How the run in a folder stands; what can't be read of it makes it damaged, and never raises."""
    folder = RunFolder(path)
    sizes = {"bytes": _size(path), "changed": max(map(_written, (folder.config, folder.log)))}
    try:
        config, _ = folder.read_config()
        last = _last_record(folder)
        metadata = folder.read_metadata()
        step, seconds = (last.get(name, float(metadata.get(name, 0))) for name in ("step", "seconds"))
        stopped = last.get("stopped_early", "")
        bits, error = (
            float(metadata[name]) if name in metadata else None for name in ("held_out_bits_per_dim", "standard_error")
        )
        if folder.is_locked:
            state, stopped = "training", ""
        else:
            is_complete = folder.model.is_file() and (bool(stopped) or _is_complete(config, folder, step, seconds))
            state = "complete" if is_complete else "interrupted"
        facts = {"step": int(step), "minutes": seconds / 60, "held_out_bits_per_dim": bits, "standard_error": error}
        return Overview(str(path), state, config.data.source, config.model.name, **facts, **sizes, reason=stopped)
    except (InputError, OSError, ValueError, OverflowError) as error:
        return Overview(str(path), "damaged", **sizes, reason=" ".join(str(error).split()))


def _is_complete(config: Config, folder: RunFolder, step: float, seconds: float) -> bool:
    """Whether a run with weights has been trained as long as was asked for."""
    training = config.training
    # which have weights at their end alone
    if config.model.is_grown or folder.is_distilled or config.imported is not None:
        return True
    if training.steps is not None:
        saved = checkpoints(folder.checkpoints)  # behind the log, if training has diverged after it
        return min([step, *map(step_of, saved[-1:])]) >= training.steps
    return training.minutes is not None and seconds >= 60 * training.minutes * TRAINING_SHARE


def _run_folders(folder: Path) -> Iterator[Path]:
    """Those that hold a run, without what lies inside a run."""
    for path, folders, files in os.walk(folder):
        if _is_run(Path(path), files):
            folders.clear()
            yield Path(path)
        folders.sort()


def _is_run(path: Path, files: list[str]) -> bool:
    """Whether there is a configuration of ours, or the log of one that is lost."""
    if "log.jsonl" in files and ("lock" in files or "config.json" in files):
        return True
    config = path / "config.json"
    try:
        if "config.json" not in files or not config.is_file():
            return False
        with config.open("rb") as file:
            content = file.read(MOST_BYTES)
        return b'"data_facts"' in content and b'"schema_version"' in content  # which no export has
    except OSError:
        return False


def _last_record(folder: RunFolder) -> dict[str, Any]:
    """The last whole record of the log; nothing if there is none.

    Raises:
        InputError: if the end of the log holds something else.
    """
    if not folder.log.is_file():
        return {}
    with folder.log.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
        file.seek(start)
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            record = json.loads(line)
            stopped = {"stopped_early": str(record["stopped_early"])} if "stopped_early" in record else {}
            return {"step": int(record["step"]), "seconds": float(record["seconds"]), **stopped}
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            if line is not lines[-1]:  # which may be being written
                break
    if start or len(lines) > 1:
        raise InputError(f"{folder.log} is damaged: its last lines are no records")
    return {}


def _size(path: Path) -> int:
    """The bytes of all files in a folder, as far as they can be looked at."""
    total = 0
    for parent, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):  # it may have gone meanwhile
                total += os.lstat(Path(parent, name)).st_size
    return total


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
