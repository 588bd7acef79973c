"""diffusers: pipelines of one network over images and a scheduler, in a folder that `save_pretrained` wrote.

The library builds the network, so that its output is the original's; what is ours is what its scheduler's settings mean
(`schedulers`). Images are in [-1, 1], those of variance exploding score SDEs in [0, 1].
"""

import inspect
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.files.whole import file_hash
from lowerbound.imports.conventions import Conventions, labels
from lowerbound.imports.family import Family, Stated, Subject
from lowerbound.imports.files import read_object, read_tensors
from lowerbound.imports.schedulers import OF_SCORES, SCHEDULERS, built, conventions, library
from lowerbound.imports.settings import is_size
from lowerbound.imports.source import Source
from lowerbound.words.printable import printable

NETWORKS = {"unet": "UNet2DModel", "transformer": "DiTTransformer2DModel"}
"""The class that a pipeline's network has to have, by the name of its part."""
PIPELINES = {"unet": "DDPMPipeline", "transformer": "DiTPipeline"}
"""The pipeline that a folder names which is written here."""
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
)
"""Files of weights, the first one that is there."""
FORMER_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""Of parts of attention, in files of before 2023, and what they are called since."""
WHATEVER_SIZE = (1, 1)
"""Of images, where nothing depends on it."""
MOST_LAYERS = 256
"""Of a network, or of each of its resolutions."""
MOST_POSITIONS = 1 << 28
"""Entries of a transformer's table of positions, which is computed at once."""


@dataclass(frozen=True)
class _Settings(Stated):
    """A source's settings, of the right types.

    Arguments:
        part: of the pipeline that the network is.
        network: what its class was made with.
        scheduler_class: the scheduler's.
        scheduler: what that was made with.
    """

    part: Literal["unet", "transformer"]
    network: dict[str, Any]
    scheduler_class: str
    scheduler: dict[str, Any]

    def __post_init__(self) -> None:
        if self.scheduler_class not in SCHEDULERS:
            raise InputError(
                f"the scheduler is {printable(self.scheduler_class)}: supported are {', '.join(SCHEDULERS)}"
            )

    @property
    def value_range(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.scheduler_class in OF_SCORES else (-1.0, 1.0)

    def description(self) -> str:
        return f"{NETWORKS[self.part]} with {self.scheduler_class}, of diffusers"

    def subject(self, image_size: tuple[int, int] | None = None) -> Subject:
        network = self.full_network
        channels, size = network.get("in_channels"), image_size or network.get("sample_size")
        size = [size, size] if isinstance(size, int) else size
        if size is None:
            raise InputError(
                "the network's settings have no sample_size: give image_size, height and width of its images"
            )
        if not isinstance(size, list | tuple) or len(size) != 2 or not all(map(is_size, (channels, *size))):
            raise InputError(
                f"in_channels is {channels!r} and sample_size {size!r}: no images, of whole numbers from 1"
            )
        assert isinstance(channels, int)
        num_classes = network.get("num_embeds_ada_norm", network.get("num_class_embeds"))
        if num_classes is not None and not is_size(num_classes, 1 << 20):
            raise InputError(f"the network's settings call for {num_classes!r} classes")
        return Subject((channels, size[0], size[1]), num_classes or 0)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        channels = self.full_network["in_channels"]
        if len(shape) != 3 or shape[0] != channels:
            raise InputError(f"the model is of images of {channels} channels, not of examples of shape {shape}")

    def build(self) -> nn.Module:
        self.check_network()
        name = NETWORKS[self.part]
        kind = getattr(library(), name)
        known = inspect.signature(kind).parameters
        if unknown := [key for key in self.network if key not in known]:
            raise InputError(
                f"the settings of the {name} have {printable(unknown[0])!r}, which this version of diffusers does not "
                "know: install a newer one"
            )
        network = built(kind, self.network, name)
        assert isinstance(network, nn.Module)
        return network

    def meaning(self) -> Conventions:
        meaning, subject = conventions(self.scheduler_class, self.scheduler), self.subject(WHATEVER_SIZE)
        learned = self.num_outputs == 2 and self.scheduler.get("variance_type") == "learned_range"

        def around(network: nn.Module) -> nn.Module:
            called = Called(
                network,
                num_classes=subject.num_classes,
                has_null=self.part == "transformer",
                whole_steps=self.full_network.get("time_embedding_type") == "learned",
                num_channels=subject.shape[0] * (1 + learned),
            )
            return meaning.around(called)

        return replace(meaning, around=around, learned_variance=learned)

    @property
    def full_network(self) -> dict[str, Any]:
        """The network's settings with the defaults of those that were not given."""
        parameters = inspect.signature(getattr(library(), NETWORKS[self.part])).parameters
        defaults = {
            name: each.default for name, each in parameters.items() if each.default is not inspect.Parameter.empty
        }
        return {**defaults, **self.network}

    @property
    def num_outputs(self) -> int:
        """How many outputs the network has for each entry: 1, or 2 with a reverse variance among them."""
        network = self.full_network
        channels, outputs = network["in_channels"], network["out_channels"]
        outputs = channels if outputs is None else outputs
        if not is_size(channels) or outputs not in (channels, 2 * channels):
            raise InputError(
                f"the network has {outputs} output channels for {channels} of the image: a denoiser has as many, or twice "
                "as many with a reverse variance"
            )
        if outputs == 2 * channels and self.scheduler.get("variance_type") == "learned":
            raise InputError("variance_type is 'learned': a learned variance is read as 'learned_range' alone")
        return outputs // channels

    def check_network(self) -> None:
        """Refuse what the library would compute at length before it could be refused, or what takes another condition."""
        network, _ = self.full_network, self.num_outputs
        if network.get("class_embed_type") is not None:
            raise InputError(
                f"class_embed_type is {network['class_embed_type']!r}: a network is given labels (num_class_embeds) or "
                "nothing"
            )
        for name in ("layers_per_block", "num_layers"):
            if not is_size(network.get(name, 1), MOST_LAYERS):
                raise InputError(f"{name} is {network[name]!r}: a whole number from 1 to {MOST_LAYERS}")
        if self.part != "transformer":
            return
        names = ("sample_size", "patch_size", "num_attention_heads", "attention_head_dim")
        sizes = [network[name] for name in names]
        if not all(map(is_size, sizes)) or (sizes[0] // sizes[1]) ** 2 * sizes[2] * sizes[3] > MOST_POSITIONS:
            listed = ", ".join(f"{name} {size!r}" for name, size in zip(names, sizes, strict=True))
            raise InputError(f"the transformer's settings are {listed}: too large, or no whole numbers from 1")


class Diffusers(Family[_Settings]):
    """The family of diffusers' pipelines."""

    name = "diffusers"
    files = "a pipeline: model_index.json, unet/ or transformer/, scheduler/"
    kind = _Settings

    def is_in(self, folder: Path) -> bool:
        return (folder / "model_index.json").is_file()

    def read(self, folder: Path) -> tuple[Source, dict[str, Tensor]]:
        part = _part(folder)
        paths = [folder / part / "config.json", folder / "scheduler" / "scheduler_config.json"]
        network, scheduler = map(read_object, paths)
        index = read_object(folder / "model_index.json")
        settings = {
            "part": part,
            "network": _named_settings(network),
            "scheduler_class": index["scheduler"][1],
            "scheduler": _named_settings(scheduler),
        }
        value_range = self.stated(settings).value_range
        for path, values, listed in zip(paths, (network, scheduler), (part, "scheduler"), strict=True):
            kind = index[listed][1]
            if (own := values.get("_class_name", kind)) != kind:
                raise InputError(
                    f"{path} holds the settings of {printable(str(own))}, and model_index.json calls for {kind}: "
                    "name the class that was trained in both"
                )
        weights = weights_in(folder / part)
        tensors = {_present_name(name): tensor for name, tensor in read_tensors(weights).items()}
        files = [folder / "model_index.json", *paths, weights]
        hashes = {path.relative_to(folder).as_posix(): file_hash(path) for path in files}
        return Source(self.name, settings, value_range, hashes), tensors

    def write(self, source: Source, module: nn.Module, folder: Path) -> None:
        """Write a pipeline's folder, as `read` reads it.

        Arguments:
            source: the model.
            module: of its denoiser, in which the network is.
            folder: to be made.
        """
        settings = self.stated(source.settings)
        network = next(part for part in module.modules() if isinstance(part, Called)).model
        kinds = {settings.part: NETWORKS[settings.part], "scheduler": settings.scheduler_class}
        index = {"_class_name": PIPELINES[settings.part], **{part: ["diffusers", kind] for part, kind in kinds.items()}}
        files = {
            folder / "model_index.json": index,
            folder / settings.part / "config.json": {"_class_name": kinds[settings.part], **settings.network},
            folder / "scheduler" / "scheduler_config.json": {
                "_class_name": settings.scheduler_class,
                **settings.scheduler,
            },
        }
        for path, values in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values, indent=2) + "\n")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
        save_file(tensors, folder / settings.part / WEIGHTS[0], metadata={"format": "pt"})


class Called(nn.Module):
    """A network of diffusers as a function of x, its time and labels.

    Arguments:
        model: the network.
        num_classes: of labels; 0 for none.
        has_null: whether the number behind the last class stands for no label.
        whole_steps: whether its time is a whole number.
        num_channels: of its output, those that are made use of.
    """

    def __init__(self, model: nn.Module, *, num_classes: int, has_null: bool, whole_steps: bool, num_channels: int):
        super().__init__()
        self.model = model
        self.num_classes = num_classes
        self.has_null = has_null
        self.whole_steps = whole_steps
        self.num_channels = num_channels

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        time = time.round().long() if self.whole_steps else time
        classes = labels(x, cond, self.num_classes, self.num_classes if self.has_null else None)
        return self.model(x, time, class_labels=classes).sample[:, : self.num_channels]


def weights_in(folder: Path) -> Path:
    """The file of weights of a pipeline's network.

    Raises:
        InputError: if there is none, or they are in several.
    """
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        names = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise InputError(
            f"{folder} holds {names}, and none of {', '.join(WEIGHTS)}: save the weights in one file, by "
            "save_pretrained(..., max_shard_size='1TB') where they are in several"
        )
    return weights


def _part(folder: Path) -> str:
    """The part of a pipeline that is its network.

    Raises:
        InputError: if it has other parts than a network that is known and a scheduler.
    """
    index = read_object(folder / "model_index.json")
    parts = {}
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or value == [None, None]:
            continue
        if len(value) != 2 or not all(isinstance(each, str) for each in value):
            raise InputError(
                f"{folder / 'model_index.json'}: {printable(name)} is {value!r:.60}, not a library and a class"
            )
        parts[name] = tuple(value)
    network = next((part for part, kind in NETWORKS.items() if parts.get(part) == ("diffusers", kind)), None)
    scheduler = parts.get("scheduler", ("", ""))
    if network is not None and set(parts) == {network, "scheduler"} and scheduler == ("diffusers", scheduler[1]):
        return network
    components = ", ".join(f"{name} ({'.'.join(kind)})" for name, kind in parts.items()) or "nothing"
    kinds = " or ".join(f"{part} (diffusers.{kind})" for part, kind in NETWORKS.items())
    latent = any(name.startswith(("vae", "vqvae", "movq")) for name in parts)
    raise InputError(
        f"the pipeline in {folder} is made of {printable(components)}; supported is one of {kinds}, and a scheduler of "
        "diffusers" + ("; a model of latents has no likelihood of images without its decoder's" if latent else "")
    )


def _named_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Without what the library notes of itself."""
    return {name: value for name, value in values.items() if not name.startswith("_")}


def _present_name(name: str) -> str:
    for former, present in FORMER_NAMES.items():
        name = name.replace(former, present)
    return name
