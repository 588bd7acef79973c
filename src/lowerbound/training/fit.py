"""A recipe made for this machine: larger for a GPU or a long run, and smaller until enough steps fit into its minutes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from lowerbound.data import Dataset
from lowerbound.training.config import Config, as_flags, differences
from lowerbound.training.cost import StepCost, step_cost
from lowerbound.training.fast import can_bfloat16
from lowerbound.training.recipes import FEW_EXAMPLES
from lowerbound.training.trainer import TRAINING_SHARE, Trainer

ENOUGH_STEPS = 500
"""So many steps are worth a smaller network and a smaller batch."""
MANY_STEPS = 3000
"""So many steps of the larger network and batch are worth having both."""
WIDER, LARGER = 4, 8
"""How many times as wide a network of images is on a GPU, and how many times as large a batch. A GPU takes as long for a
small network as for a large one, since it has to be asked for each operation (benchmarks/device.py)."""
LONG_STEPS = 5000
"""So many steps of the larger ones on a CPU are worth networks 1.5 times as wide, and a coarse one deeper by a block, where
two share the noise: those of the recipe hold by then what they can (docs/images.md)."""
LONG_WIDER = 1.5
MANY_PASSES = 200
"""A run that sees every example so often learns few of them by heart, and is given changed ones too (docs/images.md)."""
CHANGED = 0.5
"""The share of examples that are changed then."""
VERY_MANY_PASSES = 600
"""A run that sees them so often learns even those by heart: it has more of them changed, and time for a wider network."""
MOSTLY_CHANGED = 0.75
FEW_WIDER = 4 / 3
SMALLEST_BATCH = 8
SMALLEST_WIDTH = 8


def fitted(
    config: Config, dataset: Dataset, device: torch.device | str = "cpu", say: Callable[[str], None] = lambda line: None
) -> Config:
    """The configuration of a timed run, of which `ENOUGH_STEPS` steps fit into its minutes, if there is one; a larger one
    on a GPU if `MANY_STEPS` of it do, and otherwise a wider one if `LONG_STEPS` do. A run that sees few images, signals or
    volumes `MANY_PASSES` times is given changed ones too (`training.augment`), one that sees them `VERY_MANY_PASSES` times
    more of them, and a wider network.

    The cost of a step is measured for each size of the network, on few examples where they are large (`step_cost`). A run of
    given steps stays as it is, and so does a forest, which finds the size that it has time for while it grows.

    Arguments:
        config: what is wanted.
        dataset: the data.
        device: where the training will be.
        say: where a line goes about what was changed.
    """
    minutes = config.training.minutes
    if minutes is None or config.model.is_grown:
        return config
    seconds = 60 * minutes * TRAINING_SHARE
    fits = _with_changes(_of_minutes(config, dataset, device, seconds), dataset, device, seconds)
    if changes := ", ".join(map(as_flags, differences(fits, config))):
        say(f"fitted    to {minutes:g} minutes on this machine (here against the recipe's): {changes}")
    return fits


def _of_minutes(config: Config, dataset: Dataset, device: torch.device | str, seconds: float) -> Config:
    """The configuration in the size that so many seconds suffice for."""

    def fits(candidate: Config, num_steps: int, cost: StepCost | None = None) -> bool:
        cost = cost or _cost(candidate, dataset, device)
        return num_steps * cost.of(candidate.training.batch_size) < seconds

    larger = _for_gpu(config, dataset, torch.device(device))
    if larger != config and fits(larger, MANY_STEPS):
        return larger
    cost, wider = _cost(config, dataset, device), _for_long_runs(config, dataset)
    # where they do not fit of the narrow one, which is known, those of the wider one need not be measured
    if wider != config and fits(config, LONG_STEPS, cost) and fits(wider, LONG_STEPS):
        return wider
    candidate = config
    for smaller in _smaller_and_smaller(config):
        if (smaller.network, smaller.coarse) != (candidate.network, candidate.coarse):
            cost = _cost(smaller, dataset, device)
        candidate = smaller
        if fits(candidate, ENOUGH_STEPS, cost):
            break
    return candidate


def _with_changes(config: Config, dataset: Dataset, device: torch.device | str, seconds: float) -> Config:
    """The configuration with changed examples, where there are few and so many seconds suffice for `MANY_PASSES` of them."""
    num, can_change = len(dataset.train), config.model.name == "diffusion" and config.network.kind == "unet"
    if num >= FEW_EXAMPLES or dataset.spec.series is not None or not can_change:
        return config

    def suffices(candidate: Config, num_passes: int) -> bool:
        batch_size = candidate.training.batch_size
        return num_passes * num * _cost(candidate, dataset, device).of(batch_size) <= seconds * batch_size

    if not suffices(config, MANY_PASSES):
        return config
    wider = _wider(config, FEW_WIDER)
    is_long = suffices(wider, VERY_MANY_PASSES)
    share = MOSTLY_CHANGED if is_long else CHANGED
    fits = wider if is_long else config
    return replace(fits, training=replace(fits.training, augment=share))


def _for_gpu(config: Config, dataset: Dataset, device: torch.device) -> Config:
    """The configuration of a U-Net, and of examples enough not to be learned by heart, in a size that fills a GPU, and in
    bfloat16 if it has units for that."""
    is_wide = config.model.is_denoiser and config.network.kind == "unet" and len(dataset.train) >= FEW_EXAMPLES
    if device.type != "cuda" or not is_wide:
        return config
    training = config.training
    precision = "bf16" if can_bfloat16() and config.model.name != "energy" else training.precision
    return replace(
        _wider(config, WIDER),
        training=replace(
            training, batch_size=min(LARGER * training.batch_size, len(dataset.train)), precision=precision
        ),
    )


def _for_long_runs(config: Config, dataset: Dataset) -> Config:
    """The configuration of two networks that share the noise, and of examples enough not to be learned by heart, wider, and
    the coarse one deeper too."""
    if not config.model.is_denoiser or config.coarse.split is None or len(dataset.train) < FEW_EXAMPLES:
        return config
    wider = _wider(config, LONG_WIDER)
    return replace(wider, coarse=replace(wider.coarse, blocks_per_level=wider.coarse.blocks_per_level + 1))


def _wider(config: Config, factor: float) -> Config:
    """The configuration with about so many times as wide a network, or two.

    Widths are multiples of `SMALLEST_WIDTH`, as processors compute channels by eight or sixteen: 21 and 43 take as long as
    24 and 40.
    """

    def widened(width: int) -> int:
        return max(width, SMALLEST_WIDTH * round(factor * width / SMALLEST_WIDTH))

    network, coarse = config.network, config.coarse
    if coarse.split is not None:
        coarse = replace(coarse, width=widened(coarse.width))
    return replace(config, network=replace(network, width=widened(network.width)), coarse=coarse)


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


def _cost(config: Config, dataset: Dataset, device: torch.device | str) -> StepCost:
    """Measured on a trainer that is thrown away; a step for which the device lacks memory takes for ever."""
    try:
        return step_cost(Trainer(config, dataset, device))
    except torch.OutOfMemoryError:
        return StepCost({config.training.batch_size: math.inf}, 0.0)
