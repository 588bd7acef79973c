"""Checkpoints of a divided network: each process writes what it has, and as many others read it as there are then.

They are torch.distributed.checkpoint's, in its files of safetensors, one for each process, of which none can run code when
it is read; all processes have to see the run folder. A tensor is called GROUP/NAME there.
"""

import math
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from lowerbound.errors import InputError
from lowerbound.files.whole import file_hash
from lowerbound.training.checkpoint import placing, write_state
from lowerbound.training.parallel.processes import Processes

Groups = dict[str, dict[str, Tensor]]


def write_shards(folder: Path, step: int, tensors: Groups, state: dict[str, Any], processes: Processes) -> None:
    """Write a checkpoint together, and remove all but the two newest.

    Arguments:
        folder, step, tensors, state: as for `write_checkpoint`; of divided tensors each process has its part.
        processes: that write.

    Raises:
        InputError: in all of them, if one cannot write; the checkpoints that were there stay.
    """
    named = {f"{group}/{name}": value.detach() for group, each in tensors.items() for name, value in each.items()}
    with ExitStack() as unfinished_folder:
        unfinished = processes.by_first(lambda: unfinished_folder.enter_context(placing(folder, step)))
        with processes.together():
            try:
                save(named, storage_writer=HuggingFaceStorageWriter(str(unfinished), save_distributed=True))
            except CheckpointException as error:
                raise InputError(
                    f"the checkpoint of step {step} in {folder} was not written: {_reason(error)}"
                ) from error
        files = sorted(unfinished.glob("*.safetensors"))
        hashes = dict(processes.by_turns(files, lambda file: (file.name, file_hash(file))))
        processes.by_first(lambda: write_state(unfinished, step, state, hashes))
        processes.by_first(unfinished_folder.close)


def read_shards(path: Path, parameters: Mapping[str, Tensor], processes: Processes) -> Groups:
    """The tensors of a checkpoint, whose hashes were checked: divided as the parameters are that they belong to.

    Arguments:
        path: of the checkpoint.
        parameters: of the training that goes on, by name.
        processes: that read it together; `ALONE` if this one does, whose parameters are whole.

    Raises:
        InputError: if it is damaged.
    """
    try:
        described = HuggingFaceStorageReader(str(path)).read_metadata().state_dict_metadata
        sizes = {name: (tuple(each.size), each.properties.dtype) for name, each in described.items()}  # pyrefly: ignore[missing-attribute]
        most = sum(file.stat().st_size for file in path.glob("*.safetensors"))
        if sum(math.prod(size) * dtype.itemsize for size, dtype in sizes.values()) > most:
            raise InputError("its tensors are larger than its files")
        named = {name: _place_for(name, size, dtype, parameters) for name, (size, dtype) in sizes.items()}
        with warnings.catch_warnings():  # that a single process reads is no accident
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(named, storage_reader=HuggingFaceStorageReader(str(path)), no_dist=processes.count == 1)
    except (CheckpointException, ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        raise InputError(f"damaged checkpoint: {path} ({_reason(error)})") from error
    groups: Groups = {}
    for name, value in named.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = value
    return groups


def _place_for(name: str, size: tuple[int, ...], dtype: torch.dtype, parameters: Mapping[str, Tensor]) -> Tensor:
    """Where a tensor is read to: divided as its parameter is, if it has one of its shape."""
    parameter = parameter_of(name.partition("/")[2], parameters)
    if parameter is not None and tuple(parameter.shape) == size:
        return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
    return torch.zeros(size, dtype=dtype)


def parameter_of(name: str, parameters: Mapping[str, Tensor]) -> Tensor | None:
    """The parameter that a tensor of a checkpoint belongs to: of its name, or the one that an optimiser remembers by it."""
    return parameters.get(name, parameters.get(name.rpartition(".")[0]))


def _reason(error: BaseException) -> str:
    """What is behind an error of several processes, in a line."""
    failures = getattr(error, "failures", {})
    causes = [cause for cause, _ in failures.values()] if failures else [error]
    return f"{type(causes[0]).__name__}: {str(causes[0]).splitlines()[0] if str(causes[0]) else ''}"
