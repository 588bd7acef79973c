"""What a family of models that were made elsewhere has to say: of its files, and of what its settings state."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from lowerbound.files.records import read
from lowerbound.imports.conventions import Conventions
from lowerbound.imports.foreign import ForeignDenoiser
from lowerbound.imports.source import Source


@dataclass(frozen=True)
class Subject:
    """What a model is of.

    Arguments:
        shape: of an image, (C, H, W).
        num_classes: of labels that it takes; 0 for none.
    """

    shape: tuple[int, int, int]
    num_classes: int


@dataclass(frozen=True)
class Stated(ABC):
    """What a model's settings state, as its own code calls it."""

    @property
    def value_range(self) -> tuple[float, float]:
        """What black and white are in its data."""
        return -1.0, 1.0

    @abstractmethod
    def description(self) -> str:
        """What it is, in a few words."""

    @abstractmethod
    def subject(self, image_size: tuple[int, int] | None = None) -> Subject:
        """What it is of.

        Arguments:
            image_size: (H, W), in the place of its own.

        Raises:
            InputError: if its settings don't say.
        """

    @abstractmethod
    def build(self) -> nn.Module:
        """Its network, untrained.

        Raises:
            InputError: if its settings are not those of a network.
        """

    @abstractmethod
    def meaning(self) -> Conventions:
        """What its network is given and returns."""

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse examples that it is not of, by an InputError."""

    def arranged(self, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
        """Its weights by the names that they have in its network.

        Arguments:
            tensors: as `Family.read` returns them.
            path: where they are from, for messages.

        Raises:
            InputError: if they are not those of the network.
        """
        return tensors

    def denoiser(
        self, network: nn.Module, shape: tuple[int, ...], value_range: tuple[float, float], num_levels: int
    ) -> ForeignDenoiser:
        r"""A denoiser of images around its network, in its conventions.

        Arguments:
            network: its own.
            shape: of an image.
            value_range: of the model's data, in which the levels $0 ... K - 1$ go evenly from the lowest to the highest
                value; ours go from $-1 + 1/K$ to $1 - 1/K$ (`levels.level_centres`).
            num_levels: K.

        Raises:
            InputError: if its settings are none, or not of images of this shape.
        """
        self.check_shape(shape)
        meaning, (low, high) = self.meaning(), value_range
        return ForeignDenoiser(
            meaning.around(network),
            meaning.schedule,
            shape,
            meaning.target,
            meaning.time,
            scale=(high - low) / 2 * num_levels / (num_levels - 1),
            shift=(high + low) / 2,
            learned_variance=meaning.learned_variance,
        )


Kind = TypeVar("Kind", bound=Stated)


class Family(ABC, Generic[Kind]):
    """Models that one library writes.

    Attributes:
        name: of it.
        files: what its folders hold, for people.
        kind: what their settings state.
    """

    name: str
    files: str
    kind: type[Kind]

    @abstractmethod
    def is_in(self, folder: Path) -> bool:
        """Whether a folder holds such a model."""

    @abstractmethod
    def read(self, folder: Path) -> tuple[Source, dict[str, Tensor]]:
        """The model in a folder, and its weights.

        Raises:
            InputError: if it is none that is known here, or damaged.
        """

    def stated(self, settings: dict[str, Any], where: str | None = None) -> Kind:
        """What the settings of a model state.

        Arguments:
            settings: as a `Source` has them.
            where: they stand, for messages.

        Raises:
            InputError: if they are none.
        """
        return read(self.kind, settings, where or f"the settings of a model of {self.name}")
