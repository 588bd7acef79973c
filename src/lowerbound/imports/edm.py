r"""EDM: networks of NVlabs/edm, exported to safetensors, with what they were made with.

Its pickles hold programs and are not opened. Whoever trusts one runs these lines beside EDM's code:

```
import json, pickle
from safetensors.torch import save_file

net = pickle.load(open("edm-cifar10-32x32-uncond-vp.pkl", "rb"))["ema"]
save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, "edm/model.safetensors")
json.dump({"class_name": type(net).__name__, **net.init_kwargs}, open("edm/edm.json", "w"))
```

| class_name | $x'_t$ | network's time | target |
|---|---|---|---|
| EDMPrecond | $x' + \sigma' \epsilon$ | $\frac14 \log \sigma'$, around it $c_{in}, c_{skip}, c_{out}$ | x |
| VPPrecond | variance preserving, of linear betas | $(M - 1) u$ | $\epsilon$ |
| VEPrecond | $x' + \sigma' \epsilon$ | $\log(\sigma' / 2)$ | $-\epsilon$ |
| iDDPMPrecond | variance preserving, of a table | $(M - 1) t$ | $\epsilon$ |

(Karras et al. 2022, arXiv 2206.00364, table 1; of the last, the table of equation 167's $u_j$.) What the network makes of
augmentation is left out, as it is in sampling: there is none. Between the steps of iDDPM's table the network is asked at
fractional ones.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.imports.conventions import Around, Conventions, Preconditioned
from lowerbound.imports.family import Subject
from lowerbound.imports.one_file import OfUNet, OneFile, Recipe, attention, layers, unchanged
from lowerbound.imports.settings import check_sizes, check_steps, number
from lowerbound.imports.unet import ADM, SCORE_SDE, Attention, Block, Fourier, Sines, Style, UNet
from lowerbound.schedule import EDM, LinearBeta, Tabulated, geometric

BLOCK = {"norm_in": "norm0", "conv_in": "conv0", "modulate": "affine", "norm_out": "norm1", "conv_out": "conv1"}
EXPORT = (
    "a pickle of EDM holds programs, and is not opened; where you trust it, run these lines beside EDM's code, and import "
    """the folder of what they write:
import json, pickle
from safetensors.torch import save_file
net = pickle.load(open(FILE, "rb"))["ema"]
save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, "model.safetensors")
json.dump({"class_name": type(net).__name__, **net.init_kwargs}, open("edm.json", "w"))"""
)


@dataclass(frozen=True)
class Made(OfUNet):
    """What a network of EDM was made with, under its own names and with its own defaults."""

    class_name: Literal["EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond"]
    img_resolution: int
    img_channels: int
    model_type: Literal["SongUNet", "DhariwalUNet"]
    label_dim: int = 0
    augment_dim: int = 0
    sigma_min: float | None = None
    sigma_max: float | None = None
    sigma_data: float = 0.5
    beta_d: float = 19.9
    beta_min: float = 0.1
    M: int = 1000
    C_1: float = 0.001
    C_2: float = 0.008
    model_channels: int | None = None
    channel_mult: tuple[int, ...] | None = None
    channel_mult_emb: int = 4
    num_blocks: int | None = None
    attn_resolutions: tuple[int, ...] | None = None
    label_dropout: float = 0.0
    embedding_type: Literal["positional", "fourier"] = "positional"
    channel_mult_noise: int = 1
    encoder_type: Literal["standard", "skip", "residual"] = "standard"
    decoder_type: Literal["standard", "skip"] = "standard"
    resample_filter: tuple[float, ...] = (1, 1)

    def __post_init__(self) -> None:
        sizes = (self.img_resolution, self.img_channels, self.width, self.blocks)
        check_sizes((*sizes, self.channel_mult_emb, self.channel_mult_noise), self.multipliers)
        if not 0 <= self.label_dim <= 1 << 20:
            raise InputError(f"label_dim is {self.label_dim}: a number of classes, 0 for none")
        if tuple(self.resample_filter) not in ((1, 1), (1, 3, 3, 1)):
            raise InputError(f"resample_filter is {list(self.resample_filter)}: supported are [1, 1] and [1, 3, 3, 1]")
        check_steps(self.M, "M")

    @property
    def is_adm(self) -> bool:
        """Whether the network is ADM's."""
        return self.model_type == "DhariwalUNet"

    @property
    def width(self) -> int:
        """Channels at the full resolution, before its multiplier."""
        return self.model_channels or (192 if self.is_adm else 128)

    @property
    def multipliers(self) -> tuple[int, ...]:
        """Of the width at each resolution."""
        return self.channel_mult or ((1, 2, 3, 4) if self.is_adm else (1, 2, 2, 2))

    @property
    def blocks(self) -> int:
        """At each resolution on the way down."""
        return self.num_blocks or (3 if self.is_adm else 4)

    @property
    def resolutions(self) -> list[int]:
        """Sizes of the image from the full one down."""
        return [self.img_resolution >> level for level in range(len(self.multipliers))]

    @property
    def style(self) -> Style:
        """Of the network's parts."""
        if self.is_adm:
            return replace(ADM, num_groups=SCORE_SDE.num_groups)
        entry = "" if self.encoder_type == "standard" else self.encoder_type
        return replace(SCORE_SDE, taps=self.resample_filter, entry=entry, exits=self.decoder_type == "skip")

    @property
    def trained_on(self) -> Subject:
        return Subject((self.img_channels, self.img_resolution, self.img_resolution), self.label_dim)

    def description(self) -> str:
        return f"{self.model_type} with {self.class_name}, of EDM"

    def build(self) -> UNet:
        widths = [multiplier * self.width for multiplier in self.multipliers]
        attends = self.attn_resolutions
        if attends is None:
            attends = (32, 16, 8) if self.is_adm else (16,)
        num_features = self.width * (1 if self.is_adm else self.channel_mult_noise)
        is_fourier = not self.is_adm and self.embedding_type == "fourier"
        sines = {} if self.is_adm else {"reaches_end": True, "sines_first": True}
        return UNet(
            self.style,
            self.img_channels,
            self.img_channels * (2 if self.class_name == "iDDPMPrecond" else 1),
            widths,
            self.blocks,
            {level for level, resolution in enumerate(self.resolutions) if resolution in attends},
            Fourier(num_features) if is_fourier else Sines(num_features, **sines),
            self.width * self.channel_mult_emb,
            num_classes=self.label_dim,
            has_null=self.label_dropout > 0,
            first_width=widths[0] if self.is_adm else self.width,
        )

    def meaning(self) -> Conventions:
        last = self.M - 1
        if self.class_name == "VPPrecond":
            low = number(self.beta_min, "beta_min")
            schedule = LinearBeta(low, low + number(self.beta_d, "beta_d"))
            start, end = schedule.window
            return Conventions(schedule, "eps", lambda level: last * (start + (end - start) * level.t))
        if self.class_name == "VEPrecond":
            schedule = geometric(self.sigma_min or 0.02, self.sigma_max or 100.0)
            return Conventions(schedule, lambda level: (0.0, -1.0), lambda level: level.gamma / 2 - math.log(2))
        if self.class_name == "iDDPMPrecond":
            schedule = Tabulated(2 * self.table().flip(0).log())
            return Conventions(
                schedule,
                "eps",
                lambda level: last * level.t,
                lambda network: Around(network, after=lambda output: output[:, : self.img_channels]),
            )
        sigma_data = number(self.sigma_data, "sigma_data")
        sigma_max = self.sigma_max if self.sigma_max is not None and math.isfinite(self.sigma_max) else 80.0
        return Conventions(
            EDM(self.sigma_min or 0.002, sigma_max),
            "x",
            lambda level: level.sigma,
            lambda network: Preconditioned(network, sigma_data, 1.0),
        )

    def table(self) -> Tensor:
        r"""iDDPM's $u_0 > ... > u_{M-1}$ (Karras et al. 2022, table 1 and appendix C.3)."""
        steps = torch.arange(self.M + 1, dtype=torch.float64)
        alpha_bar = torch.sin(math.pi / 2 * steps / self.M / (self.C_2 + 1)).square()
        growth = 1 / (alpha_bar[:-1] / alpha_bar[1:]).clamp(min=number(self.C_1, "C_1"))
        return (growth.flip(0).cumprod(0).flip(0) - 1).sqrt()

    def arranged(self, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
        taps = torch.tensor(self.style.taps, dtype=torch.float64)
        taps = torch.outer(taps, taps) / taps.sum().square()
        weights = {}
        for name, tensor in tensors.items():
            if name.endswith("resample_filter"):
                if tensor.squeeze().shape != taps.shape or (tensor.double().squeeze() - taps).abs().max() > 1e-5:
                    raise InputError(f"{path}: {name} is not the filter that its settings make")
            elif name == "u" and self.class_name == "iDDPMPrecond":
                table = torch.cat([self.table(), torch.zeros(1, dtype=torch.float64)])
                if tensor.shape != table.shape or ((tensor.double() - table).abs() > 1e-3 * (1e-3 + table)).any():
                    raise InputError(f"{path}: {name} is not the table that its settings make")
            elif not (name == "model.map_augment.weight" and self.augment_dim):
                weights[name] = tensor
        return super().arranged(weights, path)

    def recipes(self, network: UNet) -> dict[str, Recipe]:
        recipes = layers("embed", "model", {"0": "map_layer0", "1": "map_layer1"})
        if isinstance(network.features, Fourier):
            recipes["features.frequencies"] = ("model.map_noise.freqs", unchanged)
        if self.label_dim:
            recipes["label"] = (
                "model.map_label.weight",
                lambda tensor: tensor.T if self.is_adm else tensor.T * math.sqrt(self.label_dim),
            )
            if not self.is_adm:
                recipes["label_bias"] = ("model.map_label.bias", unchanged)
        full = f"{self.img_resolution}x{self.img_resolution}"
        recipes |= layers("into", f"model.enc.{full}_conv", {"": ""})
        for way, names in self._names().items():
            for block_index, (block, (prefix, name)) in enumerate(zip(getattr(network, way), names, strict=True)):
                recipes |= self._block(block, f"{way}.{block_index}", f"{prefix}_{name}")
                if name == "down" and network.style.entry:
                    recipes |= layers(f"entries.{block_index}", f"{prefix}_aux_{network.style.entry}", {"": ""})
                if way == "up" and str(block_index) in network.exits:
                    own = "model.out" if self.is_adm else f"{prefix}_aux"
                    for part in ("norm", "conv"):
                        recipes |= layers(f"exits.{block_index}.{part}", f"{own}_{part}", {"": ""})
        return recipes

    def _names(self) -> dict[str, list[tuple[str, str]]]:
        """Their names of the blocks of each of the network's three parts, in two pieces."""
        encoder, decoder = (
            [f"model.{way}.{resolution}x{resolution}" for resolution in self.resolutions] for way in ("enc", "dec")
        )
        blocks = [f"block{index}" for index in range(self.blocks + 1)]
        down = [(prefix, name) for prefix in encoder for name in ("down", *blocks[:-1])]
        up = [(prefix, name) for prefix in reversed(decoder) for name in ("up", *blocks)]
        # at the full resolution nothing was halved, and at the lowest nothing is doubled
        return {"down": down[1:], "middle": [(decoder[-1], name) for name in ("in0", "in1")], "up": up[1:]}

    def _block(self, block: nn.Module, ours: str, theirs: str) -> dict[str, Recipe]:
        """Recipes of a block."""
        assert isinstance(block, Block)
        parts = BLOCK | ({"shortcut": "skip"} if isinstance(block.shortcut, nn.Conv2d) else {})
        recipes = layers(ours, theirs, parts)
        if isinstance(block.attention, Attention):
            num_heads = block.attention.num_heads

            def split(tensor: Tensor) -> Tensor:
                """Its outputs are of each head's first query, key and value, its second ones, and so on."""
                return tensor.unflatten(0, (num_heads, -1, 3)).movedim(2, 0).flatten(1, 2)

            recipes |= layers(f"{ours}.attention", theirs, {"norm": "norm2"})
            recipes |= layers(
                f"{ours}.attention",
                theirs,
                {"out": "proj"},
                lambda tensor: tensor.flatten(2) if tensor.ndim > 1 else tensor,
            )
            recipes |= attention(f"{ours}.attention", f"{theirs}.qkv", split)
        return recipes


class Edm(OneFile[Made]):
    """The family of EDM."""

    name = "edm"
    files = "a model of EDM: edm.json and model.safetensors, exported as docs/import.md says"
    settings_file = "edm.json"
    kind = Made
    without_effect = ("dropout", "use_fp16", "epsilon_t")

    def is_in(self, folder: Path) -> bool:
        if not super().is_in(folder) and any(folder.glob("*.pkl")):
            raise InputError(f"{next(folder.glob('*.pkl'))}: {EXPORT}")
        return super().is_in(folder)
