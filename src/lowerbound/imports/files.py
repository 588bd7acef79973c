"""Files that others wrote: settings as JSON, tensors by their names; no pickle is run."""

import json
import reprlib
import warnings
from collections.abc import Set
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.files.records import MOST_BYTES
from lowerbound.files.whole import read_text
from lowerbound.words.printable import printable

NAMED = 5
"""Tensors that a message names."""


def read_object(path: Path) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        InputError: if there is none.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there, or no file")
    content = read_text(path, MOST_BYTES)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} should hold an object, got {reprlib.repr(values)}")
    return values


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a file of torch's that holds tensors by their names and nothing else.

    Raises:
        InputError: if it is damaged, or holds anything else.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError, ValueError, RuntimeError) as error:
            raise InputError(f"{path} is damaged: {error}") from error
    return only_tensors(read_values(path), path)


def read_values(path: Path) -> Any:
    """What a file of torch's holds, if it is tensors, numbers, texts, and lists and dictionaries of them.

    Raises:
        InputError: if it is damaged, or holds anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file that is none brings torch to
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise InputError(
            f"{path} cannot be read as tensors alone ({reason}): "
            "a pickle may run any program, and is not opened; have whoever made it save it as .safetensors"
        ) from error


def only_tensors(values: Any, path: Path) -> dict[str, Tensor]:
    """Tensors by their names.

    Arguments:
        values: which may be something else.
        path: where they are from, for messages.

    Raises:
        InputError: if they are.
    """
    if not isinstance(values, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in values.items()
    ):
        raise InputError(f"{path} holds {reprlib.repr(type(values).__name__)}, not tensors by their names")
    return dict(values)


def load_tensors(network: nn.Module, tensors: dict[str, Tensor], path: Path | str) -> None:
    """Give a network its weights: all of them, and nothing else.

    Arguments:
        network: its settings' own.
        tensors: by their names in it.
        path: where they are from, for messages.

    Raises:
        InputError: if one is missing, too many, of another shape or type, not finite, or is a table that is no weight and
            differs from what the network's settings make of it.
    """
    state = network.state_dict()
    check_names(state.keys(), tensors.keys(), path)
    parameters = dict(network.named_parameters(remove_duplicate=False))
    for name, own in state.items():
        tensor = tensors[name]
        if tensor.shape != own.shape:
            raise InputError(
                f"{path}: {printable(name)} has the shape {tuple(tensor.shape)}, its settings call for {tuple(own.shape)}"
            )
        if tensor.layout is not torch.strided or tensor.is_quantized or not tensor.is_floating_point():
            raise InputError(
                f"{path}: {printable(name)} is of type {tensor.dtype}, {tensor.layout}; weights are floats"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: {printable(name)} holds NaN or infinity")
        if name not in parameters and (tensor.double() - own.double()).abs().max() > 1e-4:
            raise InputError(f"{path}: {printable(name)} is not the table that its settings make")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def check_names(wanted: Set[str], names: Set[str], path: Path | str) -> None:
    """Refuse tensors of other names than are wanted, by an InputError."""
    if missing := sorted(wanted - names):
        raise InputError(f"{path} lacks {listed(missing)}, which its settings call for")
    if extra := sorted(names - wanted):
        raise InputError(f"{path} has {listed(extra)}, which its settings have no place for")


def listed(names: list[str]) -> str:
    """How many tensors, and the names of the first."""
    shown = ", ".join(map(printable, names[:NAMED]))
    return f"{len(names)} tensors, {shown}{', ...' * (len(names) > NAMED)}" if len(names) > 1 else shown
