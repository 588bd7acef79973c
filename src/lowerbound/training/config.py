"""The configuration of a run: frozen, complete, and the same in Python, on the command line and in config.json."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro

from lowerbound.data.config import DataConfig
from lowerbound.errors import InputError, flag
from lowerbound.files.records import read
from lowerbound.imports import Source
from lowerbound.models import RELATIVES
from lowerbound.schedule.named import CURVES, EXPLODING, TABLES
from lowerbound.settings import Everyday
from lowerbound.training.objectives import OBJECTIVES

SCHEMA_VERSION = 2
FOREST = ("trees", "bands", "depth")
"""The settings of a forest."""

DENOISERS = ("diffusion", "score", "energy", "forest")
"""The models that are a denoiser."""
if TYPE_CHECKING:
    ModelName: TypeAlias = str
    ObjectiveName: TypeAlias = str
    ScheduleName: TypeAlias = str
else:
    ModelName = Literal[(*DENOISERS, *RELATIVES)]
    ObjectiveName = Literal[(*OBJECTIVES,)]
    ScheduleName = Literal[(*CURVES, *EXPLODING, *TABLES)]
ScalingName = Literal["variance-preserving", "rectified-flow", "variance-exploding"]
Target = Literal["x", "eps", "v", "score", "velocity", "mu", "edm", "levels", "blocks"]
Purpose = Literal["likelihood", "samples", "both"]
NetworkKind = Literal["unet", "mlp", "transformer"]
DecoderName = Literal["level-posterior", "discretized-gaussian", "gaussian", "blocks", "none"]


@dataclass(frozen=True)
class ModelConfig:
    """The model. All settings but its name are for other models than diffusion, which have defaults of their own; a setting
    without effect on a model is refused."""

    name: Annotated[Everyday[ModelName], tyro.conf.arg(name="model", prefix_name=False)] = "diffusion"
    """The model: diffusion, also as a score network, an energy's gradient or a forest; or a relative of it."""
    width: int | None = None
    """The number of hidden units or channels."""
    depth: int | None = None
    """The number of layers, or of blocks at each resolution; of a forest, of splits from a tree's root to a leaf."""
    network: Literal["convolutional", "mlp", "linear"] | None = None
    """vae: the kind of network of encoder and decoder."""
    latent_dims: int | None = None
    """vae, hierarchical-vae, ladder-vae, gan: the latent's dimensions, or its channels where it is spatial."""
    num_latents: int | None = None
    """hierarchical-vae, ladder-vae: the number of levels of latents."""
    decoder: Literal["bernoulli", "gaussian", "discretized-logistic", "categorical", "logistic-mixture"] | None = None
    """The distribution of x at the end of a network."""
    decoder_components: int | None = None
    """The number of components of the decoder logistic-mixture."""
    std: float | None = None
    """vae: the standard deviation of a Gaussian decoder; learned if not given."""
    prior: Literal["normal", "learned"] | None = None
    """vae: the prior of the latents."""
    prior_components: int | None = None
    """vae: the number of Gaussians in a learned prior, a mixture of them."""
    free_bits: float | None = None
    """vae, hierarchical-vae, ladder-vae: the free bits, nats of KL that training does not penalise."""
    warmup: float | None = None
    """vae, hierarchical-vae, ladder-vae: the share of training over which the KL's weight rises from 0 to 1."""
    kind: Literal["spline", "affine"] | None = None
    """flow: the kind of its transforms."""
    transforms: int | None = None
    """flow: the number of its transforms."""
    dropout: float | None = None
    """autoregressive: the share of hidden units left out in training."""
    odds: int | None = None
    """autoregressive: the number of tables of log odds that levels have by which ones came before; 0 for none."""
    r1: float | None = None
    """gan: the weight of the penalty on the discriminator's gradient."""
    trees: int | None = None
    """forest: the largest number of trees of each column in each band of noise."""
    bands: int | None = None
    """forest: the number of bands of noise, each with trees of its own."""

    @property
    def is_denoiser(self) -> bool:
        """Whether it is the diffusion model in one of its forms."""
        return self.name in DENOISERS

    @property
    def is_grown(self) -> bool:
        """Whether it is a forest, whose trees grow, where all others descend a gradient."""
        return self.name == "forest"

    def settings(self) -> dict[str, Any]:
        """The settings that are not left to the model, by name."""
        return {name: value for name, value in vars(self).items() if name != "name" and value is not None}

    def check_settings(self, names: Sequence[str]) -> None:
        """Refuse, with an InputError, settings that are not among those that have an effect on the model."""
        for name in self.settings():
            if name not in names:
                raise InputError(
                    f"{flag(f'model.{name}')} has no effect on the model {self.name}, whose settings are "
                    f"{', '.join(flag(f'model.{each}') for each in names)}"
                )


@dataclass(frozen=True)
class ScheduleConfig:
    """The noise schedule."""

    name: ScheduleName = "linear-gamma"
    """The schedule; ddpm, scaled-linear and cosine-betas are tables of --schedule.num-steps betas; learned is a monotone
    network with learned ends, learned-linear a line with learned ends."""
    gamma_min: float = -13.3
    """Gamma at the data's end, for schedules in continuous time; for learned ones before training."""
    gamma_max: float = 5.0
    """Gamma at the noise's end, for schedules in continuous time; for learned ones before training."""
    num_steps: int = 1000
    """The number of steps T of a table of betas, or of the chain of an objective over steps on another schedule."""
    scaling: ScalingName | None = None
    """The scaling of x_t; the one that the schedule was published with if not given."""


@dataclass(frozen=True)
class DenoiserConfig:
    """The meaning of the network's output."""

    target: Target = "eps"
    """The quantity that the network predicts; levels, for discrete data, is eps with the levels built in; blocks,
    for tables, is eps with the levels and categories of its columns built in."""
    sigma_data: float = 1.0
    """The data's standard deviation, with which the network's input is scaled; the target edm needs the true value."""
    num_steps: int | None = None
    """The number of steps of the chain, for the target mu."""
    variance: Literal["fixed", "learned"] = "fixed"
    """The reverse variance: fixed, or learned, by the network, as a mix of its two bounds."""
    components: int = 0
    """The largest number of components in a mixture that is fitted to the training rows before the network learns what to
    add to it: Gaussians, for vectors of real numbers and the target eps, with probabilities of categories beside them for
    tables and the target blocks; for series and the target eps it is one Gaussian of whole windows; 0 for none."""
    factors: int = 0
    """The largest number of factors that move the numbers of a row together, of the one Gaussian below a network of vectors
    or tables: what each leaves of a number is its own; 0 for any covariance, or of rows too wide for one, for none."""
    spikes: tuple[int, ...] = ()
    """Levels of discrete data, counted from 0, that are far more frequent than those beside them: the network is shown how
    well each entry agrees with them and, for the target levels, says their odds beside a normal distribution on all."""
    spread: float | None = None
    """For the target levels: what is usually left open of an entry by those around it, a standard deviation in levels, in
    units of which the network says how far off an entry is; None: in units of the noise."""
    odds: int = 0
    """For the target levels: the number of tables of odds that the kind of a whole example gives its levels, of which the
    network says how much each holds for an entry; 0 for none."""
    kinds: int = 64
    """For --denoiser.odds: the most kinds of examples, found before the first step, each with a histogram of its own."""


@dataclass(frozen=True)
class DecoderConfig:
    """The step from the least noisy latent to the data."""

    name: DecoderName = "level-posterior"
    """The decoder: level-posterior, over levels and without a network; discretized-gaussian, DDPM's around the network's
    mean; gaussian, for continuous data; blocks, for tables; or none, which leaves the model without a likelihood."""
    std: float = 0.01
    """The standard deviation of discretized-gaussian, in units of the model's x; DDPM's is 0.01."""


NETWORKS: dict[NetworkKind, tuple[str, tuple[str, ...]]] = {
    "unet": (
        "a U-Net",
        (
            *("width", "multipliers", "blocks_per_level", "attention_levels", "dense", "pooled", "lines", "values"),
            *("periodic", "patch", "fourier_frequencies"),
        ),
    ),
    "mlp": ("an MLP", ("width", "depth", "fourier_frequencies")),
    "transformer": ("a transformer", ("width", "depth", "patch", "fourier_frequencies")),
}
"""In words, and the settings that have an effect on each kind."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network: a U-Net for signals, images and volumes, an MLP for vectors, or a transformer for either."""

    kind: NetworkKind = "unet"
    """The kind of network: unet for signals, images and volumes, mlp for vectors, transformer for either, with patches or
    columns as its tokens."""
    width: int = 32
    """The number of channels at full resolution, of hidden units of the MLP, or of numbers in a token."""
    multipliers: tuple[int, ...] = (1, 2, 2)
    """U-Net: the channels of each resolution as multiples of the width."""
    blocks_per_level: int = 2
    """U-Net: the number of residual blocks at each resolution on the way down, and again on the way up."""
    attention_levels: int = 1
    """U-Net: the number of lowest resolutions that have attention."""
    dense: int = 0
    """U-Net: the number of hidden units of a fully connected block over all positions of the lowest resolution, which learns
    what stands where; 0, or periodic axes, for none."""
    pooled: bool = False
    """U-Net: tell each residual block the mean over all positions of what it sees."""
    lines: bool = False
    """U-Net: show it how many entries on the same row, on the same column or along any other axis agree with each, and what
    they say; for each entry it takes as many operations as the axes are long."""
    values: bool = False
    """U-Net, of discrete data: show it how many entries of the whole example agree with each, and what they say."""
    periodic: tuple[int, ...] = ()
    """U-Net: the axes whose ends meet, counted from 0: 1 is the width of images, the longitude of global fields. What
    is learned does then not change with a shift along them."""
    depth: int = 4
    """MLP and transformer: the number of layers."""
    patch: int = 1
    """Transformer and U-Net: the positions along each axis that become one, a token or the channels of a position."""
    fourier_frequencies: tuple[float, ...] = ()
    """Feed the network sines and cosines of x as well, of these frequencies in cycles per unit of x; half the number of
    levels has a period of one level."""

    def check_kind(self, shape: Sequence[int]) -> None:
        """Refuse, with an InputError, a kind of network that is not for examples of a shape."""
        if self.kind == ("unet" if len(shape) == 1 else "mlp"):
            raise InputError(
                f"--network.kind is {self.kind}, but examples have the shape {tuple(shape)}: vectors take mlp or "
                "transformer, others unet or transformer"
            )

    def check(self) -> None:
        """Refuse, with an InputError, settings that have no effect on this kind of network."""
        kind, names = NETWORKS[self.kind]
        for setting in dataclasses.fields(self):
            if setting.name not in ("kind", *names) and getattr(self, setting.name) != setting.default:
                raise InputError(
                    f"{flag(f'network.{setting.name}')} has no effect on {kind}, whose settings are "
                    f"{', '.join(flag(f'network.{name}') for name in names)}"
                )


@dataclass(frozen=True)
class CoarseConfig:
    """A second network, at a fraction of the resolution, for noise that hides single pixels: a U-Net."""

    split: float | None = None
    """The gamma from which on it takes the place of the network; one network is for all noise if not given."""
    share: float = 0.5
    """The share of each batch that it learns from."""
    target: Literal["x", "eps", "v"] = "x"
    """The quantity that it predicts."""
    patch: int = 2
    """The number of positions along each axis that become channels of one."""
    width: int = 32
    """The number of channels at its highest resolution."""
    multipliers: tuple[int, ...] = (1, 1)
    """The channels of each resolution as multiples of the width."""
    blocks_per_level: int = 2
    """The number of residual blocks at each resolution on the way down, and again on the way up."""
    attention_levels: int = 1
    """The number of lowest resolutions that have attention."""
    dense: int = 0
    """The number of hidden units of a fully connected block over all positions of the lowest resolution, which learns what
    stands where; 0, or periodic axes, for none."""
    components: int = 0
    """The largest number of components in a mixture of Gaussians that is fitted to the principal components of training
    examples before the network learns what to add to it; 0 for none."""
    axes: int = 96
    """The number of principal components that have such a mixture, at most as many as an example has entries."""
    further_axes: int = 0
    """The number of principal components after these, each of which is Gaussian, of a variance of its own."""


@dataclass(frozen=True)
class TrainingConfig:
    """The training."""

    purpose: Annotated[Everyday[Purpose], tyro.conf.arg(name="for")] = "both"
    """Images: train for the fewest bits, the best samples, or both."""
    steps: Everyday[int | None] = None
    """The length of the run in steps; a resumed run then equals an unbroken one exactly, on as many threads
    (OMP_NUM_THREADS)."""
    minutes: Everyday[float | None] = None
    """The length of the run in minutes on this machine, on as many threads as are fastest. A tenth of them is for what is
    measured and drawn along the way."""
    batch_size: Everyday[int] = 32
    """The number of examples per step."""
    micro_batch_size: int | None = None
    """The number of examples that go through the network at a time; the batch size if not given. It changes memory, and
    the result by rounding only."""
    precision: Literal["float32", "bf16"] = "float32"
    """The precision of the network while it is trained: bf16 computes its layers in bfloat16, which is faster on devices
    that have it. Weights, losses and all that is measured stay in float32."""
    compile: bool = False
    """Compile the network before it is trained, which takes a minute or more and makes steps faster."""
    shard: bool = False
    """With several processes: divide the network's weights, its gradient, the optimiser's memory and the average among them,
    for a network that does not fit on one device."""
    learning_rate: Everyday[float] = 6e-3
    """The learning rate after warm-up, before it falls."""
    warmup_steps: int = 100
    """The number of steps over which the learning rate rises from zero; in a short run a tenth of its steps."""
    decay_from: float = 0.5
    """The share of the run after which the learning rate falls, by a half cosine to zero at the end."""
    weight_decay: float = 0.0
    """The weight decay of both optimizers."""
    clip: float = 1.0
    """The largest norm of the gradient; a larger gradient is scaled down to it."""
    average_width: float = 0.05
    """The width of the weights' running average, relative to the length of the run so far."""
    objective: ObjectiveName = "elbo"
    """The objective: elbo is the bound in continuous time; balanced is the same with more weight on noise that can be seen,
    for better samples; sigmoid has that weight alone; form-a to one-sample are the bound over a chain; the others are
    losses, not bounds."""
    reverse: Literal["lower", "upper", "learned"] = "lower"
    """The reverse variance of an objective over a chain."""
    times: Literal["antithetic", "importance"] | None = None
    """The distribution of times: spread evenly over the batch, or besides drawn more often where the loss is large. If not
    given, the latter for --objective balanced or sigmoid on a schedule that is not learned, and of two networks; else the
    former."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """The optimizer of the weight matrices between hidden layers; all other parameters take AdamW."""
    momentum: float = 0.9
    """The momentum of AdamW, its first beta: the share of the past gradients' average that stays."""
    null_probability: float = 0.1
    """Conditional runs: the share of examples whose condition is left out, so that the model learns to do without."""
    flip: bool = False
    """Images: mirror each training example left to right with probability 1/2. The model then learns the mixture of the data
    and their mirror images, of which an example has half the density if its mirror image is no data: the likelihood of
    held-out examples, which are never mirrored, can lose up to log 2 = 0.69 nats each."""
    augment: float = 0.0
    """Images, signals and volumes: the share of training examples that are mirrored, turned or moved. The network is told
    how, and when it is used, that nothing was changed: its likelihood is that of the data alone."""
    hidden: float = 0.0
    """The share of examples of which a random part is hidden in training, so that the model knows the density of any part of
    an example as well, and of any entries given others; for floats."""
    num_evaluations: int | None = None
    """The number of times that held-out bits/dim are measured along the way; fewer in a timed run where they would take more
    than a tenth of it. If not given, 20, and fewer in a run of given steps as well."""
    patience: int | None = None
    """Stop early when so many measurements of held-out bits/dim in a row brought no new best by more than noise. The best
    averaged weights are kept, as always; the learning rate has not fallen to zero then, as it does over a run that ends with
    its --steps or --minutes."""
    num_pictures: int | None = None
    """The number of times that samples are drawn along the way; if not given, 5, within the same bounds."""
    on_divergence: Literal["stop", "skip", "roll-back"] = "stop"
    """The response to a loss or weights that are not finite, or far from what they were: stop, with the last good checkpoint
    kept; skip up to ten batches in a row whose loss alone is not finite; or roll back to the last good checkpoint and go on
    at half the learning rate, up to three times."""
    seed: Everyday[int] = 0
    """The random seed of weights, data order, times and noise."""

    def __post_init__(self):
        for words, (lies_within, names) in RANGES.items():
            for name in names:
                value = getattr(self, name)
                if value is not None and not lies_within(value):
                    raise InputError(f"{flag(f'training.{name}')} is {value}: it {words}")

    @property
    def length_option(self) -> str:
        """The option that says how long it lasts."""
        return "--minutes" if self.steps is None else "--steps"


NUM_EVALUATIONS, NUM_PICTURES = 20, 5
"""How often held-out bits are measured and samples drawn along the way, if there is time for it."""
MOST = {
    "schedule.num_steps": 1_000_000,
    **dict.fromkeys(("network.width", "model.width", "coarse.width", "network.dense", "coarse.dense"), 8192),
    **{
        f"{section}.{name}": 256
        for section in ("network", "coarse")
        for name in ("multipliers", "blocks_per_level", "attention_levels")
    },
    **dict.fromkeys(("network.patch", "coarse.patch"), 64),
    "network.periodic": 2,
    **dict.fromkeys(("network.depth", "model.depth", "model.num_latents"), 1024),
    **dict.fromkeys(("model.decoder_components", "model.transforms", "model.bands"), 1024),
    "model.trees": 10_000,
    "denoiser.components": 1024,
    "denoiser.factors": 1024,
    **dict.fromkeys(("model.latent_dims", "model.prior_components"), 65_536),
}
"""The largest values of settings that make a model large, and of their number where there are several."""
RANGES: dict[str, tuple[Callable[[float], bool], tuple[str, ...]]] = {
    "must be positive and finite": (
        lambda value: 0 < value < math.inf,
        ("steps", "minutes", "batch_size", "micro_batch_size", "learning_rate", "num_evaluations", "patience"),
    ),
    "must be positive": (lambda value: value > 0, ("clip",)),
    "is at least 0 and finite": (lambda value: 0 <= value < math.inf, ("warmup_steps", "weight_decay", "num_pictures")),
    "lies between 0 and 1": (lambda value: 0 <= value <= 1, ("augment", "hidden")),
    "is at least 0 and below 1": (lambda value: 0 <= value < 1, ("decay_from", "null_probability", "momentum")),
    "lies between 0 and 0.25": (lambda value: 0 < value <= 0.25, ("average_width",)),
}
"""Where settings of the training have to lie: in words, as a test, and which."""


@dataclass(frozen=True)
class Config:
    """Everything that determines a run."""

    data: DataConfig
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    coarse: CoarseConfig = field(default_factory=CoarseConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    imported: Source | None = None
    """Where the model is from, if it was trained elsewhere: nothing but the data then says anything of it."""

    def __post_init__(self):
        training = self.training
        num_lengths = (training.steps is not None) + (training.minutes is not None)
        if num_lengths > 1 or (num_lengths == 0 and self.imported is None):
            raise InputError(
                f"the length of the run: --steps {training.steps}, --minutes {training.minutes}; give one of the two"
            )
        num_evaluations = training.num_evaluations or NUM_EVALUATIONS
        if training.patience is not None and training.patience >= num_evaluations - 1:
            raise InputError(
                f"--patience is {training.patience}: with --num-evaluations {num_evaluations} a run can stop early "
                f"by a --patience of up to {num_evaluations - 2}; give less, or more --num-evaluations"
            )
        if self.schedule.num_steps < 1:
            raise InputError(
                f"{flag('schedule.num_steps')} is {self.schedule.num_steps}: a chain takes at least one step"
            )
        self._check_coarse()
        if not self.model.is_denoiser:
            self._check_relative()
        elif self.model.is_grown:
            self._check_forest()
        elif settings := self.model.settings():
            raise InputError(
                f"{flag(f'model.{next(iter(settings))}')} has no effect on the model {self.model.name}, whose settings "
                "begin with --schedule, --denoiser, --network and --decoder"
            )
        for name, value in _settings(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if name in MOST and value is not None and max((len(numbers), *numbers)) > MOST[name]:
                raise InputError(f"{flag(name)} is {value}: at most {MOST[name]:,} is possible")
            if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
                raise InputError(f"{flag(name)} is {value}: it must be finite")

    def _check_plain(self, why: str) -> None:
        """Refuse what is said of how a diffusion model's loss is made."""
        training = self.training
        if (training.objective, training.reverse) != ("elbo", "lower") or training.times == "importance":
            raise InputError(f"--objective, --times and --reverse have no effect on the model {self.model.name}: {why}")

    def _check_coarse(self) -> None:
        """Refuse settings of a second network that is not there, or goes with nothing else that is asked for."""
        coarse, schedule = self.coarse, self.schedule
        if coarse.split is None:
            self._check_default(("coarse",), "unless --coarse.split says from which gamma on there is a second network")
            return
        if self.model.name != "diffusion" or self.denoiser.variance == "learned" or self.network.kind != "unet":
            raise InputError(
                "--coarse.split is for diffusion models of images, signals and volumes by a U-Net with a fixed reverse "
                "variance: leave it out, or give --coarse.split None where it is the recipe's"
            )
        if coarse.patch < 1:
            raise InputError(f"--coarse.patch is {coarse.patch}: give 1 position along each axis or more")
        if coarse.components < 0 or coarse.axes < 1 or coarse.further_axes < 0:
            raise InputError(
                f"--coarse.components is {coarse.components}, --coarse.axes {coarse.axes}, --coarse.further-axes "
                f"{coarse.further_axes}: give 0 components or more, 1 axis or more, and 0 further ones or more"
            )
        if not schedule.gamma_min < coarse.split < schedule.gamma_max or not 0 < coarse.share < 1:
            raise InputError(
                f"--coarse.split is {coarse.split}, --coarse.share {coarse.share}: give a gamma between the schedule's "
                f"ends, {schedule.gamma_min} and {schedule.gamma_max}, and a share between 0 and 1"
            )

    def _check_forest(self) -> None:
        """Refuse what has no effect on a forest."""
        self._check_default(
            ("denoiser", "network", "coarse"),
            "on the model forest, which is no network: its settings begin with --model and --schedule",
        )
        if self.training.patience is not None:
            raise InputError("--patience has no effect on the model forest, which is measured at its end")
        self.model.check_settings(FOREST)
        if self.schedule.name in ("learned", "learned-linear"):
            raise InputError("a forest learns no schedule: choose another --schedule.name")
        self._check_plain("it grows by the bound")

    def _check_relative(self) -> None:
        """Refuse what has no effect on a relative."""
        self._check_default(
            ("schedule", "denoiser", "network", "coarse", "decoder"),
            f"on the model {self.model.name}, which is no denoiser: its settings begin with --model",
        )
        self._check_plain("it has an objective of its own")
        if self.data.conditional:
            raise InputError(
                f"the model {self.model.name} takes no condition: leave out --conditional, or train a diffusion model"
            )

    def _check_default(self, sections: tuple[str, ...], why: str) -> None:
        """Refuse settings of sections that have no effect."""
        for name in sections:
            section = getattr(self, name)
            for setting in dataclasses.fields(section):
                if getattr(section, setting.name) != setting.default:
                    raise InputError(f"{flag(f'{name}.{setting.name}')} has no effect {why}")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON would hold it."""
        values = dataclasses.asdict(self)
        if self.imported is None:
            del values["imported"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """The configuration from `to_dict`'s values.

        Raises:
            InputError: for a name that does not exist or a value of the wrong type.
        """
        return read(cls, values, "config")


def differences(ours: Config, theirs: Config) -> list[str]:
    """Each setting in which two configurations differ, as "training.seed: 0 against 1"."""
    others = _settings(theirs)
    return [
        f"{name}: {value} against {others[name]}" for name, value in _settings(ours).items() if value != others[name]
    ]


def as_flags(difference: str) -> str:
    """A difference as the command line calls its setting: "--seed: 0 against 1"."""
    setting, _, values = difference.partition(": ")
    return f"{flag(setting)}: {values}"


def _settings(config: Config) -> dict[str, Any]:
    """All settings by their names with their sections, such as training.seed."""
    return {
        f"{name}.{setting}": value
        for name, section in vars(config).items()
        if name != "imported"
        for setting, value in vars(section).items()
    }
