"""Checkpoints: folders that are complete or not there at all.

A checkpoint is written in a workspace and then moved to its place (see `lowerbound.files`), so that an interruption at any
moment leaves the older ones. Its state.json carries the hash of every file. What else lies among the checkpoints is left
alone.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.files import read_file, write_synchronised, written_folder

KEPT = 2
"""How many checkpoints stay."""
_NAME = re.compile(r"step-(\d{9})")
_FILE = re.compile(r"[a-z]+\.safetensors")
_MOST_STATE_BYTES = 1 << 20
_MOST_TENSOR_BYTES = 1 << 38


def write_checkpoint(folder: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> Path:
    """Write one checkpoint and remove all but the two newest.

    Arguments:
        folder: where the run's checkpoints are.
        step: names the checkpoint.
        tensors: for each file, its tensors by name.
        state: everything else, as JSON holds it.

    Raises:
        OSError: if it can't be written; the checkpoints that were there are as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{step:09d}"
    with written_folder(target, replace=True) as made:
        hashes = {}
        for name, group in tensors.items():
            content = save({key: value.detach().cpu().contiguous() for key, value in group.items()})
            hashes[f"{name}.safetensors"] = hashlib.sha256(content).hexdigest()
            write_synchronised(made / f"{name}.safetensors", content)
        numbers = {**state, "step": step, "sha256": hashes}
        content = json.dumps({**numbers, "own_sha256": _digest(numbers)}, indent=1)
        write_synchronised(made / "state.json", content.encode())
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return target


def read_checkpoint(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `write_checkpoint` was given, checked against its hashes.

    Raises:
        InputError: if a file is missing or damaged, with its name and the key.
    """
    try:
        state = json.loads(read_file(path / "state.json", _MOST_STATE_BYTES))
        if not isinstance(state, dict):
            raise InputError("it holds no object")
        own = state.pop("own_sha256", None)  # older ones have none
        if own is not None and own != _digest(state):
            raise InputError("it is not what was written")
        hashes, step = state.pop("sha256"), state["step"]
        if not isinstance(hashes, dict) or not all(_FILE.fullmatch(name) for name in hashes):
            raise InputError("sha256 holds something else than the hashes of files of tensors")
        if f"step-{step:09d}" != path.name:
            raise InputError(f"step is {step!r}, which is not that of its folder")
    except KeyError as error:
        raise InputError(f"damaged checkpoint: {path / 'state.json'} (it lacks {error})") from error
    except OSError as error:
        raise InputError(f"damaged checkpoint: {path / 'state.json'} ({error.strerror})") from error
    except (ValueError, RecursionError, TypeError) as error:
        raise InputError(f"damaged checkpoint: {path / 'state.json'} ({error})") from error
    tensors = {}
    for name, expected in hashes.items():
        try:
            content = read_file(path / name, _MOST_TENSOR_BYTES)
            if hashlib.sha256(content).hexdigest() != expected:
                raise InputError(f"damaged checkpoint: {path / name} is not what was written")
            tensors[Path(name).stem] = load(content)
        except OSError as error:
            raise InputError(f"damaged checkpoint: {path / name} ({error.strerror})") from error
        except SafetensorError as error:
            raise InputError(f"damaged checkpoint: {path / name} ({error})") from error
    return tensors, state


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and not path.is_symlink())


def step_of(path: Path) -> int:
    """The step after which a checkpoint was written."""
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that it is none any more, and nothing of it is lost."""
    number = 1
    while (aside := path.with_name(f"damaged-{path.name}-{number}")).exists():
        number += 1
    return path.rename(aside)


def _digest(numbers: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()
