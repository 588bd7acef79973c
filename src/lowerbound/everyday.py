"""The mark of the options that `--help` shows; the others are shown by `--help-all` alone."""

from typing import Annotated, TypeVar

T = TypeVar("T")
EVERYDAY = "everyday"

Everyday = Annotated[T, EVERYDAY]
"""An option that most people need: `steps: Everyday[int] = 100`."""
