"""From a configuration to the objects that it names."""

import math

from torch import nn

from lowerbound import betas, objective
from lowerbound.decoder import Decoder, GaussianDecoder, LevelPosterior
from lowerbound.denoiser import NetworkDenoiser
from lowerbound.errors import InputError
from lowerbound.nn import MLP, UNet
from lowerbound.scaling import SCALINGS
from lowerbound.schedule import EDM, Cosine, LinearGamma, RectifiedFlow, Schedule, Sigmoid, geometric
from lowerbound.train.config import Config, DenoiserConfig, NetworkConfig, ScheduleConfig, TrainingConfig

TABLES = {"ddpm": betas.linear, "scaled-linear": betas.scaled_linear, "cosine-betas": betas.cosine}
CURVES = {
    "linear-gamma": LinearGamma,
    "cosine": Cosine,
    "sigmoid": Sigmoid,
    "rectified-flow": RectifiedFlow,
}
EXPLODING = {"geometric": geometric, "edm": EDM}
WEIGHTINGS = {"elbo": objective.elbo, "simple": objective.simple, "min-snr": objective.min_snr()}


def build_schedule(config: ScheduleConfig) -> Schedule:
    """The noise schedule; tables keep their own ends, the others go from gamma_min to gamma_max."""
    scaling = {} if config.scaling is None else {"scaling": SCALINGS[config.scaling]}
    if config.name in TABLES:
        return betas.from_betas(TABLES[config.name](config.num_steps), **scaling)
    if config.name in CURVES:
        return CURVES[config.name](gamma_min=config.gamma_min, gamma_max=config.gamma_max, **scaling)
    schedule = EXPLODING[config.name](math.exp(config.gamma_min / 2), math.exp(config.gamma_max / 2))
    schedule.scaling = scaling.get("scaling", schedule.scaling)
    return schedule


def build_network(
    config: NetworkConfig, shape: tuple[int, ...], num_classes: int = 0, num_condition_features: int = 0
) -> nn.Module:
    """The network for examples of a shape: (D,) for vectors, (C, *spatial) for everything else."""
    if (config.kind == "mlp") != (len(shape) == 1):
        raise InputError(
            f"network.kind is {config.kind}, but examples have the shape {shape}: vectors take mlp, others unet"
        )
    if config.kind == "mlp":
        return MLP(
            shape[0],
            width=config.width,
            depth=config.depth,
            fourier_frequencies=config.fourier_frequencies,
            num_classes=num_classes,
            num_condition_features=num_condition_features,
        )
    return UNet(
        shape[0],
        len(shape) - 1,
        width=config.width,
        multipliers=config.multipliers,
        blocks_per_level=config.blocks_per_level,
        attention_levels=config.attention_levels,
        fourier_frequencies=config.fourier_frequencies,
        num_classes=num_classes,
        num_condition_features=num_condition_features,
    )


def build_denoiser(
    config: Config, shape: tuple[int, ...], num_classes: int = 0, num_condition_features: int = 0
) -> NetworkDenoiser:
    """The denoiser, its network untrained."""
    denoiser: DenoiserConfig = config.denoiser
    return NetworkDenoiser(
        build_network(config.network, shape, num_classes, num_condition_features),
        build_schedule(config.schedule),
        shape,
        target=denoiser.target,
        sigma_data=denoiser.sigma_data,
        num_steps=denoiser.num_steps,
    )


def build_decoder(num_levels: int | None) -> Decoder:
    """The decoder without a network: over the levels of discrete data, Gaussian for continuous data."""
    return GaussianDecoder() if num_levels is None else LevelPosterior(num_levels)


def build_weighting(config: TrainingConfig, sigma_data: float) -> objective.Weighting:
    """The loss's weighting."""
    return objective.edm(sigma_data) if config.weighting == "edm" else WEIGHTINGS[config.weighting]
