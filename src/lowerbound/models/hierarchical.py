r"""Hierarchical variational autoencoders whose latents are a Markov chain, and the diffusion model as one of them.

$$q(z_1, ..., z_T | x) = q(z_1 | x) \prod_{t=2}^T q(z_t | z_{t-1}), \qquad
p(x, z_1, ..., z_T) = p(z_T) \prod_{t=2}^T p(z_{t-1} | z_t)\; p(x | z_1)$$

(Luo 2022, equations 23 and 24.) All are Gaussians of independent entries, save $p(x | z_1)$. With $z_0 = x$ the bound
$E_q [\log p(x, z) - \log q(z | x)]$ may be sorted level by level as it stands,

$$E \log p(x | z_1) - E\, KL(q(z_T | z_{T-1}) \| p(z_T)) -
\textstyle\sum_{t=1}^{T-1} E_{q(z_{t-1}, z_t, z_{t+1} | x)} [\log q(z_t | z_{t-1}) - \log p(z_t | z_{t+1})] \quad (A)$$

which needs nothing but draws of the path, or, by $q(z_t | z_{t-1}) = q(z_{t-1} | z_t, x)\, q(z_t | x) / q(z_{t-1} | x)$,

$$E \log p(x | z_1) - KL(q(z_T | x) \| p(z_T)) -
\textstyle\sum_{t=2}^{T} E_{q(z_t | x)} KL(q(z_{t-1} | z_t, x) \| p(z_{t-1} | z_t)) \quad (B)$$

which is true of every such model but can be computed only where $q(z_t | x)$ is known: an integral over all latents
below. An encoder whose means are linear and whose variances are fixed has it in closed form. A diffusion model's is such
(`as_hvae`), and that is why it can be trained on single steps. Both forms have one expectation; A's summands are a
three-variable form and never KL of neighbours (docs/luo_45.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.denoiser import Denoiser
from lowerbound.elementary import expand, sum_dims
from lowerbound.encoder import Latent, Normal, encode, encode_back
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo, check_chain, check_likelihood
from lowerbound.likelihood.decoder import Decoder
from lowerbound.models.base import Draw, Losses
from lowerbound.models.latent import LatentHierarchy, gaussian, standard_normal
from lowerbound.nn.autoencoder import ConvolutionalDecoder, ConvolutionalEncoder, Perceptron
from lowerbound.rng import Noise
from lowerbound.schedule import CLEAN
from lowerbound.shapes import Chain, Examples, PerExample

BETWEEN = 256
"""The width of perceptrons between latents, where x is no vector."""

LogMasses = Callable[[slice], Float[Tensor, "entries levels"]]
"""Log masses of all levels, (n, K), of those of all the batch's entries, one after the other, that a slice picks."""


class Hierarchy(ABC):
    r"""A Markov chain of latents $z_1, ..., z_T$, its encoder and its model; $z_0$ is x.

    Attributes:
        num_latents: T.
        top_shape: the shape of $z_T$ of one example.
    """

    num_latents: int
    top_shape: tuple[int, ...]

    @abstractmethod
    def encode(self, below: Float[Tensor, "batch *below"], level: int) -> Normal:
        r"""$q(z_t | z_{t-1})$, at level t from 1 to T."""

    @abstractmethod
    def decode(self, above: Float[Tensor, "batch *above"], level: int) -> Normal:
        r"""$p(z_t | z_{t+1})$, at level t from 1 to T - 1."""

    @abstractmethod
    def prior(self, like: Float[Tensor, "batch *latents"]) -> Normal:
        """$p(z_T)$, of the shape, type and device of `like`."""

    @abstractmethod
    def log_likelihood(self, x: Examples, first: Float[Tensor, "batch *latents"]) -> PerExample:
        r"""$\log p(x | z_1)$, nats."""

    def expected_log_likelihood(self, x: Examples) -> PerExample | None:
        r"""$E \log p(x | z_1)$ over $q(z_1 | x)$, nats, where it has a closed form; else None."""
        return None

    def log_masses(self, first: Float[Tensor, "batch *latents"], num_levels: int) -> LogMasses:
        r"""$\log p(x_d = c_k | z_1)$ of each of K levels, nats, of discrete data.

        Raises:
            InputError: of a model that does not say it.
        """
        raise InputError(f"{type(self).__name__} does not say what each level's mass is")

    def encode_data(self, x: Examples, level: int) -> Normal:
        r"""$q(z_t | x)$, at level t from 1 to T.

        Raises:
            InputError: above the first level, of an encoder that does not know it.
        """
        if level == 1:
            return self.encode(x, 1)
        raise InputError(_CLOSED.format(level=level, T=self.num_latents))

    def encode_back(self, above: Float[Tensor, "batch *above"], x: Examples, level: int) -> Normal:
        r"""$q(z_t | z_{t+1}, x)$, at level t from 1 to T - 1.

        Raises:
            InputError: of an encoder that does not know it.
        """
        raise InputError(_CLOSED.format(level=level + 1, T=self.num_latents))


_CLOSED = (
    "form B is closed to this hierarchy of {T} levels: it compares q(z_t-1 | z_t, x) with the model, and by Bayes' rule "
    "that needs q(z_{level} | x), an integral over all latents below, which has a closed form only if every mean of the "
    "encoder is linear in the latent below and every variance fixed. Use form_a, which needs draws alone, or a "
    "linear-Gaussian encoder that defines encode_data and encode_back, as that of as_hvae does"
)


def form_a(hierarchy: Hierarchy, x: Examples, noise: Noise, *, closed_form: bool = True) -> Elbo:
    r"""Form A, "consistency", on one path: each latent as the encoder makes it from below and the model from above.

    $$\log p(x | z_1) - KL(q(z_T | z_{T-1}) \| p(z_T)) -
    \textstyle\sum_{t=1}^{T-1} [\log q(z_t | z_{t-1}) - \log p(z_t | z_{t+1})]$$

    (Luo, the line above equation 45.) The result's `prior` and `steps` are these terms, of which a step's may be negative.

    Arguments:
        hierarchy: the model, of any encoder.
        x: data, (B, *shape).
        noise: where the path comes from.
        closed_form: the top level's KL in closed form; otherwise its log-ratio on the path, so that `nats` is the log weight
            $\log p(x, z) - \log q(z | x)$ of the path.
    """
    path, encoded = [x], []
    for level in range(1, hierarchy.num_latents + 1):
        encoded.append(hierarchy.encode(path[-1], level))
        path.append(encoded[-1].sample(noise))
    *below, top = encoded
    p = hierarchy.prior(path[-1])
    prior = top.kl(p) if closed_form else top.log_prob(path[-1]) - p.log_prob(path[-1])
    terms = [
        sum_dims(q.log_prob(z) - hierarchy.decode(above, level).log_prob(z))
        for level, (q, z, above) in enumerate(zip(below, path[1:-1], path[2:], strict=True), 1)
    ]
    return bound_of_levels(x, hierarchy.log_likelihood(x, path[1]), sum_dims(prior), terms)


def form_b(hierarchy: Hierarchy, x: Examples, noise: Noise) -> Elbo:
    r"""Form B, "denoising matching": each latent as the encoder, which knows x, and the model make it from above.

    $$E \log p(x | z_1) - KL(q(z_T | x) \| p(z_T)) -
    \textstyle\sum_{t=2}^{T} E_{q(z_t | x)} KL(q(z_{t-1} | z_t, x) \| p(z_{t-1} | z_t))$$

    (Luo, equation 58.) One independent draw for each level; the first term in closed form where there is one.

    Arguments:
        hierarchy: a model whose encoder knows $q(z_t | x)$ and $q(z_{t-1} | z_t, x)$, or has one level alone.
        x: data, (B, *shape).
        noise: where latents come from.

    Raises:
        InputError: for a hierarchy of several levels whose encoder is not linear-Gaussian, with the reason.
    """
    top = hierarchy.encode_data(x, hierarchy.num_latents)
    prior = sum_dims(top.kl(hierarchy.prior(top.mean)))
    reconstruction = hierarchy.expected_log_likelihood(x)
    if reconstruction is None:
        reconstruction = hierarchy.log_likelihood(x, hierarchy.encode_data(x, 1).sample(noise))
    terms = []
    for level in range(1, hierarchy.num_latents):
        above = hierarchy.encode_data(x, level + 1).sample(noise)
        terms.append(sum_dims(hierarchy.encode_back(above, x, level).kl(hierarchy.decode(above, level))))
    return bound_of_levels(x, reconstruction, prior, terms)


def as_hvae(denoiser: Denoiser, decoder: Decoder, chain: Chain, *, reverse: str = "lower") -> "DiffusionHierarchy":
    r"""The diffusion model as a hierarchical VAE: its latents are $x_t$ at the chain's times, and its encoder is fixed.

    $$q(z_k | z_{k-1}) = N(\alpha_{t|s} z_{k-1}, \sigma_{t|s}^2 I), \qquad
    p(z_k | z_{k+1}) = q(z_k | z_{k+1}, x = \hat x(z_{k+1}))$$

    Its form B is `likelihood.elbo` of the same arguments, and its form A `likelihood.derivations.form_a`, on the same noise.

    Arguments:
        denoiser: the model, with its schedule.
        decoder: $p(x | x_{t_0})$.
        chain: the times of the chain's levels, increasing, in [0, 1]: T of them make T levels of latents.
        reverse: the reverse variance (`reverse.reverse_variance`).

    Raises:
        InputError: if the denoiser has no likelihood, or the chain is out of range.
    """
    return DiffusionHierarchy(denoiser, decoder, chain, reverse)


class DiffusionHierarchy(Hierarchy):
    """What `as_hvae` makes; its arguments are those of it."""

    def __init__(self, denoiser: Denoiser, decoder: Decoder, chain: Chain, reverse: str):
        check_likelihood(denoiser)
        check_chain(chain)
        self.denoiser, self.decoder, self.reverse = denoiser, decoder, reverse
        self.levels = [CLEAN, *denoiser.schedule.levels(chain)]
        self.num_latents, self.top_shape = len(chain), denoiser.shape

    def encode(self, below: Float[Tensor, "batch *below"], level: int) -> Normal:
        return encode(Latent(below, self.levels[level - 1]), self.levels[level])

    def decode(self, above: Float[Tensor, "batch *above"], level: int) -> Normal:
        prediction, s = self.denoiser(above, self.levels[level + 1]), self.levels[level]
        mean = encode_back(Latent(above, prediction.level), prediction.x, s).mean
        return Normal(mean, expand(prediction.reverse_variance(self.reverse, s), above))

    def prior(self, like: Float[Tensor, "batch *latents"]) -> Normal:
        last = self.levels[-1]
        return Normal(torch.zeros_like(like), last.alpha**2 + last.sigma**2)

    def log_likelihood(self, x: Examples, first: Float[Tensor, "batch *latents"]) -> PerExample:
        level = self.levels[1]
        prediction = self.denoiser(first, level) if self.decoder.needs_network else None
        return sum_dims(self.decoder.log_prob(x, first, level, prediction))

    def expected_log_likelihood(self, x: Examples) -> PerExample | None:
        expected = self.decoder.expected_log_prob(x, self.levels[1])
        return None if expected is None else sum_dims(expected)

    def log_masses(self, first: Float[Tensor, "batch *latents"], num_levels: int) -> LogMasses:
        level, x_t, x_hat = self.levels[1], first.flatten(), None
        if self.decoder.needs_network:
            x_hat = self.denoiser(first, level).x.flatten()
        return lambda part: self.decoder.log_masses(x_t[part], level, None if x_hat is None else x_hat[part])

    def encode_data(self, x: Examples, level: int) -> Normal:
        return encode(Latent(x, CLEAN), self.levels[level])

    def encode_back(self, above: Float[Tensor, "batch *above"], x: Examples, level: int) -> Normal:
        return encode_back(Latent(above, self.levels[level + 1]), x, self.levels[level])


class HierarchicalVAE(LatentHierarchy, Hierarchy):
    r"""The Markovian hierarchical VAE of T levels, all of it learned (Luo 2022, section "Hierarchical VAEs").

    $z_1$ and x are joined by convolutions where x is a signal, an image or a volume, all else by multilayer perceptrons. Its
    bound is form A; what `LadderVAE` does better is in the docstring of `ladder`.

    Arguments:
        shape: the shape of one example, (D,) or (C, *spatial).
        num_levels: K of discrete data, or None.
        num_latents: T, how many levels of latents.
        latent_dims: of $z_1$, 32 if None; each level above has half as many as the one below it, one at least.
        width: of the convolutions at the highest resolution, or of vectors the hidden layers; None: 32, or 256. The
            perceptrons between latents are `BETWEEN` wide, or as wide as those of vectors.
        depth: residual layers, or blocks at each resolution.
        decoder: the distribution of x given $z_1$, one of `output.OUTPUTS`; None: what suits the data.
        decoder_components: of a decoder that is a mixture of logistics.
        std: the standard deviation of a Gaussian decoder; None: learned.
        free_bits: nats for each latent: a level's term is not pressed below so much times its latents, example by example.
        warmup: the share of the training over which the weight of all levels' terms rises from 0 to 1.

    Raises:
        InputError: an impossible size or name, or a combination that makes no sense.
    """

    name = "hierarchical-vae"
    DIMS = WIDTH = 32

    def build(self, latent_dims: int, width: int, depth: int) -> None:
        shape = self.shape
        self.dims = [max(1, latent_dims // 2**level) for level in range(self.num_latents)]
        if len(shape) == 1:
            self.from_data: nn.Module = Perceptron(shape[0], 2 * latent_dims, width=width, depth=depth)
            self.to_data: nn.Module = Perceptron(latent_dims, self.parameters_shape[0], width=width, depth=depth)
        else:
            self.from_data = ConvolutionalEncoder(shape, 2 * latent_dims, width=width, depth=depth)
            self.to_data = ConvolutionalDecoder(latent_dims, self.parameters_shape, width=width, depth=depth)
            width = BETWEEN
        self.top_shape = (self.dims[-1],)
        neighbours = list(pairwise(self.dims))
        self.up = nn.ModuleList(Perceptron(low, 2 * high, width=width, depth=depth) for low, high in neighbours)
        self.down = nn.ModuleList(Perceptron(high, 2 * low, width=width, depth=depth) for low, high in neighbours)

    def encode(self, below: Float[Tensor, "batch *below"], level: int) -> Normal:
        return gaussian((self.from_data if level == 1 else self.up[level - 2])(below))

    def decode(self, above: Float[Tensor, "batch *above"], level: int) -> Normal:
        return gaussian(self.down[level - 1](above))

    def prior(self, like: Float[Tensor, "batch *latents"]) -> Normal:
        return standard_normal(like)

    def log_likelihood(self, x: Examples, first: Float[Tensor, "batch *latents"]) -> PerExample:
        return sum_dims(self.output.log_prob(self.to_data(first), x))

    def log_masses(self, first: Float[Tensor, "batch *latents"], num_levels: int) -> LogMasses:
        parameters = self.output.by_entry(self.to_data(first))
        return lambda part: self.output.log_masses(parameters[part], num_levels)

    def loss(self, x: Examples, draw: Draw) -> Losses:
        r"""$-\log p(x | z_1) + \beta \sum_t \max(\text{term}_t, d_t\, \text{free bits})$, nats.

        $d_t$ is the number of latents at level t, $\beta$ the smaller of progress / warmup and 1. (the rest as in
        `Model.loss`)
        """
        bound = self.bound(x, draw.noise)
        assert bound.steps is not None
        terms = torch.cat([bound.steps, bound.prior[:, None]], 1)
        if self.free_bits:
            terms = torch.maximum(terms, self.free_bits * terms.new_tensor(self.dims))
        return Losses.whole(self.kl_weight(draw.progress) * terms.sum(1) - bound.reconstruction)

    def bound(self, x: Examples, noise: Noise) -> Elbo:
        """The bound in form A on one path, nats: the top level's KL as the prior's term, the other levels' as steps."""
        self.check(x)
        return form_a(self, x, noise)

    def log_weight(self, x: Examples, noise: Noise) -> PerExample:
        self.check(x)
        return form_a(self, x, noise, closed_form=False).nats

    @torch.no_grad()
    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        z = noise.normal(next(self.parameters()).new_empty(num_samples, self.dims[-1]))
        for level in range(self.num_latents - 1, 0, -1):
            z = self.decode(z, level).sample(noise)
        return self.output.sample(self.to_data(z), noise)


def bound_of_levels(x: Tensor, reconstruction: Tensor, prior: Tensor, terms: list[Tensor]) -> Elbo:
    """The bound from its terms, of which the levels below the top have one each."""
    steps = torch.stack(terms, 1) if terms else x.new_zeros(len(x), 0)
    return Elbo(reconstruction, prior, steps.sum(1), x.new_full((len(x),), x[0].numel()), steps)
