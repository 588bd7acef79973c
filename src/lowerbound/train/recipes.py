"""Recipes: from a data set to a complete configuration that trains well on it."""

import math

from lowerbound.data import Dataset
from lowerbound.nn import octaves
from lowerbound.train.config import (
    Config,
    DataConfig,
    DecoderConfig,
    DenoiserConfig,
    NetworkConfig,
    ScheduleConfig,
    TrainingConfig,
)

GAMMA_MAX = 5.0


def recipe(dataset: Dataset, data: DataConfig, minutes: float = 10.0) -> Config:
    """The recommended configuration for a data set.

    Arguments:
        dataset: the opened data.
        data: how they were opened.
        minutes: the run's length.
    """
    num_levels = dataset.encoding.num_levels
    decoder = DecoderConfig("gaussian" if num_levels is None else "level-posterior")
    denoiser = DenoiserConfig(target="eps" if num_levels is None else "levels")
    # of smooth densities the bound hardly depends on the data's end: there is nothing to learn it from
    name = "linear-gamma" if num_levels is None else "learned"
    schedule = ScheduleConfig(name, gamma_min=gamma_min(num_levels), gamma_max=GAMMA_MAX)
    if len(dataset.shape) == 1:
        network = NetworkConfig(kind="mlp", width=256, depth=4)
        training = TrainingConfig(minutes=minutes, batch_size=min(512, len(dataset.train)), learning_rate=1e-3)
    else:
        network = unet(dataset.shape, num_levels)
        training = TrainingConfig(minutes=minutes, batch_size=min(32, len(dataset.train)))
    return Config(data=data, schedule=schedule, denoiser=denoiser, network=network, decoder=decoder, training=training)


def gamma_min(num_levels: int | None) -> float:
    r"""The data's end of gamma: noise of a sixth of a level's width, as VDM learns it for 256; -12 for continuous data.

    There the level can be read off the least noisy latent almost surely, so that the reconstruction costs nearly nothing.
    """
    return -12.0 if num_levels is None else round(2 * math.log(2 / num_levels / 6), 1)


def unet(shape: tuple[int, ...], num_levels: int | None) -> NetworkConfig:
    """A U-Net for examples of a shape, whose resolution is halved at least once and until at most 16 a side are left."""
    longest = max(shape[1:])
    num_halvings = max(1, math.ceil(math.log2(longest / 16)))
    return NetworkConfig(
        kind="unet",
        width=24 if longest > 16 else 16,
        multipliers=(1, 2, 2, 4, 4, 4)[: num_halvings + 1],
        fourier_frequencies=() if num_levels is None else octaves(num_levels),
    )
