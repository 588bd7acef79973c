"""The device that a model is on: how exactly it computes, and when it is done with what it was asked for.

float32 means float32 on every device. By torch's defaults a CUDA device rounds the factors of convolutions to the ten bits
of TF32, an error of 5e-4 in each of them, which is as much as the finest noise that a network has to see: samples, bounds
and resumed runs would be others than on a CPU. Here they are the same but for the order of sums. What is gained by fewer
bits is to be had where it costs least, in the training of a network (`--precision bf16`).
"""

import warnings

import torch

from lowerbound.errors import InputError


def prepared(device: torch.device | str) -> torch.device:
    """The device, with float32 computed in all of its bits from now on."""
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device is {device!r}: give cpu, cuda, cuda:0 or another that torch knows") from error
    if device.type == "cuda":
        # the older of torch's two ways to say so, which its compiler reads; it may warn that there is a newer one
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
    return device


def finish(device: torch.device) -> None:
    """Wait until a device has done all that it was asked for, so that a clock tells what it took."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that tensors have taken on a device of its own memory so far; None of the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
