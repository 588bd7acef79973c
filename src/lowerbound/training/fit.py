"""A recipe made smaller until enough steps fit into its minutes on this machine."""

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from lowerbound.data import Dataset
from lowerbound.device import finish
from lowerbound.training.config import Config
from lowerbound.training.trainer import TRAINING_SHARE, Trainer

ENOUGH_STEPS = 500
"""So many steps are worth a smaller network and a smaller batch."""
SMALLEST_BATCH = 8
SMALLEST_WIDTH = 8


def fitted(config: Config, dataset: Dataset, device: torch.device | str = "cpu") -> Config:
    """The configuration of a timed run, of which `ENOUGH_STEPS` steps fit into its minutes, if there is one.

    The cost of a step is measured, on a trainer that is thrown away. A run of given steps stays as it is, and
    so does a forest, which finds the size that it has time for while it grows.

    Arguments:
        config: what is wanted.
        dataset: the data.
        device: where the training will be.
    """
    minutes = config.training.minutes
    if minutes is None or config.model.is_grown:
        return config
    allowed = 60 * minutes * TRAINING_SHARE / ENOUGH_STEPS
    candidate = config
    for candidate in _smaller_and_smaller(config):
        if _is_faster(candidate, dataset, device, allowed):
            break
    return candidate


def _smaller_and_smaller(config: Config) -> Iterator[Config]:
    """The configuration, then halved in turn: the batch, the network's width, its depth."""
    yield config
    while True:
        training, network, coarse = config.training, config.network, config.coarse
        if training.batch_size >= 2 * SMALLEST_BATCH:
            config = replace(config, training=replace(training, batch_size=training.batch_size // 2))
            yield config
        if config.model.is_denoiser and network.width >= 2 * SMALLEST_WIDTH:
            config = replace(config, network=replace(network, width=network.width // 2))
            if coarse.split is not None and coarse.width >= 2 * SMALLEST_WIDTH:
                config = replace(config, coarse=replace(coarse, width=coarse.width // 2))
            yield config
        if (config.training, config.network) == (training, network):
            return


def _is_faster(config: Config, dataset: Dataset, device: torch.device | str, seconds: float) -> bool:
    """Whether a step takes less than so many seconds; the first one, which sets things up, counts only if it does."""
    trainer = Trainer(config, dataset, device)
    for _ in range(3):
        began = time.perf_counter()
        trainer.gradient()
        trainer.optimizer.step(0.0)
        finish(trainer.device)
        if time.perf_counter() - began < seconds:
            return True
    return False
