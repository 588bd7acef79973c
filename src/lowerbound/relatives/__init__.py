"""The relatives of a diffusion model: variational autoencoders, and yardsticks from other families."""

from lowerbound.relatives.base import Relative

RELATIVES: dict[str, type[Relative]] = {}
"""Every relative by its name."""

__all__ = ["RELATIVES", "Relative"]
