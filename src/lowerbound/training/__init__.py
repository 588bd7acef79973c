"""Training: a recipe gives a frozen configuration, the configuration a run folder."""

from lowerbound.training.config import Config
from lowerbound.training.recipes import recipe
from lowerbound.training.session import train

__all__ = ["Config", "recipe", "train"]
