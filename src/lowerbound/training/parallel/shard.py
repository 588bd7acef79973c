"""A network whose weights are divided among the processes, for one that does not fit: PyTorch's `fully_shard` (FSDP2).

Each process keeps its rows of every weight, and with them of the gradient, of the optimiser's memory and of the average; a
block's weights are put together while it computes, and forgotten after. So all processes make the same calls of the network,
each with its rows of the batch: an objective with calls that depend on the examples would wait for ever, and of two networks
that share the noise both are called each time (`ByLevel.trains_both`). Gradients are added up, as without. Each network is
divided on its own; a mixture that it stands upon, a schedule and a decoder are not.

While a run is measured, drawn from and written, each process has all weights once (`whole`), so that there none waits for
another.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from lowerbound import objective
from lowerbound.denoiser import ByLevel
from lowerbound.errors import InputError
from lowerbound.models import Diffusion, Model
from lowerbound.nn import Patched
from lowerbound.training.build import networks
from lowerbound.training.config import Config
from lowerbound.training.fast import blocks
from lowerbound.training.parallel.processes import Processes, own_part

LEAST_BLOCK = 1 << 16
"""Parameters of a block that is put together by itself; smaller ones are put together with what is around them."""


def shard(model: Model, config: Config, processes: Processes, device: torch.device) -> None:
    """Divide a model's networks among the processes, in place.

    Raises:
        InputError: for a model or an objective that this does not suit.
    """
    denoiser = check_suits(model, config, processes).denoiser
    # Muon's matrices change from rows to whole ones and back, about which Gloo's way is nothing to warn of
    logging.getLogger("torch.distributed.tensor._collective_utils").setLevel(logging.ERROR)
    mesh = init_device_mesh(device.type, (processes.count,))
    # a network of patches gives a view of what the one inside it gives, which `fully_shard` does not take
    for network in (each.network if isinstance(each, Patched) else each for each in networks(denoiser)):
        for block in reversed(blocks(network)):  # the inner ones first
            if sum(parameter.numel() for parameter in block.parameters()) >= LEAST_BLOCK:
                fully_shard(block, mesh=mesh)
        # the root too forgets its weights after a call, which no way back may follow, as where a run is looked at
        fully_shard(network, mesh=mesh, reshard_after_forward=True)
    if isinstance(denoiser, ByLevel):
        denoiser.trains_both = True
    for module in _sharded(model):
        module.set_gradient_divide_factor(1.0)  # losses are divided by the whole batch already
        module.set_force_sum_reduction_for_comms(True)  # which Gloo knows


def check_suits(model: Model, config: Config, processes: Processes) -> Diffusion:
    """The model, or an InputError if it or its objective does not suit."""
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
    if training.micro_batch_size == 1 and training.batch_size % processes.count:
        raise InputError(
            f"--shard with --micro-batch-size 1: --batch-size {training.batch_size} does not divide among "
            f"{processes.count} processes; give a multiple of it, or --micro-batch-size 2"
        )
    return model


def forget_uncalled(model: Model, processes: Processes) -> None:
    """Take away the gradient of a network that no example of a batch has called, which is zero, as where it is not divided
    there is none."""
    if not isinstance(model, Diffusion) or not isinstance(model.denoiser, ByLevel):
        return
    for network in networks(model.denoiser):
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        (count,) = processes.most([sum(own_part(gradient).count_nonzero().item() for gradient in gradients)])
        if count == 0:
            for parameter in network.parameters():
                parameter.grad = None


@contextmanager
def whole(model: nn.Module) -> Generator[None]:
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


def _sharded(model: nn.Module) -> list[FSDPModule]:
    """Its divided modules, the root first."""
    return [module for module in model.modules() if isinstance(module, FSDPModule)]
