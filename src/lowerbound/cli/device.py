"""The option `--device` of several verbs, and the device that it names."""

import re
from typing import Annotated

import torch
import tyro

from lowerbound.errors import InputError

DeviceName = Annotated[
    str, tyro.conf.arg(help="The device to work on: cpu, cuda, or auto for cuda where there is one.")
]
"""The option of several verbs."""
DEVICE_KINDS = ("cpu", "cuda")
"""Devices that compute in double precision, as noise levels and densities are."""


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        InputError: if there is no such device, or it has no double precision.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICE_KINDS:
            raise InputError(f"--device is {name}, which is not supported: choose cpu, cuda or auto")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        if (unknown := re.search("device string: (.*)", str(error))) is not None:
            raise InputError(f"--device is {unknown[1]}, which is no device: choose cpu, cuda or auto") from error
        reason = str(error).splitlines()[0]
        raise InputError(f"--device is {name}, which cannot be used ({reason}): choose cpu or auto") from error
    return device
