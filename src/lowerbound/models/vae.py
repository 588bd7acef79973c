r"""The variational autoencoder: one layer of latents z, and an encoder that is learned.

$$\log p(x) \ge \underbrace{E_{q(z | x)} \log p(x | z)}_{reconstruction} - \underbrace{KL(q(z | x) \| p(z))}_{prior}$$

(Kingma & Welling 2014, section 2.2; Luo, equation 19). What is missing is $KL(q(z | x) \| p(z | x))$. A diffusion model has
the same two terms and a third: there the encoder is fixed, and the steps between its latents are what is learned.

The encoder is $N(m(x), s(x)^2)$, each latent apart. With the prior $N(0, I)$ the prior term has a closed form, latent by
latent; a learned prior, a mixture of Gaussians, is compared with q at the one draw of z that the reconstruction uses.

With affine networks and a Gaussian output of one variance the model is probabilistic PCA (`linear.linear_gaussian`), and
its best bound is the exact likelihood although q knows no correlations: among the equivalent rotations of the latents there
is one in which the posterior has none (Lucas et al. 2019).
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.elementary import sum_dims
from lowerbound.encoder import Normal
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo
from lowerbound.models.base import Draw, Losses
from lowerbound.models.hierarchical import Hierarchy, LogMasses
from lowerbound.models.latent import LatentVariableModel, gaussian, positive_std, standard_normal
from lowerbound.models.output import pick
from lowerbound.nn.autoencoder import Affine, ConvolutionalDecoder, ConvolutionalEncoder, Perceptron
from lowerbound.rng import Noise
from lowerbound.settings import check_choice, check_least
from lowerbound.shapes import Examples, PerExample

NETWORKS = ("convolutional", "mlp", "linear")
PRIORS = ("normal", "learned")
WIDTHS = {"convolutional": 32, "mlp": 256}


class VAE(LatentVariableModel):
    r"""A variational autoencoder (Kingma & Welling 2014).

    Arguments:
        shape: the shape of one example, (D,) or (C, *spatial).
        num_levels: K of discrete data, or None.
        network: one of `NETWORKS`; None: convolutional for signals, images and volumes, mlp for vectors. Linear ones have no
            hidden layer, and variances that do not depend on their input.
        latent_dims: L, how many latents.
        width: of the hidden layers, or of the convolutions at the highest resolution; None: `WIDTHS`.
        depth: residual layers, or blocks at each resolution; None: 1.
        decoder: the distribution of x given z, one of `output.OUTPUTS`; None: what suits the data.
        decoder_components: of a decoder that is a mixture of logistics.
        std: the standard deviation of a Gaussian decoder; None: learned, for each entry, or a single one for all if linear.
        prior: "normal", $N(0, I)$, or "learned", a mixture of Gaussians.
        prior_components: of the learned prior.
        free_bits: nats for each latent below which training does not press its prior term (Kingma et al. 2016), here
            example by example, so that no example's loss depends on its batch.
        warmup: the share of the training over which the prior term's weight rises from 0 to 1 (Bowman et al. 2016).

    Raises:
        InputError: an impossible size or name, or a combination that makes no sense.
    """

    name = "vae"

    def __init__(
        self,
        shape: tuple[int, ...],
        num_levels: int | None,
        *,
        network: str | None = None,
        latent_dims: int = 32,
        width: int | None = None,
        depth: int | None = None,
        decoder: str | None = None,
        decoder_components: int | None = None,
        std: float | None = None,
        prior: str = "normal",
        prior_components: int = 32,
        free_bits: float = 0.0,
        warmup: float = 0.0,
    ):
        super().__init__(shape, num_levels, decoder, decoder_components, std, free_bits, warmup)
        if network is None:
            network = "convolutional" if len(shape) > 1 else "mlp"
        _check(network, latent_dims, prior, prior_components, free_bits)
        self.latent_dims, num_parameters = latent_dims, self.output.num_parameters
        if network == "linear":
            if width is not None or depth is not None:
                raise InputError(f"width={width}, depth={depth}: a linear network has no hidden layer; leave them out")
            if num_parameters > 2:
                raise InputError(
                    f"a linear decoder makes the locations of its output, but {type(self.output).__name__} takes "
                    f"{num_parameters} numbers for each entry: use network='mlp', or an output without mixture"
                )
            self.encoder = nn.Sequential(nn.Flatten(), Affine(self.num_dims, latent_dims, num_constants=latent_dims))
            affine = Affine(latent_dims, self.num_dims, num_constants=num_parameters - 1)
            self.decoder = nn.Sequential(affine, nn.Unflatten(1, self.parameters_shape))
        else:
            width, depth = WIDTHS[network] if width is None else width, 1 if depth is None else depth
            if network == "convolutional":
                self.encoder = ConvolutionalEncoder(shape, 2 * latent_dims, width=width, depth=depth)
                self.decoder = ConvolutionalDecoder(latent_dims, self.parameters_shape, width=width, depth=depth)
            else:
                up = Perceptron(self.num_dims, 2 * latent_dims, width=width, depth=depth)
                down = Perceptron(latent_dims, num_parameters * self.num_dims, width=width, depth=depth)
                self.encoder = nn.Sequential(nn.Flatten(), up)
                self.decoder = nn.Sequential(down, nn.Unflatten(1, self.parameters_shape))
        self.prior: Prior = StandardNormal() if prior == "normal" else Mixture(latent_dims, prior_components)

    def encode(self, x: Examples) -> Normal:
        """$q(z | x)$, of (B, L) latents."""
        self.check(x)
        return gaussian(self.encoder(x))

    def decode(self, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch parameters *spatial"]:
        """The parameters of $p(x | z)$ for `output`, whose `mean` of them is the reconstruction."""
        return self.decoder(z)

    def loss(self, x: Examples, draw: Draw) -> Losses:
        r"""$-E \log p(x | z) + \beta \sum_i \max(KL_i, \text{free bits})$, nats, of each example.

        $\beta$ is the smaller of progress / warmup and 1. (the rest as in `Model.loss`)
        """
        q = self.encode(x)
        z = q.sample(draw.noise)
        prior = self.prior.kl(q, z)
        if self.free_bits:
            prior = prior.clamp(min=self.free_bits)
        return Losses.whole(self.kl_weight(draw.progress) * prior.sum(1) - self._log_prob(x, z))

    def bound(self, x: Examples, noise: Noise) -> Elbo:
        r"""$E \log p(x | z) - KL(q(z | x) \| p(z))$ at one draw of z, in closed form where it can be, nats; no diffusion."""
        q = self.encode(x)
        z = q.sample(noise)
        reconstruction, prior = self._log_prob(x, z), self.prior.kl(q, z).sum(1)
        return Elbo(reconstruction, prior, torch.zeros_like(prior), x.new_full((len(x),), x[0].numel()))

    def log_weight(self, x: Examples, noise: Noise) -> PerExample:
        q = self.encode(x)
        z = q.sample(noise)
        return self._log_prob(x, z) + self.prior.log_prob(z) - sum_dims(q.log_prob(z))

    @torch.no_grad()
    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        like = next(self.parameters()).new_empty(num_samples, self.latent_dims)
        return self.output.sample(self.decode(self.prior.sample(like, noise)), noise)

    def _log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        return sum_dims(self.output.log_prob(self.decode(z), x))


class OneLatent(Hierarchy):
    """A VAE with the prior $N(0, I)$ as a hierarchy of one level.

    Arguments:
        vae: the model.
    """

    num_latents = 1

    def __init__(self, vae: VAE):
        self.vae, self.top_shape = vae, (vae.latent_dims,)

    def encode(self, below: Float[Tensor, "batch *below"], level: int) -> Normal:
        return self.vae.encode(below)

    def decode(self, above: Float[Tensor, "batch *above"], level: int) -> Normal:
        raise InputError(f"level {level} of a hierarchy of one: below it are the data")

    def prior(self, like: Float[Tensor, "batch *latents"]) -> Normal:
        return standard_normal(like)

    def log_likelihood(self, x: Examples, first: Float[Tensor, "batch *latents"]) -> PerExample:
        return sum_dims(self.vae.output.log_prob(self.vae.decode(first), x))

    def log_masses(self, first: Float[Tensor, "batch *latents"], num_levels: int) -> LogMasses:
        parameters = self.vae.output.by_entry(self.vae.decode(first))
        return lambda part: self.vae.output.log_masses(parameters[part], num_levels)


class Prior(nn.Module, ABC):
    """p(z) of (B, L) latents."""

    @abstractmethod
    def log_prob(self, z: Float[Tensor, "batch latents"]) -> PerExample:
        """log p(z) of each example, nats."""

    @abstractmethod
    def kl(self, q: Normal, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch terms"]:
        r"""$KL(q \| p)$ of each latent if it has a closed form, (B, L), or else an estimate of the whole at a draw z of q,
        (B, 1), nats."""

    @abstractmethod
    def sample(self, like: Float[Tensor, "batch latents"], noise: Noise) -> Float[Tensor, "batch latents"]:
        """Draws of the shape, type and device of `like`."""


class StandardNormal(Prior):
    """$N(0, I)$"""

    def log_prob(self, z: Float[Tensor, "batch latents"]) -> PerExample:
        return sum_dims(standard_normal(z).log_prob(z))

    def kl(self, q: Normal, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch terms"]:
        return q.kl(standard_normal(z))

    def sample(self, like: Float[Tensor, "batch latents"], noise: Noise) -> Float[Tensor, "batch latents"]:
        return noise.normal(like)


class Mixture(Prior):
    r"""$\sum_k w_k N(m_k, s_k^2)$ with learned weights, means and variances, each latent apart within a component.

    Arguments:
        latent_dims: L.
        num_components: how many Gaussians.
    """

    def __init__(self, latent_dims: int, num_components: int):
        super().__init__()
        self.means = nn.Parameter(0.5 * torch.randn(num_components, latent_dims))
        self.raw_stds = nn.Parameter(torch.zeros(num_components, latent_dims))
        self.log_weights = nn.Parameter(torch.zeros(num_components))

    def log_prob(self, z: Float[Tensor, "batch latents"]) -> PerExample:
        components = Normal(self.means, positive_std(self.raw_stds) ** 2)
        log_prob = components.log_prob(z[:, None].expand(-1, *self.means.shape)).sum(2)
        return (self.log_weights.log_softmax(0) + log_prob).logsumexp(1)

    def kl(self, q: Normal, z: Float[Tensor, "batch latents"]) -> Float[Tensor, "batch terms"]:
        return (sum_dims(q.log_prob(z)) - self.log_prob(z))[:, None]

    def sample(self, like: Float[Tensor, "batch latents"], noise: Noise) -> Float[Tensor, "batch latents"]:
        component = pick(self.log_weights.softmax(0).expand(len(like), -1), noise)
        return self.means[component] + positive_std(self.raw_stds)[component] * noise.normal(like)


def _check(network: str, latent_dims: int, prior: str, prior_components: int, free_bits: float) -> None:
    check_choice("network", network, NETWORKS)
    check_choice("prior", prior, PRIORS)
    check_least(1, latent_dims=latent_dims, prior_components=prior_components)
    if free_bits and prior != "normal":
        raise InputError(
            f"free_bits={free_bits} with a learned prior: these are granted to each latent, but the term of a mixture does "
            "not fall into one for each; use prior='normal' or free_bits=0"
        )
