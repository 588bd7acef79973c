r"""ADM and improved diffusion: a U-Net's weights as their training writes them, beside the flags of their scripts.

The folder holds `adm.json`, an object of the flags that were given to the scripts of guided-diffusion or
improved-diffusion (`{"image_size": 64, "num_channels": 128, ...}`; those that are not named have the scripts' defaults),
and one file of weights. The number of image channels and of classes is that of the tensors. The chain is DDPM's, of a
table of betas; with `learn_sigma` the network says its reverse variance as well (Nichol & Dhariwal 2021, equation 15).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.imports.conventions import Conventions
from lowerbound.imports.family import Subject
from lowerbound.imports.one_file import OfUNet, OneFile, Recipe, attention, layers, unchanged
from lowerbound.imports.settings import check_steps, chosen, is_size
from lowerbound.imports.unet import ADM, Attention, Block, Sines, Style, UNet
from lowerbound.schedule import betas, from_betas

MULTIPLIERS = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}
"""Of the width at each resolution, by the size of the images, where no other are given."""
BLOCK = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "modulate": "emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
}


@dataclass(frozen=True)
class Flags(OfUNet):
    """The flags of the scripts; `in_channels` and `num_classes` (0 for none) are of the tensors."""

    in_channels: int
    num_classes: int
    image_size: int = 64
    num_channels: int = 128
    num_res_blocks: int = 2
    num_heads: int = 4
    num_heads_upsample: int = -1
    num_head_channels: int = -1
    attention_resolutions: str = "16,8"
    channel_mult: str = ""
    class_cond: bool = False
    learn_sigma: bool = False
    use_scale_shift_norm: bool = True
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    diffusion_steps: int = 1000
    noise_schedule: str = "linear"
    rescale_timesteps: bool | None = None
    predict_xstart: bool = False

    def __post_init__(self) -> None:
        for name in ("in_channels", "image_size", "num_channels", "num_res_blocks", "num_heads"):
            if not is_size(value := getattr(self, name)):
                raise InputError(f"{name} is {value}: a whole number from 1 to 8192")
        check_steps(self.diffusion_steps, "diffusion_steps")
        if self.num_heads_upsample not in (-1, self.num_heads):
            raise InputError(
                f"num_heads_upsample is {self.num_heads_upsample}: another number of heads on the way up is not supported"
            )
        if self.num_head_channels != -1 and not is_size(self.num_head_channels):
            raise InputError(
                f"num_head_channels is {self.num_head_channels}: a whole number from 1, or -1 for num_heads"
            )
        if self.rescale_timesteps is None and self.diffusion_steps != 1000:
            raise InputError(
                f"of {self.diffusion_steps} steps rescale_timesteps has to be said: where it was not given, it was true in "
                "improved-diffusion, false in guided-diffusion"
            )
        if bool(self.num_classes) != self.class_cond:
            raise InputError(
                f"class_cond is {str(self.class_cond).lower()}, and the weights hold {self.num_classes or 'no'} classes"
            )
        if len(self.multipliers) > 12:
            raise InputError(f"channel_mult is {self.channel_mult}: at most 12 resolutions")

    @property
    def multipliers(self) -> tuple[float, ...]:
        """Of the width at each resolution."""
        if self.channel_mult:
            return _whole_numbers(self.channel_mult, "channel_mult")
        if self.image_size not in MULTIPLIERS:
            raise InputError(
                f"image_size is {self.image_size} and channel_mult is not given: it is known for "
                f"{', '.join(map(str, MULTIPLIERS))} only"
            )
        return MULTIPLIERS[self.image_size]

    @property
    def style(self) -> Style:
        """Of the network's parts."""

        def num_heads(channels: int) -> int:
            return self.num_heads if self.num_head_channels == -1 else channels // self.num_head_channels

        taps = ADM.taps if self.resblock_updown else ()
        return replace(ADM, num_heads=num_heads, is_scaled=self.use_scale_shift_norm, taps=taps)

    @property
    def trained_on(self) -> Subject:
        return Subject((self.in_channels, self.image_size, self.image_size), self.num_classes)

    def description(self) -> str:
        return f"the U-Net of ADM or improved diffusion, {self.diffusion_steps:,} steps, {self.noise_schedule} betas"

    def build(self) -> UNet:
        widths = [int(multiplier * self.num_channels) for multiplier in self.multipliers]
        rates = [
            self.image_size // resolution
            for resolution in _whole_numbers(self.attention_resolutions, "attention_resolutions")
        ]
        return UNet(
            self.style,
            self.in_channels,
            self.in_channels * (1 + self.learn_sigma),
            widths,
            self.num_res_blocks,
            {level for level in range(len(widths)) if 1 << level in rates},
            Sines(self.num_channels),
            4 * self.num_channels,
            num_classes=self.num_classes,
            first_width=widths[0],
        )

    def meaning(self) -> Conventions:
        steps, stretch = self.diffusion_steps, 1000 / self.diffusion_steps
        tables = {
            "linear": lambda: betas.linear(steps, 1e-4 * stretch, 0.02 * stretch),
            "cosine": lambda: betas.cosine(steps),
        }
        table = chosen(tables, self.noise_schedule, "noise_schedule", "model of ADM")()
        scale = (steps - 1) * (stretch if self.rescale_timesteps else 1.0)
        target = "x" if self.predict_xstart else "eps"
        schedule = from_betas(table)
        return Conventions(schedule, target, lambda level: scale * level.t, learned_variance=self.learn_sigma)

    def recipes(self, network: UNet) -> dict[str, Recipe]:
        recipes = layers("embed", "time_embed", {"0": "0", "1": "2"})
        recipes |= layers("into", "input_blocks.0", {"": "0"})
        recipes |= layers("exits", "out", {f"{len(network.up) - 1}.norm": "0", f"{len(network.up) - 1}.conv": "2"})
        if self.num_classes:
            recipes["label"] = ("label_emb.weight", unchanged)
        for number, block in enumerate(network.middle):
            recipes |= self._block(block, f"middle.{number}", "middle_block", 2 * number)
        for number, block in enumerate(network.down):
            recipes |= self._block(block, f"down.{number}", f"input_blocks.{number + 1}", 0)
        block_number, part = -1, 0
        for number, block in enumerate(network.up):
            is_resampling = not isinstance(block, Block) or block.direction
            block_number, part = (block_number, part) if is_resampling else (block_number + 1, 0)
            recipes |= self._block(block, f"up.{number}", f"output_blocks.{block_number}", part)
            part = 1 + isinstance(getattr(block, "attention", None), Attention)
        return recipes

    def _block(self, block: torch.nn.Module, ours: str, theirs: str, part: int) -> dict[str, Recipe]:
        """Recipes of a block or a convolution that changes the resolution, whose part has this number."""
        if not isinstance(block, Block):
            return layers(ours, f"{theirs}.{part}", {"conv": "op" if block.direction == "down" else "conv"})
        parts = BLOCK | ({"shortcut": "skip_connection"} if isinstance(block.shortcut, torch.nn.Conv2d) else {})
        recipes = layers(ours, f"{theirs}.{part}", parts)
        if isinstance(block.attention, Attention):
            num_heads = block.attention.num_heads

            def split(tensor: Tensor) -> Tensor:
                """Its outputs are of each head's query, key and value, or of all queries, all keys, all values."""
                if self.use_new_attention_order:
                    return tensor.unflatten(0, (3, -1))
                return tensor.unflatten(0, (num_heads, 3, -1)).transpose(0, 1).flatten(1, 2)

            name = f"{theirs}.{part + 1}"
            recipes |= layers(f"{ours}.attention", name, {"norm": "norm", "out": "proj_out"})
            recipes |= attention(f"{ours}.attention", f"{name}.qkv", split)
        return recipes


class Adm(OneFile[Flags]):
    """The family of ADM and improved diffusion."""

    name = "adm"
    files = "a model of ADM or improved diffusion: adm.json, the flags of its scripts, and one .pt or .safetensors"
    settings_file = "adm.json"
    kind = Flags
    without_effect = (
        "dropout",
        "use_fp16",
        "use_checkpoint",
        "use_kl",
        "rescale_learned_sigmas",
        "sigma_small",
        "timestep_respacing",
    )

    def settings(self, values: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        for name, axis in (("input_blocks.0.0.weight", 1), ("label_emb.weight", 0)):
            if name in tensors and tensors[name].ndim <= axis:
                raise InputError(f"{name} has the shape {tuple(tensors[name].shape)}: it is no table of weights")
        first, label = tensors.get("input_blocks.0.0.weight"), tensors.get("label_emb.weight")
        if first is None:
            raise InputError("the weights lack input_blocks.0.0.weight, the first layer of a U-Net of ADM")
        settings = super().settings(values, tensors)
        return {**settings, "in_channels": first.shape[1], "num_classes": 0 if label is None else len(label)}


def _whole_numbers(text: str, name: str) -> tuple[int, ...]:
    """Numbers with commas between them.

    Raises:
        InputError: if they are none.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{name} is {text!r:.60}: whole numbers with commas between them") from error
    if not all(map(is_size, numbers)):
        raise InputError(f"{name} is {text!r:.60}: whole numbers from 1")
    return numbers
