"""A model that was made elsewhere: what a run keeps of it, and what a family of such models has to say."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lowerbound.denoiser import ForeignDenoiser
from lowerbound.errors import InputError


@dataclass(frozen=True)
class Source:
    """Where a model comes from, and all that makes a denoiser of its weights.

    Arguments:
        family: by which it was read, one of `FAMILIES`.
        settings: of its network and its noise, as its own files state them.
        value_range: what the lowest and the highest level of an image are in the model's data.
        files: that its weights and settings were read from, by their names, each with the SHA-256 of its bytes.
    """

    family: str
    settings: dict[str, Any]
    value_range: tuple[float, float]
    files: dict[str, str]

    def __post_init__(self) -> None:
        low, high = self.value_range
        if not -1e6 < low < high < 1e6:
            raise InputError(f"value_range is {low} to {high}: black comes first, below white")

    def spanning(self, value_range: tuple[float, float] | None) -> "Source":
        """The same, with another range of values where one is given."""
        return self if value_range is None else replace(self, value_range=value_range)


@dataclass(frozen=True)
class Subject:
    """What a model is of.

    Arguments:
        shape: of an image, (C, H, W).
        num_classes: of labels that it takes; 0 for none.
    """

    shape: tuple[int, int, int]
    num_classes: int


class Family(ABC):
    """Models that one library writes.

    Attributes:
        name: of it.
        files: what its folders hold, for people.
    """

    name: str
    files: str

    @abstractmethod
    def is_in(self, folder: Path) -> bool:
        """Whether a folder holds such a model."""

    @abstractmethod
    def read(self, folder: Path) -> tuple[Source, dict[str, Tensor]]:
        """The model in a folder, and its weights.

        Raises:
            InputError: if it is none that is known here, or damaged.
        """

    def arranged(self, source: Source, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
        """The weights of a model by the names that they have in its network.

        Arguments:
            source: the model.
            tensors: as `read` returns them.
            path: where they are from, for messages.

        Raises:
            InputError: if they are not those of the network.
        """
        return tensors

    @abstractmethod
    def description(self, source: Source) -> str:
        """What a model is, in a few words."""

    @abstractmethod
    def subject(self, source: Source, image_size: tuple[int, int] | None = None) -> Subject:
        """What a model is of.

        Arguments:
            source: the model.
            image_size: (H, W), in the place of its own.

        Raises:
            InputError: if its settings don't say.
        """

    @abstractmethod
    def network(self, source: Source) -> nn.Module:
        """Its network, untrained.

        Raises:
            InputError: if its settings are not those of a network.
        """

    @abstractmethod
    def denoiser(self, source: Source, network: nn.Module, shape: tuple[int, ...], num_levels: int) -> ForeignDenoiser:
        """A denoiser of images of `num_levels` levels around its `network`, in this model's conventions.

        Raises:
            InputError: if its settings are none, or not of images of this shape.
        """


def units(value_range: tuple[float, float], num_levels: int) -> dict[str, float]:
    r"""`scale` and `shift` of a model's data, whose levels $0 ... K - 1$ go evenly from the lowest to the highest value.

    Ours go from $-1 + 1/K$ to $1 - 1/K$ (`levels.level_centres`).
    """
    low, high = value_range
    return {"scale": (high - low) / 2 * num_levels / (num_levels - 1), "shift": (high + low) / 2}
