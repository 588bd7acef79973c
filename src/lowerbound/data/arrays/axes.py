"""What the axes of fields are: variables and dimensions by their names, with units and coordinates."""

import math
from dataclasses import dataclass

from lowerbound.errors import InputError
from lowerbound.words.brief import Brief


@dataclass(frozen=True, repr=False)
class Axes(Brief):
    """Names for the axes of examples of shape (C, *spatial).

    Arguments:
        variables: one for each channel.
        units: of each variable, "" where none is known.
        sample_dim: the dimension that counts examples.
        dims: the spatial dimensions.
        coordinates: along each of `dims`; nothing where none are known, or they are no numbers.
        coordinate_units: of each of `dims`, "" where none is known.

    Raises:
        InputError: if their numbers do not go together.
    """

    variables: tuple[str, ...]
    units: tuple[str, ...]
    sample_dim: str
    dims: tuple[str, ...]
    coordinates: tuple[tuple[float, ...], ...]
    coordinate_units: tuple[str, ...]

    def __post_init__(self):
        if len(self.units) != len(self.variables) or not (
            len(self.dims) == len(self.coordinates) == len(self.coordinate_units)
        ):
            raise InputError("there is one unit for each variable, and coordinates and a unit for each dimension")
        names = (*self.variables, self.sample_dim, *self.dims)
        if len(set(names)) < len(names):
            raise InputError("two variables or dimensions have the same name")
        if not all(math.isfinite(value) for along in self.coordinates for value in along):
            raise InputError("coordinates are finite")

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse, with an InputError, what are not the axes of examples of this shape."""
        fits = len(shape) == 1 + len(self.dims) and shape[0] == len(self.variables)
        lengths = zip(self.coordinates, shape[1:], strict=False)
        if not fits or not all(len(along) in (0, size) for along, size in lengths):
            raise InputError(
                f"axes of {len(self.variables)} variables over {len(self.dims)} dimensions, which are others"
            )

    @property
    def with_units(self) -> tuple[str, ...]:
        """The variables, each with its unit."""
        return tuple(
            f"{name} ({unit})" if unit else name for name, unit in zip(self.variables, self.units, strict=True)
        )

    def __str__(self) -> str:
        """For people: what there is, with units, and the numbers by which the network knows the dimensions."""
        dims = [f"{name} (axis {number})" for number, name in enumerate(self.dims)]
        return f"{', '.join(self.with_units)}{' over ' * bool(dims)}{', '.join(dims)}; examples along {self.sample_dim}"
