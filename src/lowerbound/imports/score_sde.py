r"""Score SDEs: DDPM++ and NCSN++ as score_sde_pytorch trains and writes them.

The folder holds `score_sde.json`, the model's configuration as its authors' code has it (`config.to_json_best_effort()`
of its `ml_collections` object: `data`, `model` and `training` are read), and one checkpoint, whose averaged weights are
taken.

| training.sde | $x'_t$ | network's time | target |
|---|---|---|---|
| vpsde, continuous | variance preserving, of linear betas | $999 u$ | $\epsilon$ |
| vpsde | variance preserving, of a table of N betas | $(N - 1) t$ | $\epsilon$ |
| subvpsde | $\alpha x' + (1 - \alpha^2) \epsilon$, $\alpha$ as above | $999 u$ | $\epsilon$ |
| vesde, continuous | $x' + \sigma' \epsilon$ | $\log \sigma'$ | $-\epsilon$, or the score |
| vesde | $x' + \sigma' \epsilon$ | $(N - 1) (1 - t)$ | $-\epsilon$, or the score |

(Song et al. 2021, arXiv 2011.13456, section 3.4 and appendices B and C.) A variance exploding network whose output is
divided by $\sigma'$ (`model.scale_by_sigma`) is asked for what it is before. Between the steps of a model of whole steps
the network is asked at fractional ones. Data are in [0, 1], or in [-1, 1] if `data.centered`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from lowerbound.elementary import Scalar, exp, sqrt
from lowerbound.errors import InputError
from lowerbound.imports.conventions import Around, Conventions
from lowerbound.imports.family import Subject
from lowerbound.imports.files import only_tensors, read_values
from lowerbound.imports.one_file import OfUNet, OneFile, Recipe, layers, unchanged
from lowerbound.imports.settings import check_sizes, check_steps, number
from lowerbound.imports.unet import SCORE_SDE, Attention, Block, Fourier, Sines, UNet
from lowerbound.schedule import LinearBeta, Scaling, betas, from_betas, geometric

BLOCK = {
    "norm_in": "GroupNorm_0",
    "conv_in": "Conv_0",
    "modulate": "Dense_0",
    "norm_out": "GroupNorm_1",
    "conv_out": "Conv_1",
}
OTHER_PARTS = {"data": ("image_size", "num_channels", "centered"), "training": ("sde", "continuous")}
"""Of a configuration, and the names in them that matter to the model; all others stand in its part `model`."""
ENTRIES = {"none": "", "input_skip": "skip", "residual": "residual"}


def _sub_vp_alpha(gamma: Scalar) -> Scalar:
    r"""The $\alpha$ at which $(1 - \alpha^2) / \alpha = e^{\gamma / 2}$."""
    ratio = exp(gamma / 2)
    return 2 / (ratio + sqrt(ratio * ratio + 4))


SUB_VP = Scaling(
    "sub-variance-preserving",
    alpha=_sub_vp_alpha,
    # of log((1 - a^2) / a) = gamma / 2
    log_alpha_slope=lambda gamma: -(1 - _sub_vp_alpha(gamma) ** 2) / (1 + _sub_vp_alpha(gamma) ** 2) / 2,
)
"""Signal and noise of Song et al. 2021, equation 29."""


class SubVP(LinearBeta):
    r"""Linear betas whose noise is $\sigma = 1 - \alpha^2$: $\gamma = 2 \log(1 - e^{-B}) + B$ (`LinearBeta`)."""

    def __init__(self, beta_min: float, beta_max: float):
        super().__init__(beta_min, beta_max, scaling=SUB_VP)

    def curve(self, u: Tensor, rest: Tensor) -> Tensor:
        preserving = super().curve(u, rest)  # log(e^B - 1)
        return 2 * preserving - (preserving.exp() + 1).log()

    def curve_inverse(self, gamma: Tensor) -> Tensor:
        # e^B - 1 = y solves y^2 / (1 + y) = e^gamma
        root = (gamma.exp() + (gamma.exp() ** 2 + 4 * gamma.exp()).sqrt()) / 2
        return super().curve_inverse(root.log())


ONLY_DEFAULT = ("name", "resblock_type", "progressive_combine", "nonlinearity", "conditional", "skip_rescale")
"""Of what could be something else, that of which the default alone is supported."""


@dataclass(frozen=True)
class Configured(OfUNet):
    """The configuration's values under their own names; those of `data` and `training` have unlike names."""

    image_size: int
    num_channels: int
    nf: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    attn_resolutions: tuple[int, ...]
    sde: Literal["vpsde", "subvpsde", "vesde"]
    embedding_type: Literal["positional", "fourier"]
    fir: bool
    continuous: bool
    centered: bool = False
    fir_kernel: tuple[float, ...] = (1, 3, 3, 1)
    progressive: Literal["none", "output_skip"] = "none"
    progressive_input: Literal["none", "input_skip", "residual"] = "none"
    scale_by_sigma: bool = False
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    beta_min: float = 0.1
    beta_max: float = 20.0
    num_scales: int = 1000
    name: str = "ncsnpp"
    resblock_type: str = "biggan"
    progressive_combine: str = "sum"
    nonlinearity: str = "swish"
    conditional: bool = True
    skip_rescale: bool = True

    def __post_init__(self) -> None:
        for name in ONLY_DEFAULT:
            if getattr(self, name) != getattr(Configured, name):
                raise InputError(f"{name} is {getattr(self, name)!r:.40}: supported is {getattr(Configured, name)!r}")
        check_sizes((self.image_size, self.num_channels, self.nf, self.num_res_blocks), self.ch_mult)
        if tuple(self.fir_kernel) != (1, 3, 3, 1):
            raise InputError(f"fir_kernel is {list(self.fir_kernel)}: supported is [1, 3, 3, 1]")
        if not self.fir and self.progressive_input == "residual":
            raise InputError("progressive_input is 'residual' and fir false: supported with fir only")
        check_steps(self.num_scales, "num_scales")
        if self.embedding_type == "fourier" and not (self.continuous and self.sde == "vesde"):
            raise InputError("embedding_type is 'fourier': supported with a continuous vesde only")
        if self.scale_by_sigma and self.sde != "vesde":
            raise InputError(f"scale_by_sigma is set of a {self.sde}: supported with vesde only")
        if self.continuous and self.sde == "vesde" and self.embedding_type != "fourier":
            raise InputError("embedding_type is 'positional' of a continuous vesde: supported is 'fourier'")

    @property
    def trained_on(self) -> Subject:
        return Subject((self.num_channels, self.image_size, self.image_size), 0)

    @property
    def value_range(self) -> tuple[float, float]:
        return (-1.0, 1.0) if self.centered else (0.0, 1.0)

    def description(self) -> str:
        steps = "continuous" if self.continuous else f"{self.num_scales:,} steps"
        return f"NCSN++ or DDPM++ of a {self.sde}, {steps}, of score_sde_pytorch"

    def build(self) -> UNet:
        taps = self.fir_kernel if self.fir else (1.0, 1.0)
        is_fourier = self.embedding_type == "fourier"
        num_features = self.nf * (1 + is_fourier)
        return UNet(
            replace(
                SCORE_SDE, taps=taps, entry=ENTRIES[self.progressive_input], exits=self.progressive == "output_skip"
            ),
            self.num_channels,
            self.num_channels,
            [multiplier * self.nf for multiplier in self.ch_mult],
            self.num_res_blocks,
            {level for level in range(len(self.ch_mult)) if self.image_size >> level in self.attn_resolutions},
            Fourier(num_features) if is_fourier else Sines(num_features, reaches_end=True, sines_first=True),
            4 * self.nf,
            first_width=self.nf,
        )

    def meaning(self) -> Conventions:
        around = (lambda network: network) if self.centered else (lambda network: Around(network, lambda x: 2 * x - 1))
        if self.sde == "vesde":
            schedule = geometric(number(self.sigma_min, "sigma_min"), number(self.sigma_max, "sigma_max"))
            target = (lambda level: (0.0, -1.0)) if self.scale_by_sigma else "score"
            last = self.num_scales - 1
            if self.continuous:
                return Conventions(schedule, target, lambda level: level.gamma / 2, around)
            return Conventions(schedule, target, lambda level: last * (1 - level.t), around)
        low, high = number(self.beta_min, "beta_min"), number(self.beta_max, "beta_max")
        if self.sde == "vpsde" and not self.continuous:
            last = self.num_scales - 1
            table = betas.linear(self.num_scales, low / self.num_scales, high / self.num_scales)
            return Conventions(from_betas(table), "eps", lambda level: last * level.t, around)
        schedule = LinearBeta(low, high) if self.sde == "vpsde" else SubVP(low, high)
        start, end = schedule.window
        return Conventions(schedule, "eps", lambda level: 999 * (start + (end - start) * level.t), around)

    def recipes(self, network: UNet) -> dict[str, Recipe]:
        recipes: dict[str, Recipe] = {}
        module_number = 0

        def add(ours: str, parts: Mapping[str, str] = {"": ""}) -> str:
            """Recipes of the next of their modules; returns its name."""
            nonlocal module_number
            name = f"all_modules.{module_number}"
            recipes.update(layers(ours, name, parts))
            module_number += 1
            return name

        def add_block(block: nn.Module, ours: str) -> None:
            assert isinstance(block, Block)
            add(ours, BLOCK | ({"shortcut": "Conv_2"} if isinstance(block.shortcut, nn.Conv2d) else {}))

        def add_attention(block: nn.Module, ours: str) -> None:
            if not isinstance(getattr(block, "attention", None), Attention):
                return
            name = add(f"{ours}.attention", {"norm": "GroupNorm_0"})
            for index, part in enumerate(("query", "key", "value", "out")):
                recipes[f"{ours}.attention.{part}.weight"] = (
                    f"{name}.NIN_{index}.W",
                    lambda tensor: tensor.T[..., None],
                )
                recipes[f"{ours}.attention.{part}.bias"] = (f"{name}.NIN_{index}.b", unchanged)

        if isinstance(network.features, Fourier):
            recipes["features.frequencies"] = ("all_modules.0.W", unchanged)
            module_number += 1
        for ours in ("embed.0", "embed.1", "into"):
            add(ours)
        for way in ("down", "middle", "up"):
            for index, block in enumerate(getattr(network, way)):
                add_block(block, f"{way}.{index}")
                add_attention(block, f"{way}.{index}")
                if way == "down" and str(index) in network.entries:
                    add(f"entries.{index}", {"": "Conv_0" if network.style.entry == "skip" else "Conv2d_0"})
                if way == "up" and str(index) in network.exits:
                    add(f"exits.{index}.norm")
                    add(f"exits.{index}.conv")
        return recipes


class ScoreSde(OneFile[Configured]):
    """The family of score SDEs."""

    name = "score-sde"
    files = "a model of score_sde_pytorch: score_sde.json, its configuration, and one .pth"
    settings_file = "score_sde.json"
    kind = Configured

    def settings(self, values: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        settings, names = {}, {field.name for field in fields(Configured)}
        for part, part_names in (*OTHER_PARTS.items(), ("model", names.difference(*OTHER_PARTS.values()))):
            section = values.get(part)
            if not isinstance(section, dict):
                raise InputError(f"{self.settings_file} lacks {part}, an object of its configuration")
            settings |= {name: value for name, value in section.items() if name in part_names}
        return settings

    def tensors(self, path: Path) -> dict[str, Tensor]:
        """The averaged weights of a checkpoint, which are kept as a list in the order of the network's."""
        if path.suffix == ".safetensors":
            return super().tensors(path)
        values = read_values(path)
        parts = [values.get(name) if isinstance(values, dict) else None for name in ("model", "ema")]
        averaged = parts[1].get("shadow_params") if isinstance(parts[1], dict) else None
        if not isinstance(parts[0], dict) or not isinstance(averaged, list):
            raise InputError(f"{path} holds no checkpoint of score_sde_pytorch: model, and ema with shadow_params")
        tensors = {name.removeprefix("module."): tensor for name, tensor in only_tensors(parts[0], path).items()}
        tensors.pop("sigmas", None)
        # the frequencies of random features are no parameters that were trained
        trained = [name for name in tensors if name != "all_modules.0.W"]
        if len(trained) != len(averaged) or not all(isinstance(each, Tensor) for each in averaged):
            raise InputError(f"{path} has {len(averaged)} averaged weights, and {len(trained)} that were trained")
        for name, tensor in zip(trained, averaged, strict=True):
            if tensor.shape != tensors[name].shape:
                raise InputError(f"{path}: the average of {name} has the shape {tuple(tensor.shape)}")
        return tensors | dict(zip(trained, averaged, strict=True))
