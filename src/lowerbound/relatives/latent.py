r"""Models with latent variables: importance weights, and the bounds and the density that follow from them.

For one draw $z \sim q(z | x)$ the log weight is $\log w = \log p(x, z) - \log q(z | x)$. Its mean is the evidence lower
bound, that of w itself is p(x), and between the two are the bounds of K draws (Burda et al. 2016, equation 8):

$$E \log w \;\le\; E \log \frac{1}{K} \sum_{k=1}^{K} w_k \;\le\; \log p(x),$$

which increase with K to $\log p(x)$ where w has a finite mean of its logarithm (theorem 1 there).
"""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import InputError
from lowerbound.relatives.base import Relative
from lowerbound.rng import Noise


class LatentVariableModel(Relative):
    """A relative that explains x by latent variables z, which an encoder q(z | x) draws."""

    @abstractmethod
    def log_weight(self, x: Float[Tensor, "batch *shape"], noise: Noise) -> Float[Tensor, "batch"]:
        r"""$\log p(x, z) - \log q(z | x)$ at one draw $z \sim q(z | x)$, nats; z are all latents together.

        Arguments:
            x: data, (B, *shape); of discrete data, the centres of their levels.
            noise: where z comes from.
        """


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
