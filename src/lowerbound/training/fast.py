"""A network that computes faster while it is trained: in bfloat16, and compiled.

Both are the network's own affair. Its inputs and its output are in single precision as ever, and so is all that is made of
them: schedule, loss, bound, decoder, gradient norm, optimiser and average. What is measured, held-out bits among it, is
measured without either.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lowerbound import objective
from lowerbound.errors import InputError
from lowerbound.machine.processor import processor
from lowerbound.models import Diffusion, Model
from lowerbound.training.build import networks
from lowerbound.training.config import Config


def speed_up(model: Model, config: Config, device: torch.device, by_block: bool = False) -> None:
    """Let a model's network compute as `--precision` and `--compile` say, while it is in training mode.

    Arguments:
        model, config, device: of the training.
        by_block: whether its blocks are compiled one by one, between which the weights of a divided network come and go.

    Raises:
        InputError: for a model or an objective that it does not suit, or a device without bfloat16.
    """
    training = config.training
    if training.precision == "float32" and not training.compile:
        return
    flag = "--compile" if training.compile else f"--precision {training.precision}"
    if config.model.name == "energy" or not isinstance(model, Diffusion):
        reason = (
            "its prediction is the gradient of its network, which is differentiated again"
            if config.model.name == "energy"
            else "its likelihood is computed among its networks' layers"
        )
        raise InputError(f"{flag} is not for the model {config.model.name}: {reason}")
    if training.compile and model.objective.integral is not objective.loss:
        raise InputError(
            f"--compile is not for --objective {training.objective}, which differentiates the network twice"
        )
    if training.precision == "bf16":
        check_bfloat16(device)
    for network in networks(model.denoiser):
        compiled = [] if not training.compile else blocks(network) if by_block else [network]
        for part in compiled:
            # each shape for itself: those of a run are few, and a graph for any shape is slower; and a GPU repeats what it
            # was asked for once, since to be asked for each operation anew takes longer than most of them
            mode = "reduce-overhead" if device.type == "cuda" and not by_block else None
            part.forward = _in_training(part, torch.compile(part.forward, dynamic=False, mode=mode))
        if training.precision == "bf16":
            in_bfloat16 = torch.autocast(device.type, torch.bfloat16)(network.forward)
            network.forward = _in_training(network, in_bfloat16)


def blocks(network: nn.Module) -> list[nn.Module]:
    """The parts of a network that follow one another, from the outer ones to those inside them."""
    return [child for parent in network.modules() if isinstance(parent, nn.ModuleList) for child in parent]


def check_bfloat16(device: torch.device) -> None:
    """Refuse a CUDA device without units for bfloat16 by an InputError; warn of a processor without."""
    if device.type == "cuda" and not can_bfloat16():
        raise InputError(
            f"--precision bf16: {torch.cuda.get_device_name(device)} does not compute in bfloat16; leave --precision float32"
        )
    if device.type == "cpu" and "no bfloat16" in processor():
        warnings.warn(
            "this processor has no units for bfloat16: --precision bf16 makes it slower, not faster", stacklevel=2
        )


def can_bfloat16() -> bool:
    """Whether the CUDA device has units for bfloat16."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _in_training(module: nn.Module, faster: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Its forward as it is, and a faster one in training mode."""
    plain = module.forward

    def forward(*inputs: Tensor | None, **told: Tensor) -> Tensor:
        return (faster if module.training else plain)(*inputs, **told)

    return forward
