"""From a configuration to the objects that it names."""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from lowerbound import imports
from lowerbound.blocks import Blocks, layout
from lowerbound.data import DataSpec
from lowerbound.denoiser import ByLevel, Denoiser, FittedSubspace, FittedWindows, NetworkDenoiser, SubspaceDenoiser
from lowerbound.discrete import LevelDenoiser
from lowerbound.errors import InputError
from lowerbound.forest import Forest
from lowerbound.langevin import EnergyDenoiser
from lowerbound.levels import level_centres
from lowerbound.likelihood import Decoder, DiscretizedGaussian, GaussianDecoder, LevelPosterior
from lowerbound.mixed import BlockDecoder, BlockDenoiser
from lowerbound.models import RELATIVES, Diffusion, Model, Objective
from lowerbound.nn import MLP, Inputs, Patched, Transformer, UNet
from lowerbound.nn.agreement import LineFeatures, SpikeFeatures, ValueFeatures
from lowerbound.objective import edm, in_two, sigmoid, uniform
from lowerbound.schedule import SCALINGS, LearnedGamma, Schedule, Tabulated, betas
from lowerbound.schedule.named import CURVES, EXPLODING, TABLES
from lowerbound.settings import check_least
from lowerbound.training.augment import num_changes
from lowerbound.training.config import (
    CoarseConfig,
    Config,
    DecoderConfig,
    DenoiserConfig,
    ModelConfig,
    NetworkConfig,
    ScheduleConfig,
)
from lowerbound.training.mixtures import unfitted_mixture
from lowerbound.training.objectives import OBJECTIVES, VISIBLE


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
        build_decoder(config.decoder, spec.num_levels, spec.blocks),
        build_objective(config, denoiser.schedule),
        num_levels=spec.num_levels,
        num_chains=max(256, config.training.batch_size),
    )


def build_relative(config: ModelConfig, spec: DataSpec) -> Model:
    """A model that is no denoiser, untrained."""
    spec.check_complete(f"the model {config.name}")
    spec.check_alike(f"the model {config.name}")
    kind = RELATIVES[config.name]
    config.check_settings([name for name in inspect.signature(kind).parameters if name not in ("shape", "num_levels")])
    return kind(spec.shape, spec.num_levels, **config.settings())


def build_schedule(config: ScheduleConfig) -> Schedule:
    """The noise schedule; tables keep their own ends, the others go from gamma_min to gamma_max."""
    gamma_min, gamma_max = config.gamma_min, config.gamma_max
    with torch.device("cpu"):  # with numbers, where a network is built without them
        if config.name in TABLES:
            schedule = betas.from_betas(TABLES[config.name](config.num_steps))
        elif config.name in CURVES:
            schedule = CURVES[config.name](gamma_min=gamma_min, gamma_max=gamma_max)
        else:
            schedule = EXPLODING[config.name](math.exp(gamma_min / 2), math.exp(gamma_max / 2))
    if config.scaling is not None:
        schedule.scaling = SCALINGS[config.scaling]
    return schedule


def build_network(
    config: NetworkConfig,
    spec: DataSpec,
    outputs_per_entry: int = 1,
    spikes: SpikeFeatures | None = None,
    sigma_data: float = 1.0,
    num_changes: int = 0,
    num_kinds: int = 0,
) -> nn.Module:
    """The network for the data: of the shape (D,) for vectors, (C, *spatial) for everything else; if entries may be missing,
    one that is told which are there; of series one that is given known entries and covariates; of examples that are changed
    in training one that is told how, by so many numbers; of examples of several kinds one that is told their chances."""
    shape = spec.shape
    config.check_kind(shape)
    if config.patch != 1 and len(shape) == 1:
        raise InputError("--network.patch has no effect on vectors: they have no positions to join; leave it at 1")
    if config.kind == "unet":
        lines = LineFeatures(len(shape) - 1, sigma_data) if config.lines else None
        values = None
        if config.values:
            if spec.num_levels is None:
                raise InputError("--network.values is for discrete data: leave it out")
            values = ValueFeatures(spec.num_levels, sigma_data)
        shown = Inputs(spikes=spikes, lines=lines, values=values, num_changes=num_changes, num_kinds=num_kinds)
        return _unet(config, spec, config.periodic, outputs_per_entry, shown)
    shown = Inputs(spikes=spikes, num_changes=num_changes, num_kinds=num_kinds)
    outputs, inputs = outputs_per_entry * shape[0], _inputs_of(config, spec, shown)
    if config.kind == "mlp":
        return MLP(shape[0], outputs, **_settings_of(MLP, config), **inputs)
    columns = None if spec.blocks is None or shape[1:] else [block.width for block in spec.blocks]
    return Transformer(shape, outputs, **_settings_of(Transformer, config), **inputs, columns=columns)


def _unet(
    config: NetworkConfig | CoarseConfig,
    spec: DataSpec,
    periodic: tuple[int, ...],
    outputs_per_entry: int = 1,
    shown: Inputs | None = None,
    times_shown: int = 1,
) -> nn.Module:
    """A U-Net of patches, if they are of more than one position, that is shown so many tensors of an example's shape.

    Periodic axes have no place for a fully connected block.
    """
    channels, *spatial = spec.shape
    if config.patch < 1:
        raise InputError(f"--network.patch is {config.patch}: give 1 position along each axis or more")
    joined = config.patch ** len(spatial)
    network = UNet(
        times_shown * channels * joined,
        len(spatial),
        outputs_per_entry * channels * joined,
        **_settings_of(UNet, config),
        **_inputs_of(config, spec, {} if shown is None else shown),
        periodic=periodic,
        dense=0 if periodic else config.dense,
        spatial=[math.ceil(size / config.patch) for size in spatial],
    )
    network = network if config.patch == 1 else Patched(network, config.patch)
    if periodic:
        network.check(torch.empty(1, times_shown * channels, *spatial, device="meta"))
    return network


def _inputs_of(config: NetworkConfig | CoarseConfig, spec: DataSpec, shown: Inputs) -> Inputs:
    """What a network of the data is shown beside x and gamma, features of its entries' values among them."""
    return Inputs(
        fourier_frequencies=config.fourier_frequencies if isinstance(config, NetworkConfig) else (),
        **shown,
        num_classes=spec.num_classes,
        num_condition_features=spec.num_condition_features,
        num_given=0 if spec.series is None else spec.series.num_given,
        takes_observed=spec.has_missing or spec.series is not None,
    )


def _settings_of(kind: Callable[..., nn.Module], config: NetworkConfig | CoarseConfig) -> dict[str, Any]:
    """The settings that a kind of network takes, but for those of a U-Net's edges."""
    names = inspect.signature(kind).parameters
    return {name: value for name, value in vars(config).items() if name in names and name not in ("dense", "periodic")}


def build_denoiser(config: Config, spec: DataSpec) -> Denoiser:
    """The denoiser, its networks untrained, with the conditions of the data."""
    if config.imported is not None:
        return imports.build_denoiser(config.imported, spec.shape, spec.num_levels)
    schedule = build_schedule(config.schedule)
    fine = build_fine(config, spec, schedule)
    if config.coarse.split is None:
        return fine
    return ByLevel(fine, build_coarse(config, spec, schedule), config.coarse.split)


def build_coarse(config: Config, spec: DataSpec, schedule: Schedule) -> Denoiser:
    """The denoiser that the second network makes."""
    settings, sigma_data = config.coarse, config.denoiser.sigma_data
    network = build_coarse_network(settings, spec, config.network.periodic, _num_changes(config, spec))
    if not settings.components:
        return NetworkDenoiser(network, schedule, spec.shape, settings.target, sigma_data)
    if settings.target != "x":
        raise InputError(
            f"--coarse.target {settings.target} has no effect on a network that stands upon principal components, and says "
            "what to add to x: leave it out, or give --coarse.components 0"
        )
    num_axes = min(settings.axes, spec.num_dims)
    num_further = min(settings.further_axes, spec.num_dims - num_axes)
    subspace = FittedSubspace(spec.num_dims, num_axes, settings.components, num_further)
    return SubspaceDenoiser(network, schedule, spec.shape, subspace, sigma_data)


def networks(denoiser: Denoiser) -> list[nn.Module]:
    """The networks of a denoiser that was built here, each of which is called once for a prediction."""
    pieces = (denoiser.fine, denoiser.coarse) if isinstance(denoiser, ByLevel) else (denoiser,)
    return [cast(nn.Module, piece.network) for piece in pieces]


def _num_changes(config: Config, spec: DataSpec) -> int:
    """How many numbers the networks are told about how an example was changed."""
    return num_changes(spec.shape) if config.training.augment else 0


def build_coarse_network(
    config: CoarseConfig, spec: DataSpec, periodic: tuple[int, ...] = (), num_changes: int = 0
) -> nn.Module:
    """The second network, of patches, with the conditions of the data."""
    if len(spec.shape) == 1 or spec.series is not None:
        raise InputError(f"--coarse.split is for images, signals and volumes, not for {spec.layout}: leave it out")
    # x, and what the mixture beneath makes of it
    return _unet(
        config, spec, periodic, shown=Inputs(num_changes=num_changes), times_shown=2 if config.components else 1
    )


def build_fine(config: Config, spec: DataSpec, schedule: Schedule) -> Denoiser:
    """The denoiser that the first network makes, or the only one."""
    shape, num_levels = spec.shape, spec.num_levels
    settings = config.denoiser
    told = {"sigma_data": settings.sigma_data, "num_changes": _num_changes(config, spec)}
    if config.model.name == "energy":
        spec.check_complete("the model energy")
        if settings != DenoiserConfig(sigma_data=settings.sigma_data):
            raise InputError(
                "an energy has no target but its gradient and a fixed reverse variance: of --denoiser's settings "
                "--denoiser.sigma-data alone has an effect on it"
            )
        network = build_network(config.network, spec, **told)
        return EnergyDenoiser(network, schedule, shape, settings.sigma_data, num_levels)
    if config.model.name == "forest":
        return build_forest(config.model, schedule, spec)
    learned_variance = settings.variance == "learned"
    _check_levels(settings, num_levels)
    is_series = spec.series is not None
    if settings.components and (settings.target not in ("eps", "blocks") or (len(shape) != 1 and not is_series)):
        raise InputError(
            "--denoiser.components is for vectors of real numbers and series with --denoiser.target eps, and for tables "
            "with --denoiser.target blocks: leave it out or give 0"
        )
    if settings.factors and (settings.components != 1 or is_series):
        raise InputError(
            "--denoiser.factors is for the one Gaussian below a network of vectors or tables: give --denoiser.components 1 "
            "beside it, or leave it out"
        )
    below = None
    if settings.components and spec.series is not None:
        num_numbers = shape[0] if spec.blocks is None else len(layout(spec.blocks, torch.device("cpu")).numbers)
        below = FittedWindows((num_numbers, *shape[1:]), spec.series.horizon)
    elif settings.components:
        below = unfitted_mixture(spec, settings.components, settings.factors)
    if settings.target == "blocks":
        if spec.blocks is None or learned_variance:
            raise InputError(
                "--denoiser.target blocks is for tables, and arrays some of whose values have probabilities, and for a "
                "fixed reverse variance: choose another"
            )
        network = build_network(config.network, spec, outputs_per_entry=2, **told)
        return BlockDenoiser(network, schedule, spec.blocks, settings.sigma_data, below, shape[1:])
    spikes = _spike_features(settings, num_levels)
    if settings.target == "levels":
        assert num_levels is not None
        num_outputs = 2 + len(settings.spikes) + settings.odds
        told["num_kinds"] = settings.kinds if settings.odds else 0
        network = build_network(config.network, spec, num_outputs, spikes, **told)
        return LevelDenoiser(
            network,
            schedule,
            shape,
            num_levels,
            settings.sigma_data,
            settings.spikes,
            settings.spread,
            settings.odds,
            settings.kinds,
        )
    network = build_network(config.network, spec, 2 if learned_variance else 1, spikes, **told)
    return NetworkDenoiser(
        network, schedule, shape, settings.target, settings.sigma_data, settings.num_steps, learned_variance, below
    )


def _check_levels(settings: DenoiserConfig, num_levels: int | None) -> None:
    """Refuse settings of the target levels where it is not that one, and that one where it can't be."""
    if settings.target == "levels" and (num_levels is None or settings.variance == "learned"):
        raise InputError("--denoiser.target levels is for discrete data and a fixed reverse variance: choose another")
    check_least(0, **{"--denoiser.odds": settings.odds})
    check_least(1, **{"--denoiser.kinds": settings.kinds})
    if not settings.odds and settings.kinds != DenoiserConfig.kinds:
        raise InputError(
            "--denoiser.kinds has no effect without --denoiser.odds: leave it out, or give --denoiser.odds 4"
        )
    for name in ("spread", "odds"):
        if settings.target != "levels" and getattr(settings, name) != getattr(DenoiserConfig, name):
            raise InputError(
                f"--denoiser.{name} has no effect on targets other than --denoiser.target levels: leave it out"
            )


def _spike_features(config: DenoiserConfig, num_levels: int | None) -> SpikeFeatures | None:
    """What a network is shown of frequent levels, whatever it predicts."""
    if not config.spikes:
        return None
    if num_levels is None:
        raise InputError("--denoiser.spikes is for discrete data: leave it out")
    levels = torch.tensor(config.spikes, device="cpu")  # with numbers, where a network is built without them
    return SpikeFeatures(level_centres(levels, num_levels).tolist(), config.sigma_data)


def build_forest(config: ModelConfig, schedule: Schedule, spec: DataSpec) -> Forest:
    """The forest, without trees, with the conditions of the data."""
    num_conditions = spec.num_condition_features or min(1, spec.num_classes)
    sizes = {"num_bands": config.bands, "num_trees": config.trees, "depth": config.depth}
    sizes_given = {name: size for name, size in sizes.items() if size is not None}
    return Forest(schedule, spec.shape, **sizes_given, num_conditions=num_conditions)


def build_objective(config: Config, schedule: Schedule) -> Objective:
    """The objective of a configuration; a table of betas is its own chain."""
    training, name = config.training, config.training.objective
    if isinstance(schedule, LearnedGamma):
        if name not in ("elbo", "balanced"):
            raise InputError(
                f"a learned schedule is trained by --objective elbo or balanced, not by {name}: choose another "
                "--schedule.name"
            )
        if training.times == "importance":
            raise InputError("a learned schedule already spreads times by the loss's size: leave --times antithetic")
    chain = torch.linspace(0, 1, config.schedule.num_steps + 1, dtype=torch.float64)
    if isinstance(schedule, Tabulated):
        chain = schedule.times
    objective = replace(OBJECTIVES[name], chain=chain, reverse=training.reverse)
    if name == "edm":
        objective = replace(objective, weighting=edm(config.denoiser.sigma_data))
    if name == "balanced" and config.coarse.split is not None:
        # each of two networks has one purpose, and so a weighting of its own
        objective = replace(objective, weighting=in_two(config.coarse.split, uniform, sigmoid(VISIBLE)))
    if training.times == "importance" and objective.takes_whole_paths:
        raise InputError(f"--times {training.times} has no effect on --objective {name}, which takes all steps")
    if training.reverse != "lower" and (objective.is_continuous or not objective.is_bound):
        raise InputError(f"--reverse {training.reverse} has no effect on --objective {name}")
    learns_variance = training.reverse == "learned" or name == "hybrid"
    if learns_variance and config.denoiser.variance != "learned":
        raise InputError(f"--objective {name} trains a reverse variance: add --denoiser.variance learned")
    return objective


def draws_by_importance(config: Config) -> bool:
    """Whether times are drawn more often where the loss is large: as it is asked for, or else where nothing spreads them by
    the loss yet and it is weighted or two networks share it."""
    times, name = config.training.times, config.training.objective
    if times is not None or not config.model.is_denoiser:
        return times == "importance"
    spreads = config.schedule.name in ("learned", "learned-linear") or OBJECTIVES[name].takes_whole_paths
    return not spreads and (name in ("balanced", "sigmoid") or config.coarse.split is not None)


def build_decoder(config: DecoderConfig, num_levels: int | None, blocks: Blocks | None = None) -> Decoder | None:
    """The decoder of a configuration, for data of `blocks`, discrete data of `num_levels`, or continuous ones."""
    if config.name == "none":
        return None
    if (config.name == "blocks") != (blocks is not None):
        kind = "all alike" if blocks is None else "of several kinds"
        raise InputError(
            f"--decoder.name is {config.name}, but the values are {kind}: blocks is for tables, and arrays some of whose "
            "values have probabilities, the others for everything else"
        )
    if blocks is not None:
        return BlockDecoder(blocks)
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
