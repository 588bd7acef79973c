"""Where a model that was made elsewhere comes from, as a run keeps it."""

from dataclasses import dataclass, replace
from typing import Any

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
