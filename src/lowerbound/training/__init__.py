"""Training: a recipe gives a frozen configuration, the configuration a run folder."""

from lowerbound.training.config import Config
from lowerbound.training.entry import train
from lowerbound.training.recipes import recipe

__all__ = ["Config", "recipe", "train"]
