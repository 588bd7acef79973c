"""The relatives of a diffusion model: variational autoencoders, and yardsticks from other families."""

from lowerbound.relatives.autoregressive import Autoregressive
from lowerbound.relatives.base import Relative
from lowerbound.relatives.flow import NormalizingFlow
from lowerbound.relatives.gan import GAN
from lowerbound.relatives.latent import LatentVariableModel, importance_weighted
from lowerbound.relatives.vae import VAE

RELATIVES: dict[str, type[Relative]] = {
    "vae": VAE,
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
    "LatentVariableModel",
    "NormalizingFlow",
    "Relative",
    "importance_weighted",
]
