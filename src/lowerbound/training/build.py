"""From a configuration to the objects that it names."""

import inspect
import math

from torch import nn

from lowerbound.data import DataSpec
from lowerbound.denoiser import Denoiser, LevelDenoiser, NetworkDenoiser
from lowerbound.errors import InputError, flag
from lowerbound.langevin import EnergyDenoiser
from lowerbound.likelihood import Decoder, DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.models import RELATIVES, Diffusion, Model
from lowerbound.nn import MLP, UNet
from lowerbound.schedule import (
    EDM,
    SCALINGS,
    Cosine,
    LearnedGamma,
    LinearBeta,
    LinearGamma,
    MonotoneWarp,
    RectifiedFlow,
    Schedule,
    Sigmoid,
    betas,
    geometric,
)
from lowerbound.training.config import Config, DecoderConfig, DenoiserConfig, ModelConfig, NetworkConfig, ScheduleConfig
from lowerbound.training.objectives import build_objective

TABLES = {"ddpm": betas.linear, "scaled-linear": betas.scaled_linear, "cosine-betas": betas.cosine}
CURVES = {
    "linear-gamma": LinearGamma,
    "linear-beta": LinearBeta,
    "cosine": Cosine,
    "sigmoid": Sigmoid,
    "rectified-flow": RectifiedFlow,
    "learned-linear": LearnedGamma,
}
EXPLODING = {"geometric": geometric, "edm": EDM}


def build_model(config: Config, spec: DataSpec) -> Model:
    """The model of a configuration, untrained.

    Arguments:
        config: of the run.
        spec: of its data, with their conditions.

    Raises:
        InputError: for settings that do not go together, with the data or with each other.
    """
    if not config.model.is_denoiser:
        return build_relative(config.model, spec)
    denoiser = build_denoiser(config, spec.conditioned(config.data.conditional))
    return Diffusion(
        denoiser,
        build_decoder(config.decoder, spec.num_levels),
        build_objective(config, denoiser.schedule),
        num_levels=spec.num_levels,
        num_chains=max(256, config.training.batch_size),
    )


def build_relative(config: ModelConfig, spec: DataSpec) -> Model:
    """A model that is no denoiser, untrained."""
    spec.check_complete(f"the model {config.name}")
    kind, given = RELATIVES[config.name], config.given()
    known = [name for name in inspect.signature(kind).parameters if name not in ("shape", "num_levels")]
    for name in given:
        if name not in known:
            raise InputError(
                f"{flag(f'model.{name}')} has no effect on the model {config.name}, whose settings are "
                f"{', '.join(flag(f'model.{each}') for each in known)}"
            )
    return kind(spec.shape, spec.num_levels, **given)


def build_schedule(config: ScheduleConfig) -> Schedule:
    """The noise schedule; tables keep their own ends, the others go from gamma_min to gamma_max."""
    scaling = {} if config.scaling is None else {"scaling": SCALINGS[config.scaling]}
    if config.name in TABLES:
        return betas.from_betas(TABLES[config.name](config.num_steps), **scaling)
    if config.name == "learned":
        return LearnedGamma(config.gamma_min, config.gamma_max, MonotoneWarp(), **scaling)
    if config.name in CURVES:
        return CURVES[config.name](gamma_min=config.gamma_min, gamma_max=config.gamma_max, **scaling)
    schedule = EXPLODING[config.name](math.exp(config.gamma_min / 2), math.exp(config.gamma_max / 2))
    schedule.scaling = scaling.get("scaling", schedule.scaling)
    return schedule


def build_network(config: NetworkConfig, spec: DataSpec, outputs_per_entry: int = 1) -> nn.Module:
    """The network for the data: of the shape (D,) for vectors, (C, *spatial) for everything else; if entries may be missing,
    one that is told which are there."""
    shape = spec.shape
    inputs = {
        "num_classes": spec.num_classes,
        "num_condition_features": spec.num_condition_features,
        "takes_observed": spec.has_missing,
    }
    if (config.kind == "mlp") != (len(shape) == 1):
        raise InputError(
            f"--network.kind is {config.kind}, but examples have the shape {shape}: vectors take mlp, others unet"
        )
    if config.kind == "mlp":
        return MLP(
            shape[0],
            outputs_per_entry * shape[0],
            width=config.width,
            depth=config.depth,
            fourier_frequencies=config.fourier_frequencies,
            **inputs,
        )
    return UNet(
        shape[0],
        len(shape) - 1,
        outputs_per_entry * shape[0],
        width=config.width,
        multipliers=config.multipliers,
        blocks_per_level=config.blocks_per_level,
        attention_levels=config.attention_levels,
        fourier_frequencies=config.fourier_frequencies,
        **inputs,
    )


def build_denoiser(config: Config, spec: DataSpec) -> Denoiser:
    """The denoiser, its network untrained, with the conditions of the data."""
    shape, num_levels = spec.shape, spec.num_levels
    denoiser, schedule = config.denoiser, build_schedule(config.schedule)
    if config.model.name == "energy":
        spec.check_complete("the model energy")
        if denoiser != DenoiserConfig(sigma_data=denoiser.sigma_data):
            raise InputError(
                "an energy has no target but its gradient and a fixed reverse variance: of --denoiser's settings "
                "--denoiser.sigma-data alone has an effect on it"
            )
        network = build_network(config.network, spec)
        return EnergyDenoiser(network, schedule, shape, denoiser.sigma_data, num_levels)
    learned_variance = denoiser.variance == "learned"
    by_levels = denoiser.target == "levels"
    if by_levels and (num_levels is None or learned_variance):
        raise InputError("--denoiser.target levels is for discrete data and a fixed reverse variance: choose another")
    network = build_network(config.network, spec, 2 if by_levels or learned_variance else 1)
    if by_levels:
        assert num_levels is not None
        return LevelDenoiser(network, schedule, shape, num_levels, denoiser.sigma_data)
    return NetworkDenoiser(
        network,
        schedule,
        shape,
        target=denoiser.target,
        sigma_data=denoiser.sigma_data,
        num_steps=denoiser.num_steps,
        learned_variance=learned_variance,
    )


def build_decoder(config: DecoderConfig, num_levels: int | None) -> Decoder | None:
    """The decoder of a configuration, for discrete data of `num_levels` or, None, for continuous ones."""
    if config.name == "none":
        return None
    if (config.name == "gaussian") != (num_levels is None):
        kind = "continuous" if num_levels is None else f"discrete, of {num_levels} levels"
        raise InputError(
            f"--decoder.name is {config.name}, but the data are {kind}: gaussian is for continuous data, the others for "
            "discrete data"
        )
    if num_levels is None:
        return GaussianDecoder()
    if config.name == "level-posterior":
        return LevelPosterior(num_levels)
    return DiscretizedGaussian(num_levels, config.std)
