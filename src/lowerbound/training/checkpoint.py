"""Checkpoints: folders that are complete or not there at all.

A checkpoint is written beside its place, synchronised to the disk and then renamed, so that a kill at any moment leaves the
older ones, one of the same step among them, and at most a folder of unfinished files, which the next start removes. Its
state.json carries the hash of every file.
"""

import hashlib
import json
import re
import reprlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.files import UNFINISHED, replacing, write_synchronised

ASIDE = ".replaced-"
"""The beginning of a name under which a checkpoint waits until its successor of the same step is in its place."""
NAME = re.compile(r"step-\d{9}")
_FILE = re.compile(r"[a-z]+\.safetensors")
_MOST_STATE_BYTES = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A state of training as the files that hold it.

    Arguments:
        step: names the checkpoint.
        files: contents by name, state.json with the hashes of all others last.
    """

    step: int
    files: dict[str, bytes]

    @classmethod
    def of(cls, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> "Checkpoint":
        """The checkpoint of a state, which may change afterwards.

        Arguments:
            step: names the checkpoint.
            tensors: for each file, its tensors by name.
            state: everything else, as JSON holds it.
        """
        files = {
            f"{name}.safetensors": save({key: value.detach().cpu().contiguous() for key, value in group.items()})
            for name, group in tensors.items()
        }
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        numbers = {**state, "step": step, "sha256": hashes}
        files["state.json"] = json.dumps({**numbers, "own_sha256": _digest(numbers)}, indent=1).encode()
        return cls(step, files)

    def write(self, folder: Path) -> Path:
        """Write it, and remove all but the two newest.

        Arguments:
            folder: where the run's checkpoints are.

        Raises:
            DiskFullError: if there is no room; the checkpoints that were there stay.
        """
        folder.mkdir(parents=True, exist_ok=True)
        clean(folder)
        target = folder / f"step-{self.step:09d}"
        aside = folder / f"{ASIDE}{target.name}"
        with replacing(target) as unfinished:
            unfinished.mkdir()
            for name, content in self.files.items():
                write_synchronised(unfinished / name, content)
            if target.exists():  # nothing is deleted before what replaces it is in its place
                target.rename(aside)
        if aside.exists():
            shutil.rmtree(aside)
        for old in checkpoints(folder)[:-2]:
            shutil.rmtree(old)
        return target


def read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors and the state of a checkpoint, checked against its hashes.

    Raises:
        InputError: if a file is missing or damaged, with its name.
    """
    hashes, state = _read_state(path / "state.json")
    tensors = {}
    for name, expected in hashes.items():
        content = _read(path / name)
        if hashlib.sha256(content).hexdigest() != expected:
            raise InputError(f"damaged checkpoint: {path / name} is not what was written")
        try:
            tensors[Path(name).stem] = load(content)
        except SafetensorError as error:
            raise InputError(f"damaged checkpoint: {path / name} ({error})") from error
    return tensors, state


def _read_state(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The hashes of the other files, and the state."""
    content = _read(path, _MOST_STATE_BYTES)
    try:
        state = json.loads(content)
        if not isinstance(state, dict):
            raise InputError("it holds no object")
        own = state.pop("own_sha256", None)  # that of an earlier version has none
        if own is not None and own != _digest(state):
            raise InputError("it is not what was written")
        hashes = state.pop("sha256", None)
        known = isinstance(hashes, dict) and all(_FILE.fullmatch(name) for name in hashes)
        if not known or not all(isinstance(value, str) for value in hashes.values()):
            raise InputError("sha256 does not hold the hashes of files of tensors")
        if state.get("step") != step_of(path.parent):
            raise InputError(f"step is {reprlib.repr(state.get('step'))}, and its folder of another")
    except (ValueError, RecursionError) as error:
        raise InputError(f"damaged checkpoint: {path} ({error})") from error
    return hashes, state


def _read(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file; another, such as a pipe, might never end."""
    try:
        size = path.stat().st_size
        if (path.exists() and not path.is_file()) or (most is not None and size > most):
            raise InputError(f"damaged checkpoint: {path} is no file that was written here")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"damaged checkpoint: {path} ({error.strerror})") from error


def _digest(numbers: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


def step_of(path: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(path.name.removeprefix("step-"))


def put_away(path: Path) -> Path:
    """Rename a damaged checkpoint, so that it is none any more and nothing of it is lost."""
    number = 1
    while (away := path.with_name(f"damaged-{path.name}-{number}")).exists():
        number += 1
    return path.rename(away)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first; what is named otherwise is not one, and left alone."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )


def clean(folder: Path) -> None:
    """Put back what an interrupted write had moved aside and not replaced, and remove the rest of what it left."""
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
