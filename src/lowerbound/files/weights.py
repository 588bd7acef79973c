"""Files of weights: tensors by their names, what is said of them, and a hash of both by which damage is found out."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lowerbound.errors import InputError

HASH = "sha256"
"""The name under which a file's metadata hold the hash."""


def weights_file(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a safetensors file with a hash of its tensors and metadata among the latter.

    Arguments:
        tensors: by name, on any device, with gradients or without.
        metadata: what the file says of them.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(stored, {**metadata, HASH: _hash(stored, metadata)})


def read_metadata(path: Path) -> dict[str, str]:
    """What a file of weights says of them.

    Raises:
        InputError: if it is no such file.
    """
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged ({error})") from error


def load_weights(module: nn.Module, path: Path) -> dict[str, str]:
    """Read a module's parameters from a file of weights; returns the file's metadata.

    Raises:
        InputError: if the file is not there, or damaged (where it holds a hash, by that), lacks a parameter or has it in
            another shape, or holds a value that is not finite.
    """
    _check_file(path)
    parameters = dict(module.named_parameters())
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            for name, parameter in parameters.items():
                if name not in shapes:
                    raise InputError(f"{path} lacks the weight {name} that its configuration calls for")
                if shapes[name] != tuple(parameter.shape):
                    raise InputError(
                        f"{path}: {name} has the shape {shapes[name]}, the configuration calls for {tuple(parameter.shape)}"
                    )
            stored = {name: file.get_tensor(name) for name in shapes}
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    hashed = {name: value for name, value in metadata.items() if name != HASH}
    if HASH in metadata and metadata[HASH] != _hash(stored, hashed):
        raise InputError(f"{path} is damaged: it does not hold what was written; its {HASH} is another")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if not stored[name].is_floating_point():
                raise InputError(f"{path}: {name} is of type {stored[name].dtype}; weights are floats")
            parameter.copy_(stored[name])
            if not torch.isfinite(parameter).all():
                raise InputError(f"{path}: {name} holds NaN or infinity: the training diverged, or the file is damaged")
    return metadata


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(
            f"{path} is not there yet: it is written when held-out bits/dim are first measured in training"
        )
    if not path.is_file():  # reading from a device or a pipe may never end
        raise InputError(f"{path} is no file")


def _hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
