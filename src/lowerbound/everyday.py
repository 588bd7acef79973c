"""Marks of options: those that `--help` shows, the others being shown by `--help-all` alone."""

from typing import Annotated, TypeVar

T = TypeVar("T")
EVERYDAY = "everyday"

Everyday = Annotated[T, EVERYDAY]
"""An option that most people need: `steps: Everyday[int] = 100`."""
