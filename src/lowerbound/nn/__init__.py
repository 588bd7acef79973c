"""Networks: (x, gamma, cond) -> tensor, with no diffusion inside."""

from lowerbound.nn.embeddings import octaves
from lowerbound.nn.mlp import MLP
from lowerbound.nn.modulated import Inputs
from lowerbound.nn.patched import Patched
from lowerbound.nn.transformer import Transformer
from lowerbound.nn.unet import UNet

__all__ = ["MLP", "Inputs", "Patched", "Transformer", "UNet", "octaves"]
