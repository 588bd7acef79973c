"""Families whose folders hold one file of weights beside one of settings, and whose network is `unet.UNet`."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.files.whole import file_hash
from lowerbound.imports.family import Family, Kind, Stated, Subject
from lowerbound.imports.files import check_names, read_object, read_tensors
from lowerbound.imports.settings import MOST_PIXELS, is_size
from lowerbound.imports.source import Source
from lowerbound.imports.unet import UNet
from lowerbound.words.printable import printable

Recipe = tuple[str, Callable[[Tensor], Tensor]]
"""The name of one of their tensors, and what makes one of ours of it."""
SUFFIXES = (".safetensors", ".pt", ".pth")
"""Of files of weights."""


@dataclass(frozen=True)
class OfUNet(Stated):
    """Of a model whose network is a `UNet`."""

    @property
    @abstractmethod
    def trained_on(self) -> Subject:
        """What it is of, and no other."""

    @abstractmethod
    def build(self) -> UNet:
        """Its network, untrained."""

    @abstractmethod
    def recipes(self, network: UNet) -> dict[str, Recipe]:
        """Of each tensor of the network, what it is made of."""

    def subject(self, image_size: tuple[int, int] | None = None) -> Subject:
        subject = self.trained_on
        if not all(map(is_size, subject.shape)):
            raise InputError(f"the model is of images of shape {subject.shape}: whole numbers from 1 to {MOST_PIXELS}")
        if image_size is not None and image_size != subject.shape[1:]:
            raise InputError(
                f"image_size is {image_size}, and the model is of images of {subject.shape[1:]}: its attention is at fixed "
                "resolutions, leave it out"
            )
        return subject

    def check_shape(self, shape: tuple[int, ...]) -> None:
        subject = self.subject()
        if tuple(shape) != subject.shape:
            raise InputError(f"the model is of images of shape {subject.shape}, not of examples of shape {shape}")

    def arranged(self, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
        with torch.device("meta"):
            network = self.build()
        return arranged(network, self.recipes(network), tensors, path)


class OneFile(Family[Kind]):
    """A family of such folders.

    Attributes:
        settings_file: the name of the file of settings.
        without_effect: settings of training and sampling, which have no part in the model.
    """

    settings_file: str
    without_effect: tuple[str, ...] = ()

    def settings(self, values: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Those of a file's settings that matter to the model, with what its tensors say of it."""
        return {name: value for name, value in values.items() if name not in self.without_effect}

    def is_in(self, folder: Path) -> bool:
        return (folder / self.settings_file).is_file()

    def read(self, folder: Path) -> tuple[Source, dict[str, Tensor]]:
        weights = self.weights(folder)
        tensors = self.tensors(weights)
        settings = self.settings(read_object(folder / self.settings_file), tensors)
        hashes = {path.name: file_hash(path) for path in (folder / self.settings_file, weights)}
        value_range = self.stated(settings, str(folder / self.settings_file)).value_range
        return Source(self.name, settings, value_range, hashes), tensors

    def weights(self, folder: Path) -> Path:
        """The one file of weights in a folder.

        Raises:
            InputError: if there is none, or there are several.
        """
        paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
        if len(paths) != 1:
            names = ", ".join(path.name for path in sorted(folder.iterdir()))
            raise InputError(
                f"{folder} holds {printable(names)}: one file of weights is needed beside {self.settings_file}, of "
                f"{', '.join(SUFFIXES)}"
            )
        return paths[0]

    def tensors(self, path: Path) -> dict[str, Tensor]:
        """The tensors of a file of weights, by the names that the model's own code gives them."""
        return read_tensors(path)


def arranged(
    network: nn.Module, recipes: Mapping[str, Recipe], tensors: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Tensors of others by the names, and in the shapes, that they have in a network.

    Arguments:
        network: whose tensors they are to be.
        recipes: of each of these.
        tensors: by their own names.
        path: where they are from, for messages.

    Raises:
        InputError: if one is missing, too many, or of a shape of which nothing can be made.
    """
    check_names({name for name, _ in recipes.values()}, tensors.keys(), path)
    made = {}
    for ours, own in network.state_dict().items():
        name, make = recipes[ours]
        try:
            made[ours] = make(tensors[name])
        except (RuntimeError, IndexError, ValueError) as error:
            raise InputError(
                f"{path}: {printable(name)} has the shape {tuple(tensors[name].shape)}, of which nothing can be made here"
            ) from error
        if made[ours].shape != own.shape:
            raise InputError(
                f"{path}: {printable(name)} has the shape {tuple(tensors[name].shape)}, and its settings call for one of "
                f"which {ours} of {tuple(own.shape)} can be made"
            )
    return made


def unchanged(tensor: Tensor) -> Tensor:
    """The tensor."""
    return tensor


def layers(
    ours: str, theirs: str, parts: Mapping[str, str], make: Callable[[Tensor], Tensor] = unchanged
) -> dict[str, Recipe]:
    """Recipes of the weights and biases of layers that are the same but for their names.

    Arguments:
        ours, theirs: what the names begin with.
        parts: of our layers' names, theirs.
        make: makes one of ours of one of theirs.
    """
    return {
        ".".join(filter(None, (ours, own, kind))): (".".join(filter(None, (theirs, part, kind))), make)
        for own, part in parts.items()
        for kind in ("weight", "bias")
    }


def attention(ours: str, theirs: str, split: Callable[[Tensor], Tensor]) -> dict[str, Recipe]:
    """Recipes of query, key and value, which are one layer there.

    Arguments:
        ours, theirs: the layers' names, ours without the last part.
        split: of its outputs' axis, makes one of three and as many as each has.
    """

    def part(number: int) -> Callable[[Tensor], Tensor]:
        def make(tensor: Tensor) -> Tensor:
            return split(tensor.flatten(1))[number][..., None] if tensor.ndim > 1 else split(tensor)[number]

        return make

    return {
        f"{ours}.{name}.{kind}": (f"{theirs}.{kind}", part(number))
        for number, name in enumerate(("query", "key", "value"))
        for kind in ("weight", "bias")
    }
