"""Checkpoints: folders that are complete or not there at all.

A checkpoint is written beside its place, synchronised to the disk and then renamed, so that an interruption at any moment
leaves the older ones and at most a folder of unfinished files, which the next start removes. Its state.json carries the
hash of every file.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.files import UNFINISHED, synchronise, write_synchronised


def write_checkpoint(folder: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> Path:
    """Write one checkpoint and remove all but the two newest.

    Arguments:
        folder: where the run's checkpoints are.
        step: names the checkpoint.
        tensors: for each file, its tensors by name.
        state: everything else, as JSON holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clean(folder)
    target = folder / f"step-{step:09d}"
    temporary = folder / f"{UNFINISHED}{target.name}"
    temporary.mkdir()
    hashes = {}
    for name, group in tensors.items():
        content = save({key: value.detach().cpu().contiguous() for key, value in group.items()})
        hashes[f"{name}.safetensors"] = hashlib.sha256(content).hexdigest()
        write_synchronised(temporary / f"{name}.safetensors", content)
    write_synchronised(
        temporary / "state.json", json.dumps({**state, "step": step, "sha256": hashes}, indent=1).encode()
    )
    synchronise(temporary)
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    synchronise(folder)
    for old in checkpoints(folder)[:-2]:
        shutil.rmtree(old)
    return target


def read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `write_checkpoint` was given, checked against its hashes.

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
    """The complete checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def clean(folder: Path) -> None:
    """Remove what an interrupted write left."""
    for unfinished in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(unfinished)
