"""The optimiser: Muon for the weight matrices between hidden layers, AdamW for everything else."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.training.adamw import KEYS, AdamW
from lowerbound.training.config import TrainingConfig
from lowerbound.training.muon import MOMENTUM_KEY, Muon
from lowerbound.training.parallel.processes import divided_like

SQUARES = 0.99
"""AdamW's second beta in the training of models."""
MUON_RATE = 1.5
"""Muon's learning rate as a multiple of AdamW's."""
SCHEDULE_RATE = 0.3
"""The learning rate of a learned schedule as a multiple of the network's."""
DENSE_RATE = 0.3
"""The learning rate of fully connected blocks, of thousands of inputs, as a multiple of the network's."""
TRUNK = "trunk."
"""Where a network keeps its hidden layers."""
MODULATION = ".modulate."
"""What makes scales and shifts of the embedding of gamma and the condition: an input, and no hidden layer."""
DENSE = ".dense.layer_"
"""The layers of fully connected blocks, on whose large matrices a step of Muon would take as long as the gradient."""
SCHEDULE = "schedule."
COARSE = "coarse."
"""Where a denoiser of two pieces keeps its second one."""


class Optimizer:
    """AdamW and, beside it, Muon.

    Arguments:
        model: whose parameters are moved.
        training: the optimisers' settings.
        squares: AdamW's second beta, of the squared gradients.
        fused: whether AdamW takes its step in one kernel, which rounds otherwise; None: as torch sees fit.
    """

    def __init__(self, model: nn.Module, training: TrainingConfig, squares: float = SQUARES, fused: bool | None = True):
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        network = [p for p, name in self._names.items() if not name.startswith(SCHEDULE)]
        schedule = [p for p, name in self._names.items() if name.startswith(SCHEDULE)]
        coarse = [p for p in network if self._names[p].startswith(COARSE)]
        # gradients of a learned schedule are those of squared losses, with heavy tails: clipped together with the network's,
        # a few of them would set the length of every step; and of two networks one would set that of the other
        self._clipped = [[p for p in network if not self._names[p].startswith(COARSE)], coarse, schedule]
        self._clip = training.clip
        dense = [p for p in network if DENSE in self._names[p]]
        matrices = [p for p in network if training.optimizer == "muon" and _is_hidden(self._names[p], p)]
        elsewhere = {*matrices, *dense}
        others = [p for p in network if p not in elsewhere]
        decay = training.weight_decay
        self._muon, self._adamw = Muon(), AdamW((training.momentum, squares), fused)
        self._groups = (
            (self._adamw, others, 1.0, decay),
            (self._adamw, dense, DENSE_RATE, decay),
            (self._adamw, schedule, SCHEDULE_RATE, 0.0),
            (self._muon, matrices, MUON_RATE, decay),
        )

    def step(self, learning_rate: float) -> None:
        """Move the parameters by their gradients."""
        for optimizer, parameters, multiple, decay in self._groups:
            optimizer.step(parameters, multiple * learning_rate, decay)

    def clip_gradients(self) -> float:
        """Shorten each network's gradient and the schedule's, if longer than allowed; returns their length before."""
        return math.hypot(*(torch.nn.utils.clip_grad_norm_(part, self._clip).item() for part in self._clipped))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._names:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """What it remembers, as tensors named after their parameters."""
        return {
            f"{self._names[parameter]}.{key}": value
            for optimizer in (self._muon, self._adamw)
            for parameter, memory in optimizer.memory.items()
            for key, value in memory.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`.

        Raises:
            InputError: if it is that of other parameters, or not whole.
        """
        parameters = {name: parameter for parameter, name in self._names.items()}
        for full_name, value in tensors.items():
            name, _, key = full_name.rpartition(".")
            if name not in parameters:
                raise InputError(
                    f"checkpoint: the optimiser remembers {name!r}, which this configuration does not have"
                )
            parameter = parameters[name]
            shape = torch.Size([]) if key == "step" else parameter.shape
            if value.shape != shape and not (key == MOMENTUM_KEY and value.numel() == parameter.numel()):
                raise InputError(f"checkpoint: {full_name} of the optimiser has the shape {tuple(value.shape)}")
            if value.dtype != (torch.float32 if key == "step" else parameter.dtype):
                raise InputError(f"checkpoint: {full_name} of the optimiser has the type {value.dtype}")
            optimizer = self._muon if key == MOMENTUM_KEY else self._adamw
            optimizer.memory.setdefault(parameter, {})[key] = _like(parameter, value.view(shape))
        for name, parameter in parameters.items():
            keys = set(self._adamw.memory.get(parameter, {}))
            if keys not in (set(), set(KEYS)):
                raise InputError(f"checkpoint: of {name} the optimiser remembers {', '.join(sorted(keys))}")


def _is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Whether it is a weight matrix between hidden layers, of a size that Muon is fast on."""
    return TRUNK in name and MODULATION not in name and DENSE not in name and parameter.ndim >= 2


def plain_adamw(model: nn.Module, training: TrainingConfig) -> Optimizer:
    """AdamW as published for everything, without clipping: what a classifier is trained by."""
    training = replace(training, optimizer="adamw", clip=math.inf)
    return Optimizer(model, training, squares=0.999, fused=None)


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """The value on the parameter's device and, if it has its shape, in its memory layout, which fused optimisers assume, and
    divided as it is."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter).copy_(divided_like(value, parameter))
