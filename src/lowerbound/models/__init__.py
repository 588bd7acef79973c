"""The family: diffusion models, variational autoencoders, and yardsticks from other families, behind one interface."""

from lowerbound.models.autoregressive import Autoregressive
from lowerbound.models.base import Draw, Effort, Losses, Model
from lowerbound.models.diffusion import Diffusion, Objective
from lowerbound.models.flow import NormalizingFlow
from lowerbound.models.gan import GAN
from lowerbound.models.hierarchical import HierarchicalVAE, Hierarchy, as_hvae, form_a, form_b
from lowerbound.models.ladder import LadderVAE
from lowerbound.models.latent import LatentVariableModel, importance_weighted
from lowerbound.models.vae import VAE

RELATIVES: dict[str, type[Model]] = {
    kind.name: kind for kind in (VAE, HierarchicalVAE, LadderVAE, Autoregressive, NormalizingFlow, GAN)
}
"""Every model that is no denoiser, by its name."""

__all__ = [
    "GAN",
    "RELATIVES",
    "VAE",
    "Autoregressive",
    "Diffusion",
    "Draw",
    "Effort",
    "HierarchicalVAE",
    "Hierarchy",
    "LadderVAE",
    "LatentVariableModel",
    "Losses",
    "Model",
    "NormalizingFlow",
    "Objective",
    "as_hvae",
    "form_a",
    "form_b",
    "importance_weighted",
]
