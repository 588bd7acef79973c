"""A network whose weights are divided among the processes, for one that does not fit: PyTorch's `fully_shard` (FSDP2).

Each process keeps its rows of every weight, and with them of the gradient, of the optimiser's memory and of the average; a
block's weights are put together while it computes, and forgotten after. So all processes make the same calls of the network,
each with its rows of the batch: an objective with calls that depend on the examples would wait for ever. Gradients are added
up, as without.

While a run is measured, drawn from and written, each process has all weights once (`whole`), so that there none waits for
another.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from lowerbound import objective
from lowerbound.errors import InputError
from lowerbound.models import Diffusion, Model
from lowerbound.training.config import Config
from lowerbound.training.processes import Processes

LEAST_BLOCK = 1 << 16
"""Parameters of a block that is put together by itself; smaller ones are put together with what is around them."""


def shard(model: Model, config: Config, processes: Processes, device: torch.device) -> None:
    """Divide a model's network among the processes, in place.

    Raises:
        InputError: for a model, an objective or an optimiser that this does not suit.
    """
    network = check_suits(model, config, processes)
    mesh = init_device_mesh(device.type, (processes.count,))
    blocks = [child for parent in network.modules() if isinstance(parent, nn.ModuleList) for child in parent]
    for block in reversed(blocks):  # the inner ones first
        if sum(parameter.numel() for parameter in block.parameters()) >= LEAST_BLOCK:
            fully_shard(block, mesh=mesh)
    # the root too forgets its weights after a call, which no way back may follow, as where a run is looked at
    fully_shard(network, mesh=mesh, reshard_after_forward=True)
    for module in _sharded(model):
        module.set_gradient_divide_factor(1.0)  # losses are divided by the whole batch already
        module.set_force_sum_reduction_for_comms(True)  # which Gloo knows


def check_suits(model: Model, config: Config, processes: Processes) -> nn.Module:
    """The network that is divided, or an InputError."""
    training = config.training
    if (
        config.model.name == "energy"
        or not isinstance(model, Diffusion)
        or model.objective.integral is not objective.loss
    ):
        raise InputError(
            f"--shard is for denoisers whose network is called once for each loss, and not for the model "
            f"{config.model.name} with --objective {training.objective}: train it without"
        )
    if training.optimizer == "muon":
        raise InputError(
            "--shard divides every weight matrix among the processes, and Muon moves whole ones: give --optimizer adamw"
        )
    if training.compile:
        raise InputError("--compile has no effect on a network whose blocks are put together: leave it out, or --shard")
    if config.coarse.split is not None:
        raise InputError(
            "--shard wants every process to make the same calls, and with --coarse.split which of two networks is called "
            "depends on the examples: leave one of them out"
        )
    if config.denoiser.components:
        raise InputError(
            "--shard divides a network, and this one stands upon a fitted mixture: give --denoiser.components 0"
        )
    if training.micro_batch_size == 1 and training.batch_size % processes.count:
        raise InputError(
            f"--shard with --micro-batch-size 1: --batch-size {training.batch_size} does not divide among "
            f"{processes.count} processes; give a multiple of it, or --micro-batch-size 2"
        )
    network = model.denoiser.network
    assert isinstance(network, nn.Module)
    return network


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """While entered, each process has all weights of a model, and calls it without the others."""
    parts = _sharded(model)
    for module in parts:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in parts:
            module.set_reshard_after_forward(True, recurse=False)  # else nothing happens in the next line after a call
            module.reshard()


def divided_like(value: Tensor, parameter: Tensor | None) -> Tensor:
    """A whole tensor that every process has, divided as its parameter is, if that is and they have one shape."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _sharded(model: nn.Module) -> list[FSDPModule]:
    """Its divided modules, the root first."""
    return [module for module in model.modules() if isinstance(module, FSDPModule)]
