"""The relatives of a diffusion model: variational autoencoders, and yardsticks from other families."""

from lowerbound.relatives.autoregressive import Autoregressive
from lowerbound.relatives.base import Relative
from lowerbound.relatives.flow import NormalizingFlow
from lowerbound.relatives.gan import GAN
from lowerbound.relatives.hierarchical import HierarchicalVAE, Hierarchy, as_hvae, form_a, form_b
from lowerbound.relatives.ladder import LadderVAE
from lowerbound.relatives.latent import LatentVariableModel, importance_weighted
from lowerbound.relatives.vae import VAE

RELATIVES: dict[str, type[Relative]] = {
    "vae": VAE,
    "hierarchical-vae": HierarchicalVAE,
    "ladder-vae": LadderVAE,
    "autoregressive": Autoregressive,
    "flow": NormalizingFlow,
    "gan": GAN,
}
"""Every relative by its name."""

__all__ = [
    "GAN",
    "RELATIVES",
    "VAE",
    "Autoregressive",
    "HierarchicalVAE",
    "Hierarchy",
    "LadderVAE",
    "LatentVariableModel",
    "NormalizingFlow",
    "Relative",
    "as_hvae",
    "form_a",
    "form_b",
    "importance_weighted",
]
