"""Recipes: from a data set to a complete configuration that trains well on it."""

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import torch
from scipy.ndimage import percentile_filter
from torch import Tensor

from lowerbound.baselines.mixture import MIXTURE_FULL_DIMS
from lowerbound.blocks import Blocks, Choice, ChoiceOrReal, Grid, Real
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.levels import MOST_COUNTED, nearest_level
from lowerbound.nn import octaves
from lowerbound.nn.blocks import halvings
from lowerbound.settings import check_choice
from lowerbound.training.config import (
    DENOISERS,
    CoarseConfig,
    Config,
    DataConfig,
    DecoderConfig,
    DenoiserConfig,
    ModelConfig,
    ModelName,
    NetworkConfig,
    NetworkKind,
    Purpose,
    ScheduleConfig,
    TrainingConfig,
)
from lowerbound.training.factors import MOST_FACTORS
from lowerbound.training.mixtures import is_too_wide

GAMMA_MAX = 5.0
IMAGE_GAMMA_MAX = 8.0
"""Of images, of whose many pixels together something is left at 5: there samples would start from a wrong mean."""
SPLIT = -3.0
"""The gamma from which on a coarse network suffices: noise of a standard deviation of a ninth of the whole range."""
TABLE_GAMMA_MAX = 7.0
"""Of tables: at 5 the prior alone costs 0.006 bits of each column, of which a table has few (benchmarks/columns.py)."""
SMALL = 16
"""Positions a side up to which one network is enough for images."""
MANY_LEVELS = 64
"""Levels from which on most of the bits are in noise that leaves the outline to be seen."""
LONGEST_LINE = 64
"""Positions a side up to which entries are compared with all others on their row and column: it takes time for each."""
TABLES_OF_ODDS = 4
"""Of each example's levels, where entries repeat: one gains 0.004 bits/dim less of a denoiser of MNIST, 0.024 less of an
autoregressive model; eight no more of either."""
MOST_ODDS = 1 << 20
"""Levels of all entries of an example together, at most, that are counted before each entry: every count is held at once."""
COMPONENTS = 64
"""At most, in the mixture that the network of a table stands upon."""
WINDOW_ENTRIES = 1024
"""Of a window of series whose network stands upon a Gaussian, at most: each training example has a system of as many linear
equations to solve."""
FEW_EXAMPLES = 10_000
"""Training examples below which a model that sees them often has to be kept from learning them by heart."""
SHARES: dict[Purpose, float] = {"likelihood": 0.5, "both": 0.5, "samples": 0.75}
"""The share of each batch from which the coarse of two networks learns. Less of it than a half has saved no bits."""
COARSE_COMPONENTS = 64
"""Of the mixture that a coarse network stands upon, at most, where there are `FEW_EXAMPLES` or more."""
COMPONENTS_A_MINUTE = 16
"""Of these, at most: fitting 64 takes about a quarter of a minute."""
FURTHER_AXES = 288
"""Principal components beside those of the mixture, at most."""
MOST_OF_AXES = 2**21
"""Numbers of all axes together, at most: they are kept with the weights."""
WIDEST_SUBSPACE = 2**14
"""Entries of an image, at most, whose principal components are looked for: each axis has as many numbers."""
MULTIPLIERS = (1, 2, 2, 4, 4, 4)
"""Of a U-Net's width, from the full resolution down."""
COARSE_MULTIPLIERS = (1, *MULTIPLIERS[:-1])
"""Of a coarse network's. A second block at each resolution is worth more than twice the channels from the second one down:
MNIST's coarse network learns in 90 seconds what it learned in two minutes."""
DENSE = 256
"""Hidden units of a coarse network's fully connected block."""
MOST_JOINED = 8_192
"""Numbers at the lowest resolution that a fully connected block may join."""
FEW_TOKENS = 64
"""Patches that a transformer sees an example as, at most, where they are not too large. In four minutes of MNIST 49 of
them, twice as wide, need 0.12 bits/dim less than 196, and its samples are better."""
LARGEST_PATCH = 64
"""Positions in a patch, at most."""
SPIKE = 2.0
"""How many times as frequent as the levels around it a level is that has a place of its own in the network's output."""
SPIKE_SHARE = 0.001
"""Of all entries, which it has at least."""
NEIGHBOURS = 17
"""Levels, a spike in their middle, whose lower quartile is what is usual there."""
MOST_SPIKES = 16
MOST_ENTRIES = 1 << 23
"""Of training examples of which a recipe looks at the levels."""
MOST_COMPARED = 1 << 18
"""Entries of training examples that a recipe compares with all others on their lines."""
LEAST_SPREAD = 0.5
"""In levels: what two levels side by side leave open at the least."""
FEW_DECAY = 0.1
"""The weight decay of images of so few examples: without it digits are learned by heart after two minutes."""
FEW_BATCH = 128
"""The batch of small images of so few examples: four times the usual one, in less than three times as long a step."""
FEW_AVERAGE_WIDTH = 0.1
"""The width of the weights' average of images of so few examples: once they are learned by heart the newest weights are not
the best, and twice the usual width saves digits 0.005 bits/dim."""


def recipe(
    dataset: Dataset,
    data: DataConfig | None = None,
    minutes: float = 10.0,
    model: ModelName = "diffusion",
    purpose: Purpose = "both",
    network: NetworkKind | None = None,
) -> Config:
    """The recommended configuration for a data set.

    Arguments:
        dataset: the opened data.
        data: how they were opened; by their name alone if None.
        minutes: the run's length.
        model: what is trained.
        purpose: the fewest bits, the best samples, or both; a choice for diffusion models of discrete images and signals.
            Nothing that was tried needs fewer bits than what serves both, so that the first and the last are one recipe.
        network: the kind of it, of a denoiser; what suits the data if None: mlp for vectors, unet for everything else.

    Raises:
        InputError: for no data set, an unknown model, purpose or network, or one of the last two where there is no choice.
    """
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"dataset is an object of type {type(dataset).__name__}: give an opened one, open_dataset(NAME)"
        )
    check_choice("model", model, get_args(ModelName))
    check_choice("purpose", purpose, get_args(Purpose))
    data = data or DataConfig(dataset.spec.name)
    if network is not None:
        check_choice("network", network, get_args(NetworkKind))
        NetworkConfig(network).check_kind(dataset.shape)
        if model not in DENOISERS or model == "forest":
            raise InputError(f"--network.kind {network} has no effect on the model {model}: leave it out")
    is_visible = model == "diffusion" and _is_visible(dataset)
    if purpose != "both" and not is_visible:
        raise InputError(
            f"--for {purpose}: only diffusion models of images and signals of many levels, or small ones, are trained for "
            "one or the other; leave --for out"
        )
    if model not in DENOISERS:
        return _relative(dataset, data, minutes, model)
    config = _diffusion(dataset, data, minutes, network)
    if is_visible:
        return for_images(config, dataset, purpose)
    if model == "diffusion":
        return config
    schedule = replace(config.schedule, name="linear-gamma")
    if model == "forest":
        return Config(
            data=data, schedule=schedule, decoder=config.decoder, training=config.training, model=ModelConfig(model)
        )
    if model == "score":
        # geometric noise levels up to the largest distance between two examples, which the noise has to bridge (Song &
        # Ermon 2020, technique 1), all of one weight
        extent = round(max(5.0, math.log(2 * math.prod(dataset.shape))), 1)
        schedule = replace(schedule, name="geometric", gamma_max=extent)
        config = replace(config, training=replace(config.training, objective="simple"))
    return replace(config, schedule=schedule, denoiser=DenoiserConfig(target="eps"), model=ModelConfig(model))


def for_images(config: Config, dataset: Dataset, purpose: Purpose = "both") -> Config:
    """The configuration for discrete images, signals or volumes: more weight on noise that can be seen, and times drawn
    where the weighted loss is large, where a learned schedule draws them for the bits alone.

    Arguments:
        config: that of other data.
        dataset: the data.
        purpose: what they are for.
    """
    training = replace(config.training, purpose=purpose, objective="balanced")
    if len(dataset.train) < FEW_EXAMPLES:
        training = replace(training, weight_decay=FEW_DECAY, average_width=FEW_AVERAGE_WIDTH)
    schedule = replace(config.schedule, name="linear-gamma", gamma_max=IMAGE_GAMMA_MAX)
    config = replace(config, schedule=schedule, training=training)
    if config.network.kind == "unet":
        config = replace(config, network=replace(config.network, width=24))
        if max(dataset.shape[1:]) > SMALL:
            return shared_by_two(config, dataset, SHARES[purpose])
        if len(dataset.train) < FEW_EXAMPLES:
            batch_size = min(FEW_BATCH, len(dataset.train))
            config = replace(config, training=replace(config.training, batch_size=batch_size))
    if purpose == "samples":
        return replace(config, training=replace(config.training, objective="sigmoid"))
    return config  # with one network for all noise, weight on what can be seen costs no bits


def shared_by_two(config: Config, dataset: Dataset, share: float) -> Config:
    """The configuration with the noise shared by two networks: bits by a small one, what can be seen by a coarse one.

    Arguments:
        config: of one network for discrete images, signals or volumes.
        dataset: the data.
        share: that of each batch from which the coarse network learns.
    """
    sizes = halvings([math.ceil(size / 2) for size in dataset.shape[1:]], SMALL // 2)
    multipliers = COARSE_MULTIPLIERS[: len(sizes)]
    width = CoarseConfig.width
    num_levels = dataset.spec.num_levels
    assert num_levels is not None
    is_scaled = repeat_along_lines(some_levels(dataset), config.denoiser.spikes)
    has_odds = is_scaled and config.denoiser.target == "levels" and num_levels <= MOST_COUNTED
    is_joined = width * multipliers[-1] * math.prod(sizes[len(multipliers) - 1]) <= MOST_JOINED
    return replace(
        config,
        # what is to be known of the last bits stands next to a pixel, but for the greys that the whole picture has
        network=replace(
            config.network,
            width=16,
            multipliers=(1,),
            blocks_per_level=2,
            attention_levels=0,
            pooled=True,
            lines=is_scaled and max(dataset.shape[1:]) <= LONGEST_LINE,
            values=has_odds,
        ),
        denoiser=replace(config.denoiser, odds=TABLES_OF_ODDS if has_odds else 0),
        coarse=CoarseConfig(
            split=SPLIT,
            share=share,
            multipliers=multipliers,
            dense=DENSE if is_joined else 0,
            components=_coarse_components(dataset, config.training.minutes),
            further_axes=min(FURTHER_AXES, max(0, MOST_OF_AXES // dataset.spec.num_dims - CoarseConfig.axes)),
        ),
        training=replace(config.training, batch_size=min(2 * config.training.batch_size, len(dataset.train))),
    )


def _coarse_components(dataset: Dataset, minutes: float | None) -> int:
    """How many there are to be in the mixture that a coarse network stands upon; 0 for none."""
    if len(dataset.train) < FEW_EXAMPLES or dataset.spec.num_dims > WIDEST_SUBSPACE:
        return 0
    affordable = COARSE_COMPONENTS if minutes is None else round(COMPONENTS_A_MINUTE * minutes)
    return max(1, min(COARSE_COMPONENTS, affordable))


def _is_visible(dataset: Dataset) -> bool:
    """Whether most of the bits are in noise finer than what can be seen, or the whole is small."""
    num_levels = dataset.spec.encoding.num_levels
    if len(dataset.shape) == 1 or num_levels is None:
        return False
    return max(dataset.shape[1:]) <= SMALL or num_levels >= MANY_LEVELS


def _diffusion(dataset: Dataset, data: DataConfig, minutes: float, kind: NetworkKind | None) -> Config:
    num_levels, blocks = dataset.spec.num_levels, dataset.spec.blocks
    decoder = DecoderConfig("gaussian" if num_levels is None else "level-posterior")
    # of series too: at equal steps of ETTh1 forecasts of eps are better than those of v and x (docs/results.md)
    denoiser = DenoiserConfig("eps" if num_levels is None else "levels")
    if num_levels is not None and num_levels >= MANY_LEVELS:  # of few, each is learned as soon, in shorter steps
        levels = some_levels(dataset)
        frequent = spikes(levels, num_levels)
        denoiser = replace(denoiser, spikes=frequent, spread=spread(levels, frequent))
    if num_levels is None and len(dataset.shape) == 1:
        # through layers narrower than the row noise would not pass: what stands below has seen it already
        components = COMPONENTS if dataset.shape[0] <= MIXTURE_FULL_DIMS else 1
        factors = MOST_FACTORS if is_too_wide(dataset.spec) else 0
        denoiser = replace(denoiser, components=1 if factors else components, factors=factors)
    if dataset.spec.series is not None and dataset.spec.num_dims <= WINDOW_ENTRIES:
        denoiser = replace(denoiser, components=1)
    # of smooth densities the bound hardly depends on the data's end: there is nothing to learn it from
    name = "linear-gamma" if num_levels is None else "learned"
    schedule = ScheduleConfig(name, gamma_min=gamma_min(num_levels), gamma_max=GAMMA_MAX)
    if blocks is not None:
        decoder, denoiser = DecoderConfig("blocks"), replace(denoiser, target="blocks")
        schedule = ScheduleConfig("linear-gamma", gamma_min=gamma_min_of_blocks(blocks), gamma_max=TABLE_GAMMA_MAX)
    if len(dataset.shape) == 1:
        # of few rows a small network takes more steps in its time, and learns fewer of them by heart
        few = len(dataset.train) < FEW_EXAMPLES
        network = NetworkConfig("mlp", width=128 if few else 256, depth=3 if few else 4)
        # on dense layers of this width a step of Muon costs three of AdamW, and is behind it at equal time
        training = TrainingConfig(
            minutes=minutes, batch_size=min(512, len(dataset.train)), learning_rate=1e-3, optimizer="adamw"
        )
    else:
        network = unet(dataset.shape, num_levels)
        training = TrainingConfig(minutes=minutes, batch_size=min(32, len(dataset.train)))
    if kind == "transformer":
        network = transformer(dataset.shape, num_levels)
    return Config(data=data, schedule=schedule, denoiser=denoiser, network=network, decoder=decoder, training=training)


def _relative(dataset: Dataset, data: DataConfig, minutes: float, model: ModelName) -> Config:
    """A relative with its own settings' defaults, at the batch and rate that were measured to suit it."""
    is_vector = len(dataset.shape) == 1
    is_large = not is_vector and max(dataset.shape[1:]) > 16
    training: dict[str, Any] = {"batch_size": 256 if is_vector else 32, "learning_rate": 1e-3 if is_vector else 6e-3}
    settings: dict[str, Any] = {}
    if is_vector or (model in ("hierarchical-vae", "ladder-vae") and not is_large):
        training["optimizer"] = "adamw"  # as of diffusion models: their layers are dense
    match model:
        case "autoregressive":
            if is_large:
                training["batch_size"] = 16
            if len(dataset.train) < FEW_EXAMPLES:  # soon learned by heart otherwise
                training["learning_rate"] /= 2
                settings["dropout"] = 0.3
            if is_large:
                settings |= _of_each_entry(dataset)
        case "vae" | "hierarchical-vae" | "ladder-vae" if not is_vector:
            training |= {"batch_size": 64, "learning_rate": 3e-3}
            if is_large and model != "ladder-vae":  # which begins at half the resolution
                settings["width"] = 16
        case "flow":
            training["learning_rate"] = 2e-3 if is_vector else 6e-3
        case "gan":
            # no momentum, and no Muon, which makes every direction of the discriminator learn as fast as any other
            training |= {"batch_size": 64, "learning_rate": 2e-3, "optimizer": "adamw", "momentum": 0.0}
            if is_large:
                training |= {"batch_size": 32, "learning_rate": 1e-3}
                settings["width"] = 16
    training["batch_size"] = min(training["batch_size"], len(dataset.train))
    return Config(data=data, model=ModelConfig(model, **settings), training=TrainingConfig(minutes=minutes, **training))


def _of_each_entry(dataset: Dataset) -> dict[str, Any]:
    """What an autoregressive model of large images says of an entry.

    Any distribution of the levels, with odds by which ones came before, where entries repeat and are not too many;
    elsewhere, of many levels, a mixture of logistics, which has them in order.
    """
    num_levels = dataset.spec.num_levels
    if num_levels is None or num_levels == 2:
        return {}
    levels = some_levels(dataset)
    is_counted = num_levels <= MOST_COUNTED and num_levels * math.prod(dataset.shape) <= MOST_ODDS
    if is_counted and repeat_along_lines(levels, spikes(levels, num_levels)):
        return {"odds": TABLES_OF_ODDS}
    return {"decoder": "discretized-logistic"} if num_levels >= MANY_LEVELS else {}


def spikes(levels: Tensor, num_levels: int) -> tuple[int, ...]:
    """The levels of discrete data, of `num_levels`, that are far more frequent than those around them: an empty background,
    saturation, the few greys of an image that was scaled. At most `MOST_SPIKES`, in order."""
    counts = torch.bincount(levels.flatten().long(), minlength=num_levels).numpy()
    around = percentile_filter(counts, 25, NEIGHBOURS, mode="mirror")
    is_spike = (counts - SPIKE * around > 4 * np.sqrt(counts)) & (counts > SPIKE_SHARE * counts.sum())
    most = np.argsort(-counts, kind="stable")[:MOST_SPIKES]
    return tuple(int(level) for level in np.sort(most) if is_spike[level])


def spread(levels: Tensor, frequent: tuple[int, ...] = ()) -> float | None:
    r"""What is usually left open of an entry of discrete data by the entries beside it, a standard deviation in levels.

    Half of all differences d between an entry and the next one are smaller than their median, and of a walk of independent
    normal steps an entry between its two neighbours has the standard deviation $1.48\, \mathrm{median} |d| / \sqrt 2$. None
    where nothing stands beside anything.

    Arguments:
        levels: of examples, (N, C, *spatial).
        frequent: levels, as of `spikes`: two of them beside each other say nothing of all others.
    """
    is_usual = ~torch.isin(levels, torch.tensor(frequent, dtype=levels.dtype))
    differences = []
    for axis in range(2, levels.ndim):
        (before, after), (usual_before, usual_after) = (
            (values.narrow(axis, 0, values.shape[axis] - 1), values.narrow(axis, 1, values.shape[axis] - 1))
            for values in (levels, is_usual)
        )
        differences.append((after - before).abs()[usual_before | usual_after])
    every = torch.cat(differences) if differences else torch.empty(0)
    if not len(every):
        return None
    return max(LEAST_SPREAD, round(1.48 / math.sqrt(2) * float(every.median()), 1))


def repeat_along_lines(levels: Tensor, frequent: tuple[int, ...] = ()) -> bool:
    """Whether entries on one row, on one column or along any other axis are equal more than `SPIKE` times as often as two
    levels apart, as those of scaled drawings are and those of photographs are not.

    Arguments:
        levels: of examples, (N, C, *spatial).
        frequent: levels, as of `spikes`, which are equal everywhere.
    """
    levels = levels[: max(1, MOST_COMPARED // levels[0].numel())]
    usual = torch.where(torch.isin(levels, torch.tensor(frequent, dtype=levels.dtype)), math.nan, levels.float())
    num_equal, num_apart = 0, 0
    for axis in range(2, levels.ndim):
        for offset in range(1, levels.shape[axis]):
            difference = (usual.roll(-offset, axis) - usual).abs()
            num_equal += int((difference == 0).sum())
            num_apart += int((difference == 2).sum())
    usually_equal = num_apart / 2  # for the level above and the one below are both counted
    return num_equal > SPIKE * usually_equal + 4 * math.sqrt(num_equal)


def some_levels(dataset: Dataset) -> Tensor:
    """The levels of some training examples of discrete data, of no more than may be looked at at once."""
    num_levels = dataset.spec.num_levels
    assert num_levels is not None
    return nearest_level(dataset.encoded(dataset.some("train", 2_000, MOST_ENTRIES)), num_levels)


def gamma_min(num_levels: int | None) -> float:
    r"""The data's end of gamma: noise of a sixth of a level's width, as VDM learns it for 256; -12 for continuous data.

    There the level can be read off the least noisy latent almost surely, so that the reconstruction costs nearly nothing.
    """
    return -12.0 if num_levels is None else round(2 * math.log(2 / num_levels / 6), 1)


def gamma_min_of_blocks(blocks: Blocks) -> float:
    """The data's end of gamma for a table: noise of a sixth of the finest grid's spacing, an eighth of the distance between
    two categories, and -12 if there are real numbers."""
    widths = [block.spacing / 6 for block in blocks if isinstance(block, Grid)]
    widths += [2 / 8 for block in blocks if isinstance(block, Choice | ChoiceOrReal)]
    ends = [round(2 * math.log(width), 1) for width in widths]
    return min([*ends, gamma_min(None)] if any(isinstance(block, Real | ChoiceOrReal) for block in blocks) else ends)


def unet(shape: tuple[int, ...], num_levels: int | None) -> NetworkConfig:
    """A U-Net for examples of a shape, whose resolution is halved at least once and until at most 16 a side are left."""
    longest = max(shape[1:])
    num_halvings = max(1, math.ceil(math.log2(longest / 16)))
    return NetworkConfig(
        kind="unet",
        width=24 if longest > 16 else 16,
        multipliers=MULTIPLIERS[: num_halvings + 1],
        fourier_frequencies=() if num_levels is None else octaves(num_levels),
    )


def transformer(shape: tuple[int, ...], num_levels: int | None) -> NetworkConfig:
    """A transformer for examples of a shape, of columns or of patches as large as leave `FEW_TOKENS` of them."""
    spatial = shape[1:]

    def num_tokens(patch: int) -> int:
        return math.prod(math.ceil(size / patch) for size in spatial)

    patch = 1
    while num_tokens(patch) > FEW_TOKENS and (patch + 1) ** len(spatial) <= LARGEST_PATCH:
        patch += 1
    return NetworkConfig(
        "transformer",
        width=128 if spatial else 64,
        depth=4 if spatial else 3,
        patch=patch,
        fourier_frequencies=octaves(num_levels) if spatial and num_levels is not None else (),
    )
