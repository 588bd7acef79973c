"""Checkpoints: folders that are complete or not there at all.

A checkpoint is written beside its place, synchronised to the disk and then renamed, so that a kill at any moment leaves the
older ones, one of the same step among them, and at most a folder of unfinished files, which the next start removes. Its
state.json carries the hash of every file.
"""

import hashlib
import json
import math
import re
import reprlib
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.files.whole import UNFINISHED, file_hash, replacing, write_synchronised

ASIDE = ".replaced-"
"""The beginning of a name under which a checkpoint waits until its successor of the same step is in its place."""
NAME = re.compile(r"step-\d{9}")
_FILE = re.compile(r"[a-z]+\.safetensors")
_SHARD = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
_MOST_STATE_BYTES = 1 << 20


def write_checkpoint(folder: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> Path:
    """Write a checkpoint, and remove all but the two newest.

    Arguments:
        folder: where the run's checkpoints are.
        step: names the checkpoint.
        tensors: for each file, its tensors by name.
        state: everything else, as JSON holds it.

    Raises:
        DiskFullError: if there is no room; the checkpoints that were there stay.
    """
    files = {
        f"{name}.safetensors": save({key: value.detach().cpu().contiguous() for key, value in group.items()})
        for name, group in tensors.items()
    }
    with placing(folder, step) as unfinished:
        for name, content in files.items():
            write_synchronised(unfinished / name, content)
        write_state(unfinished, step, state, {name: _hash(content) for name, content in files.items()})
    return folder / f"step-{step:09d}"


@contextmanager
def placing(folder: Path, step: int) -> Generator[Path]:
    """A folder for the files of a checkpoint, which becomes that of its step at the end, if nothing was raised; then all but
    the two newest are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    clean(folder)
    target = folder / f"step-{step:09d}"
    aside = folder / f"{ASIDE}{target.name}"
    with replacing(target) as unfinished:
        unfinished.mkdir()
        yield unfinished
        if target.exists():  # nothing is deleted before what replaces it is in its place
            target.rename(aside)
    if aside.exists():
        shutil.rmtree(aside)
    for old in checkpoints(folder)[:-2]:
        shutil.rmtree(old)


def write_state(unfinished: Path, step: int, state: dict[str, Any], hashes: dict[str, str]) -> None:
    """Write state.json beside the other files of a checkpoint, whose hashes it holds."""
    numbers = {**state, "step": step, "sha256": hashes}
    content = json.dumps({**numbers, "own_sha256": _own_hash(numbers)}, indent=1).encode()
    write_synchronised(unfinished / "state.json", content)


def read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors and the state of a checkpoint, checked against its hashes.

    Raises:
        InputError: if a file is missing or damaged, with its name.
    """
    hashes, state = _read_state(path / "state.json")
    tensors = {}
    for name, expected in hashes.items():
        content = _read(path / name)
        if _hash(content) != expected:
            raise InputError(f"damaged checkpoint: {path / name} is not what was written")
        try:
            tensors[Path(name).stem] = load(content)
        except SafetensorError as error:
            raise InputError(f"damaged checkpoint: {path / name} ({error})") from error
    return tensors, state


def check_shards(path: Path) -> dict[str, Any] | None:
    """The state of a checkpoint that processes have written together, once its files are what was written; None of any
    other checkpoint.

    Raises:
        InputError: if a file is missing or damaged, with its name.
    """
    hashes, state = _read_state(path / "state.json")
    if not any(_SHARD.fullmatch(name) for name in hashes):
        return None
    if set(hashes) != {file.name for file in path.glob("*.safetensors")}:
        raise InputError(f"damaged checkpoint: {path} does not hold the files that were written")
    for name, expected in hashes.items():
        if not (path / name).is_file() or file_hash(path / name) != expected:
            raise InputError(f"damaged checkpoint: {path / name} is not what was written")
    return state


def _read_state(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The hashes of the other files, and the state."""
    content = _read(path, _MOST_STATE_BYTES)
    try:
        state = json.loads(content)
        if not isinstance(state, dict):
            raise InputError("it holds no object")
        expected = state.pop("own_sha256", None)  # that of an earlier version has none
        if expected is not None and expected != _own_hash(state):
            raise InputError("it is not what was written")
        hashes = state.pop("sha256", None)
        if not isinstance(hashes, dict) or not all(
            (_FILE.fullmatch(name) or _SHARD.fullmatch(name)) and isinstance(value, str)
            for name, value in hashes.items()
        ):
            raise InputError("sha256 does not hold the hashes of files of tensors")
        if state.get("step") != step_of(path.parent):
            raise InputError(f"step is {reprlib.repr(state.get('step'))}, and its folder of another")
    except (ValueError, RecursionError) as error:
        raise InputError(f"damaged checkpoint: {path} ({error})") from error
    return hashes, state


def _read(path: Path, most: float = math.inf) -> bytes:
    """The content of a regular file; another, such as a pipe, might never end."""
    try:
        if path.stat().st_size > most or not path.is_file():
            raise InputError(f"damaged checkpoint: {path} is no file that was written here")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"damaged checkpoint: {path} ({error.strerror})") from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _own_hash(numbers: dict[str, Any]) -> str:
    return _hash(json.dumps(numbers, sort_keys=True).encode())


def step_of(path: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(path.name.removeprefix("step-"))


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first; what is named otherwise is not one, and left alone."""
    return sorted(path for path in folder.glob("step-*") if _is_checkpoint(path, path.name))


def clean(folder: Path) -> None:
    """Put back what an interrupted write had moved aside and not replaced, and remove what else it left unfinished."""
    for aside in folder.glob(f"{ASIDE}*"):
        target = folder / aside.name.removeprefix(ASIDE)
        if not _is_checkpoint(aside, target.name):
            continue
        if target.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(target)
    for unfinished in folder.glob(f"{UNFINISHED}*"):
        if unfinished.is_dir() and not unfinished.is_symlink():
            shutil.rmtree(unfinished)
        else:
            unfinished.unlink()


def _is_checkpoint(path: Path, name: str) -> bool:
    """Whether a folder may be the checkpoint of a name; what a link leads to is not the run's."""
    return NAME.fullmatch(name) is not None and path.is_dir() and not path.is_symlink()
