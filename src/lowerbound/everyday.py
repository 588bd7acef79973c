"""Marks of options: those that `--help` shows, the others being shown by `--help-all` alone; and settings that are none."""

from typing import Annotated, TypeVar

import tyro

T = TypeVar("T")
EVERYDAY = "everyday"

Everyday = Annotated[T, EVERYDAY]
"""An option that most people need: `steps: Everyday[int] = 100`."""
NoOption = Annotated[T, tyro.conf.Fixed, tyro.conf.Suppress]
"""A setting that has no option among those of its dataclass: `refine: NoOption[bool] = False`."""
