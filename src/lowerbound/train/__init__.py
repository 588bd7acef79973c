"""Training: a recipe gives a frozen configuration, the configuration a run folder."""

from lowerbound.train.config import Config
from lowerbound.train.recipes import recipe
from lowerbound.train.session import train

__all__ = ["Config", "recipe", "train"]
