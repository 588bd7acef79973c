"""What the relatives of a diffusion model have in common: each is trained, scored and sampled like it.

Their figures are the bound's three terms too (`likelihood.Elbo`). A VAE has no steps between its prior and its data, so
that its diffusion term is zero; an autoregressive model and a flow have no latents at all, so that the reconstruction is
the whole log density; a GAN has none of them, and says so.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo
from lowerbound.rng import Noise

LikelihoodKind = Literal["exact", "bound", "none"]


class Relative(nn.Module, ABC):
    r"""A model of x that stands beside the diffusion models.

    Arguments:
        shape: the shape of one example, (D,) or (C, *spatial).
        num_levels: K of discrete data, whose x are the centres of their levels (`levels.level_centres`); None: continuous
            data of about unit variance.

    Attributes:
        likelihood: whether `elbo` is exact, a bound, or not there at all.
        no_likelihood: the reason why there is none, or None.
    """

    likelihood: LikelihoodKind = "bound"
    no_likelihood: str | None = None

    def __init__(self, shape: tuple[int, ...], num_levels: int | None):
        super().__init__()
        self.shape = tuple(shape)
        self.num_levels = num_levels

    @abstractmethod
    def loss(self, x: Float[Tensor, "batch *shape"], noise: Noise, progress: float = 1.0) -> Float[Tensor, "batch"]:
        """What training minimises, of each example, in nats where it is a likelihood.

        Arguments:
            x: data, (B, *shape).
            noise: where everything random comes from.
            progress: how much of the training is done, 0 to 1, for what changes on the way.
        """

    @abstractmethod
    def elbo(self, x: Float[Tensor, "batch *shape"], noise: Noise) -> Elbo:
        r"""$\log p(x)$ or an unbiased estimate of a bound on it, in the bound's three terms, each (B,), nats.

        Raises:
            InputError: of a model that has no likelihood, with the reason.
        """

    @abstractmethod
    def sample(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        """Draws from the model.

        Arguments:
            num_samples: how many.
            noise: where they come from; of `PerSample` with as many seeds each sample depends on its seed alone.
        """

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device

    def check(self, x: Tensor) -> None:
        """Refuse a batch of another shape by an InputError."""
        if x.shape[1:] != self.shape:
            raise InputError(
                f"the model works on examples of shape {self.shape}, but the batch has the shape {tuple(x.shape)}: give "
                f"(batch, {', '.join(map(str, self.shape))})"
            )
