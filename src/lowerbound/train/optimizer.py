r"""The optimiser: Muon for the weight matrices between hidden layers, AdamW for everything else.

Muon moves a matrix by the nearest orthogonal one to its averaged gradient (Jordan et al. 2024), so that all directions learn
at one rate. It is torch's own, which takes matrices only: a convolution's weight goes in as the matrix that its storage is,
(out, in x kernel).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lowerbound.train.config import TrainingConfig

SQUARES = 0.99
"""AdamW's second beta, of the squared gradients."""
MUON_RATE = 1.5
"""Muon's learning rate as a multiple of AdamW's."""
SCHEDULE_RATE = 0.3
"""The learning rate of a learned schedule as a multiple of the network's."""
TRUNK = "trunk."
"""Where a network keeps its hidden layers."""
SCHEDULE = "schedule."


class Optimizer:
    """AdamW and, beside it, Muon.

    Arguments:
        model: whose parameters are moved.
        training: the optimisers' settings.
    """

    def __init__(self, model: nn.Module, training: TrainingConfig):
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        network = [p for p, name in self._names.items() if not name.startswith(SCHEDULE)]
        schedule = [p for p, name in self._names.items() if name.startswith(SCHEDULE)]
        matrices = [p for p in network if TRUNK in self._names[p] and p.ndim >= 2]
        self._matrices = {p: nn.Parameter(p.detach().flatten(1)) for p in matrices if training.optimizer == "muon"}
        # gradients of a learned schedule are those of squared losses, with heavy tails: clipped together with the network's,
        # a few of them would set the length of every step
        self._clipped = [network, schedule]
        self._clip = training.clip
        decay = training.weight_decay
        vectors = [p for p in network if p not in self._matrices]
        self._adamw = torch.optim.AdamW(vectors, betas=(training.momentum, SQUARES), weight_decay=decay, fused=True)
        if schedule:
            self._adamw.add_param_group({"params": schedule, "weight_decay": 0.0})
        self._muon = torch.optim.Muon(self._matrices.values(), weight_decay=decay) if self._matrices else None

    def step(self, learning_rate: float) -> None:
        """Move the parameters by their gradients."""
        for group, multiple in zip(self._adamw.param_groups, (1.0, SCHEDULE_RATE), strict=False):
            group["lr"] = multiple * learning_rate
        self._adamw.step()
        if self._muon is None:
            return
        for group in self._muon.param_groups:
            group["lr"] = MUON_RATE * learning_rate
        for parameter, matrix in self._matrices.items():
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        self._muon.step()

    def clip_gradients(self) -> float:
        """Shorten the network's gradient and the schedule's, if longer than allowed; returns their length before."""
        return math.hypot(*(torch.nn.utils.clip_grad_norm_(part, self._clip).item() for part in self._clipped))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._names:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """What it remembers, as tensors named after their parameters."""
        return {
            f"{name}.{key}": value
            for parameter, name in self._names.items()
            for key, value in self._state(parameter).items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`."""
        for parameter, name in self._names.items():
            held = self._matrices.get(parameter, parameter)
            saved = {key.rpartition(".")[2]: v for key, v in tensors.items() if key.rpartition(".")[0] == name}
            optimizer = self._muon if parameter in self._matrices else self._adamw
            assert optimizer is not None
            optimizer.state[held] = {key: _like(held, value) for key, value in saved.items()}

    def _state(self, parameter: nn.Parameter) -> dict[str, Any]:
        if parameter in self._matrices:
            assert self._muon is not None
            return self._muon.state.get(self._matrices[parameter], {})
        return self._adamw.state.get(parameter, {})


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """The value on the parameter's device and, if it has its shape, in its memory layout, which fused optimisers assume."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter).copy_(value)
