r"""Models with latent variables: importance weights, and the bounds and the density that follow from them.

For one draw $z \sim q(z | x)$ the log weight is $\log w = \log p(x, z) - \log q(z | x)$. Its mean is the evidence lower
bound, that of w itself is p(x), and between the two are the bounds of K draws (Burda et al. 2016, equation 8):

$$E \log w \;\le\; E \log \frac{1}{K} \sum_{k=1}^{K} w_k \;\le\; \log p(x),$$

which increase with K to $\log p(x)$ where w has a finite mean of its logarithm (theorem 1 there).
"""

import math
from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from lowerbound.encoder import Normal
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo
from lowerbound.models.base import ONE_DRAW, Effort, Model
from lowerbound.models.output import output
from lowerbound.rng import Noise
from lowerbound.settings import check_least
from lowerbound.shapes import Examples, PerExample

MIN_STD = 1e-4
"""The smallest standard deviation of a latent, in encoders and in priors."""


class LatentVariableModel(Model):
    """A model that explains x by latent variables z, which an encoder q(z | x) draws.

    Arguments:
        shape, num_levels: as of every `Model`.
        decoder: the distribution of x given z, one of `output.OUTPUTS`; None: what suits the data.
        decoder_components: of a decoder that is a mixture of logistics.
        std: the standard deviation of a Gaussian decoder; None: learned.
        free_bits: nats for each latent below which training does not press its term.
        warmup: the share of the training over which the weight of the latents' terms rises from 0 to 1.

    Attributes:
        output: the decoder.
        parameters_shape: the shape of what it is read from, of one example.

    Raises:
        InputError: a decoder that does not fit the data, or what is no number of nats or no share of a training.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_levels: int | None,
        decoder: str | None,
        decoder_components: int | None,
        std: float | None,
        free_bits: float,
        warmup: float,
    ):
        super().__init__(shape, num_levels)
        if not (free_bits >= 0 and 0 <= warmup <= 1):
            raise InputError(f"free_bits={free_bits}, warmup={warmup}: the first is 0 or more, the second from 0 to 1")
        self.output = output(decoder, num_levels, num_components=decoder_components, std=std)
        self.parameters_shape = (self.output.num_parameters * self.shape[0], *self.shape[1:])
        self.free_bits, self.warmup = free_bits, warmup

    def kl_weight(self, progress: float) -> float:
        """The weight of the latents' terms when so much of the training is done."""
        return min(1.0, progress / self.warmup) if self.warmup else 1.0

    @abstractmethod
    def log_weight(self, x: Examples, noise: Noise) -> PerExample:
        r"""$\log p(x, z) - \log q(z | x)$ at one draw $z \sim q(z | x)$, nats; z are all latents together.

        Arguments:
            x: data, (B, *shape); of discrete data, the centres of their levels.
            noise: where z comes from.
        """

    def elbo(self, x: Examples, noise: Noise, effort: Effort = ONE_DRAW, place: PerExample | None = None) -> Elbo:
        """As of every `Model`; the importance-weighted bound has no terms, and all of it stands as reconstruction."""
        if effort.importance == 1:
            return super().elbo(x, noise, effort, place)
        return self.undivided(importance_weighted(self, x, effort.importance, noise))

    def completed(self, effort: Effort) -> Effort:
        plain = super().completed(replace(effort, importance=1))
        return replace(plain, num_draws=1, importance=effort.importance) if effort.importance > 1 else plain


class LatentHierarchy(LatentVariableModel):
    """One whose latents are on several levels.

    Arguments:
        shape, num_levels: as of every `Model`.
        num_latents: how many levels of latents.
        latent_dims: of the lowest level; None: `DIMS`.
        width: of the widest hidden layers, or the channels at the highest resolution; None: `WIDTH`, or of vectors 256.
        depth: residual layers, or blocks, at each level.
        decoder, decoder_components, std, free_bits, warmup: as of every `LatentVariableModel`.

    Raises:
        InputError: an impossible size or name, or a combination that makes no sense.
    """

    DIMS: ClassVar[int]
    WIDTH: ClassVar[int]

    def __init__(
        self,
        shape: tuple[int, ...],
        num_levels: int | None,
        *,
        num_latents: int = 3,
        latent_dims: int | None = None,
        width: int | None = None,
        depth: int = 1,
        decoder: str | None = None,
        decoder_components: int | None = None,
        std: float | None = None,
        free_bits: float = 0.0,
        warmup: float = 0.1,
    ):
        super().__init__(shape, num_levels, decoder, decoder_components, std, free_bits, warmup)
        latent_dims = self.DIMS if latent_dims is None else latent_dims
        width = (256 if len(shape) == 1 else self.WIDTH) if width is None else width
        check_least(1, num_latents=num_latents, latent_dims=latent_dims, width=width)
        check_least(0, depth=depth)
        self.num_latents = num_latents
        self.build(latent_dims, width, depth)

    @abstractmethod
    def build(self, latent_dims: int, width: int, depth: int) -> None:
        """Make the networks."""


@torch.no_grad()
def importance_weighted(model: LatentVariableModel, x: Examples, num_samples: int, noise: Noise) -> PerExample:
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
    check_least(1, num_samples=num_samples)
    total = x.new_full((len(x),), -torch.inf, dtype=torch.float64)
    for _ in range(num_samples):
        total = torch.logaddexp(total, model.log_weight(x, noise).double())
    return (total - math.log(num_samples)).to(x.dtype)


def standard_normal(like: Examples) -> Normal:
    """N(0, I) of the shape, type and device of `like`."""
    return Normal(torch.zeros_like(like), 1.0)


def positive_std(raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A standard deviation of any number: one of zero."""
    return MIN_STD + softplus(raw + math.log(math.e - 1))


def gaussian(parameters: Float[Tensor, "batch parameters *spatial"]) -> Normal:
    """A Gaussian of independent entries, from a mean and a raw standard deviation for each."""
    mean, raw = parameters.chunk(2, dim=1)
    return Normal(mean, positive_std(raw) ** 2)
