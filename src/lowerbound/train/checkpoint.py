"""Checkpoints: folders that are complete or not there at all.

A checkpoint is written beside its place, synchronised to the disk and then renamed, so that an interruption at any moment
leaves the older ones and at most a folder of unfinished files, which the next start removes. Its state.json carries the
hash of every file.
"""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.files import UNFINISHED, synchronise, write_synchronised

ASIDE = ".replaced-"
"""The beginning of a name under which a checkpoint waits until its successor of the same step is in its place."""
NAME = re.compile(r"step-\d{9}")


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
        files["state.json"] = json.dumps({**state, "step": step, "sha256": hashes}, indent=1).encode()
        return cls(step, files)

    def write(self, folder: Path) -> Path:
        """Write it, and remove all but the two newest.

        Arguments:
            folder: where the run's checkpoints are.
        """
        folder.mkdir(parents=True, exist_ok=True)
        clean(folder)
        target = folder / f"step-{self.step:09d}"
        temporary, aside = folder / f"{UNFINISHED}{target.name}", folder / f"{ASIDE}{target.name}"
        temporary.mkdir()
        for name, content in self.files.items():
            write_synchronised(temporary / name, content)
        synchronise(temporary)
        if target.exists():  # nothing is deleted before what replaces it is in its place
            target.rename(aside)
        temporary.rename(target)
        synchronise(folder)
        if aside.exists():
            shutil.rmtree(aside)
        for old in checkpoints(folder)[:-2]:
            shutil.rmtree(old)
        return target


def read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors and the state of a checkpoint, checked against its hashes.

    Raises:
        InputError: if a file is missing or damaged, with its name and how to go back to the checkpoint before.
    """
    advice = f"remove the folder {path} to go on from the checkpoint before it"
    try:
        state = json.loads((path / "state.json").read_text())
        hashes = state.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"damaged checkpoint: {path / 'state.json'} ({error}); {advice}") from error
    tensors = {}
    for name, expected in hashes.items():
        try:
            content = (path / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != expected:
                raise InputError(f"damaged checkpoint: {path / name} is not what was written; {advice}")
            tensors[Path(name).stem] = load(content)
        except (OSError, SafetensorError) as error:
            raise InputError(f"damaged checkpoint: {path / name} ({error}); {advice}") from error
    return tensors, state


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first; what is named otherwise is not one, and left alone."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir())


def clean(folder: Path) -> None:
    """Put back what an interrupted write had moved aside and not replaced, and remove the rest of what it left."""
    for aside in folder.glob(f"{ASIDE}*"):
        target = folder / aside.name.removeprefix(ASIDE)
        if target.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(target)
    for unfinished in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(unfinished)
