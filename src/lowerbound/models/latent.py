r"""Models with latent variables: importance weights, and the bounds and the density that follow from them.

For one draw $z \sim q(z | x)$ the log weight is $\log w = \log p(x, z) - \log q(z | x)$. Its mean is the evidence lower
bound, that of w itself is p(x), and between the two are the bounds of K draws (Burda et al. 2016, equation 8):

$$E \log w \;\le\; E \log \frac{1}{K} \sum_{k=1}^{K} w_k \;\le\; \log p(x),$$

which increase with K to $\log p(x)$ where w has a finite mean of its logarithm (theorem 1 there).
"""

import math
from abc import abstractmethod
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from lowerbound.encoder import Normal
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo
from lowerbound.models.base import ONE_DRAW, Effort, Model
from lowerbound.rng import Noise

MIN_STD = 1e-4
"""The smallest standard deviation of a latent, in encoders and in priors."""


class LatentVariableModel(Model):
    """A model that explains x by latent variables z, which an encoder q(z | x) draws."""

    @abstractmethod
    def log_weight(self, x: Float[Tensor, "batch *shape"], noise: Noise) -> Float[Tensor, "batch"]:
        r"""$\log p(x, z) - \log q(z | x)$ at one draw $z \sim q(z | x)$, nats; z are all latents together.

        Arguments:
            x: data, (B, *shape); of discrete data, the centres of their levels.
            noise: where z comes from.
        """

    def elbo(
        self,
        x: Float[Tensor, "batch *shape"],
        noise: Noise,
        effort: Effort = ONE_DRAW,
        place: Float[Tensor, "batch"] | None = None,
    ) -> Elbo:
        """As of every `Model`; the importance-weighted bound has no terms, and all of it stands as reconstruction."""
        if effort.importance == 1:
            return super().elbo(x, noise, effort, place)
        weighted = importance_weighted(self, x, effort.importance, noise)
        nothing = torch.zeros_like(weighted)
        return Elbo(weighted, nothing, nothing, torch.full_like(weighted, self.num_dims))

    def completed(self, effort: Effort) -> Effort:
        plain = super().completed(replace(effort, importance=1))
        return replace(plain, num_draws=1, importance=effort.importance) if effort.importance > 1 else plain


@torch.no_grad()
def importance_weighted(
    model: LatentVariableModel, x: Float[Tensor, "batch *shape"], num_samples: int, noise: Noise
) -> Float[Tensor, "batch"]:
    r"""$\log \frac1K \sum_k p(x, z_k) / q(z_k | x)$, a tighter bound on $\log p(x)$, nats (Burda et al. 2016, equation 8).

    It is the ELBO for K = 1. The draws are made one after the other: K costs time and no memory.

    Arguments:
        model: any model with latent variables.
        x: data, (B, *shape).
        num_samples: K.
        noise: where the latents come from.

    Raises:
        InputError: if K is less than one, or x is of another shape than the model's.
    """
    if num_samples < 1:
        raise InputError(f"an importance-weighted bound of {num_samples} samples: at least one is needed")
    model.check(x)
    total = x.new_full((len(x),), -torch.inf, dtype=torch.float64)
    for _ in range(num_samples):
        total = torch.logaddexp(total, model.log_weight(x, noise).double())
    return (total - math.log(num_samples)).to(x.dtype)


def standard_normal(like: Float[Tensor, "batch *shape"]) -> Normal:
    """N(0, I) of the shape, type and device of `like`."""
    return Normal(torch.zeros_like(like), 1.0)


def positive_std(raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A standard deviation of any number: one of zero."""
    return MIN_STD + softplus(raw + math.log(math.e - 1))


def kl_weight(warmup: float, progress: float) -> float:
    """The weight of the KL when so much of the training is done: it rises from 0 to 1 over the warm-up's share."""
    return min(1.0, progress / warmup) if warmup else 1.0


def check_kl(free_bits: float, warmup: float) -> None:
    """Refuse what is no share of a training and no number of nats, by an InputError."""
    if not (free_bits >= 0 and 0 <= warmup <= 1):
        raise InputError(f"free_bits={free_bits}, warmup={warmup}: the first is 0 or more, the second from 0 to 1")
