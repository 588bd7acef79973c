r"""The ladder: a hierarchy of latents whose encoder walks down beside the model, so that all its levels learn.

$$p(x, z) = p(z_L) \prod_{l < L} p(z_l | z_{>l})\; p(x | z), \qquad q(z | x) = q(z_L | x) \prod_{l < L} q(z_l | z_{>l}, x)$$

In a Markov chain of latents (`hierarchical`) the encoder walks up from x, and what $z_l$ keeps of it is all that the level
above can see: the upper levels starve. Here a pass up from x, without chance, leaves features $e_l$ at every level, and
one pass down, from the top, serves both the model and the encoder (Sonderby et al. 2016; with residual blocks and
convolutions as in Child 2021). At each level the state h, which holds all latents above, makes the mean m and the standard
deviation s of $p(z_l | z_{>l})$, and h and $e_l$ together make $q(z_l | z_{>l}, x)$, in units of the former:

$$z_l = m + s u_l, \qquad p:\; u_l \sim N(0, I), \qquad q:\; u_l \sim N(m_u, s_u^2).$$

So each level's term of the bound is $KL(N(m_u, s_u^2) \| N(0, I))$, in closed form given the latents above it, and zero
before training. The top's is the bound's prior term and the others are its steps.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.arguments import check_axes
from lowerbound.elementary import sum_dims
from lowerbound.encoder import Normal
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import Elbo
from lowerbound.models.base import Draw, Losses
from lowerbound.models.hierarchical import bound_of_levels
from lowerbound.models.latent import LatentHierarchy, gaussian, positive_std, standard_normal
from lowerbound.nn.autoencoder import SMALLEST, WIDEST, Block, Layer, Up
from lowerbound.nn.blocks import convolution, halvings, normalisation, zeroed
from lowerbound.rng import Noise
from lowerbound.shapes import Examples, PerExample

VECTOR = 8
"""A vector's channels and latents, in multiples of those of a map at the highest resolution."""


class LadderVAE(LatentHierarchy):
    r"""A ladder variational autoencoder (Sonderby et al. 2016; Child 2021).

    Of images, and of signals and volumes, the latents are maps: the lowest level's at half the resolution of x, each
    further one's at half that again as long as its longest side is above `SMALLEST`, and the top level's are a vector. Of
    vectors all latents are vectors.

    Arguments:
        shape: the shape of one example, (D,) or (C, *spatial).
        num_levels: K of discrete data, or None.
        num_latents: L, how many levels of latents.
        latent_dims: channels of a map of latents, or of vectors the latents of each level; `VECTOR` times as many in the
            vector on top of maps; None: 4.
        width: channels of the features, or of vectors their number; lower resolutions have `WIDEST`, and the vector on top
            `VECTOR` times as many. None: 16, or 256 of vectors.
        depth: residual blocks at each level, on the way up and on the way down.
        decoder: the distribution of x given the latents, one of `output.OUTPUTS`; None: what suits the data.
        decoder_components: of a decoder that is a mixture of logistics.
        std: the standard deviation of a Gaussian decoder; None: learned.
        free_bits: nats for each latent below which training does not press its KL (Kingma et al. 2016, appendix C.8), taken
            example by example.
        warmup: the share of the training over which the weight of all KL rises from 0 to 1.

    Raises:
        InputError: an impossible size or name, or a combination that makes no sense.
    """

    name = "ladder-vae"
    DIMS, WIDTH = 4, 16

    def build(self, latent_dims: int, width: int, depth: int) -> None:
        shape, num_latents = self.shape, self.num_latents
        if num_latents < 2:
            raise InputError(
                f"a ladder of num_latents={num_latents}: it has 2 levels or more; of one level it is a VAE"
            )
        check_axes(shape)
        features = _feature_shapes(shape, num_latents, width)
        channels = [latent_dims] * (num_latents - 1) + [latent_dims * (1 if len(shape) == 1 else VECTOR)]
        self.into = _resample(shape, features[0])
        self.rungs = nn.ModuleList(
            Rung(features[max(level - 1, 0)], features[level], channels[level], depth, is_lowest=level == 0)
            for level in range(num_latents)
        )
        self.top = nn.Parameter(0.1 * torch.randn(features[-1]))
        self.norm = normalisation(len(features[0]) - 1, width)
        self.out = zeroed(_resample(features[0], self.parameters_shape))

    def loss(self, x: Examples, draw: Draw) -> Losses:
        r"""$-E \log p(x | z) + \beta \sum_i \max(KL_i, \text{free bits})$ over all latents of all levels, nats.

        $\beta$ is the smaller of progress / warmup and 1. (the rest as in `Model.loss`)
        """
        log_prob, inferred = self._infer(x, draw.noise)
        terms = [q.kl(standard_normal(u)) for q, u in inferred]
        kl = sum(sum_dims(term.clamp(min=self.free_bits) if self.free_bits else term) for term in terms)
        return Losses.whole(self.kl_weight(draw.progress) * kl - log_prob)

    def bound(self, x: Examples, noise: Noise) -> Elbo:
        r"""$E \log p(x | z) - KL_L - \sum_{l < L} KL_l$, nats, each KL in closed form at one draw of the latents above."""
        log_prob, inferred = self._infer(x, noise)
        *steps, prior = [sum_dims(q.kl(standard_normal(u))) for q, u in inferred]
        return bound_of_levels(x, log_prob, prior, steps)

    def log_weight(self, x: Examples, noise: Noise) -> PerExample:
        log_prob, inferred = self._infer(x, noise)
        return log_prob - sum(sum_dims(q.log_prob(u) - standard_normal(u).log_prob(u)) for q, u in inferred)

    @torch.no_grad()
    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        parameters = self._descend(num_samples, lambda level, h: noise.normal(self._rung(level).blank(h)))
        return self.output.sample(parameters, noise)

    def _infer(self, x: Tensor, noise: Noise) -> tuple[Tensor, list[tuple[Normal, Tensor]]]:
        r"""$\log p(x | z)$ at a draw of the encoder's, and of each level q and the u drawn from it, from the data's end."""
        self.check(x)
        evidence = [self.into(x)]
        for level in range(len(self.rungs)):
            evidence.append(self._rung(level).climb(evidence[-1]))
        inferred: list[tuple[Normal, Tensor]] = []

        def infer(level: int, h: Tensor) -> Tensor:
            q = self._rung(level).infer(h, evidence[level + 1])
            u = q.sample(noise)
            inferred.append((q, u))
            return u

        parameters = self._descend(len(x), infer)
        return sum_dims(self.output.log_prob(parameters, x)), inferred[::-1]

    def _descend(self, batch: int, choose: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The parameters of p(x | z), by the pass down, with each level's u chosen from the state."""
        h = self.top.expand(batch, *self.top.shape)
        for level in reversed(range(len(self.rungs))):
            h = self._rung(level).descend(h, choose(level, h))
        return self.out(functional.silu(self.norm(h)))

    def _rung(self, level: int) -> "Rung":
        rung = self.rungs[level]
        assert isinstance(rung, Rung)
        return rung


class Rung(nn.Module):
    """One level of the ladder: its part of the pass up, its two distributions, and its part of the pass down.

    Arguments:
        below: the shape of the features of the level below, (C, *spatial) or (D,).
        here: the shape of this level's features.
        channels: of its latents.
        depth: residual blocks up, and down.
        is_lowest: whether there is no level below.
    """

    def __init__(
        self, below: tuple[int, ...], here: tuple[int, ...], channels: int, depth: int, *, is_lowest: bool
    ) -> None:
        super().__init__()
        width, num_dims = here[0], len(here) - 1

        def blocks() -> list[nn.Module]:
            return [Block(num_dims, width) if num_dims else Layer(width) for _ in range(depth)]

        up, down = [nn.Identity() if is_lowest else _resample(*ends) for ends in ((below, here), (here, below))]
        self.trunk = nn.ModuleDict({"up": nn.Sequential(up, *blocks()), "down": nn.Sequential(*blocks(), down)})
        self.p_norm, self.q_norm = normalisation(num_dims, width), normalisation(num_dims, 2 * width)
        self.p = zeroed(convolution(num_dims, width, 2 * channels, kernel=1))
        self.q = zeroed(convolution(num_dims, 2 * width, 2 * channels))
        self.inject = convolution(num_dims, channels, width, kernel=1)
        self.channels = channels

    def climb(self, features: Float[Tensor, "batch *below"]) -> Float[Tensor, "batch *here"]:
        """What the level sees of x, from what the one below it sees."""
        return self.trunk["up"](features)

    def infer(self, h: Float[Tensor, "batch *here"], evidence: Float[Tensor, "batch *here"]) -> Normal:
        """$q(u)$ from the state above and what the level sees of x."""
        return gaussian(self.q(functional.silu(self.q_norm(torch.cat([h, evidence], 1)))))

    def descend(
        self, h: Float[Tensor, "batch *here"], u: Float[Tensor, "batch *latents"]
    ) -> Float[Tensor, "batch *below"]:
        """The state for the level below, from this one's state and latents."""
        mean, raw = self.p(functional.silu(self.p_norm(h))).chunk(2, 1)
        return self.trunk["down"](h + self.inject(mean + positive_std(raw) * u))

    def blank(self, h: Float[Tensor, "batch *here"]) -> Float[Tensor, "batch *latents"]:
        """A tensor of the shape of its latents."""
        return h.new_empty(len(h), self.channels, *h.shape[2:])


def _feature_shapes(shape: Sequence[int], num_latents: int, width: int) -> list[tuple[int, ...]]:
    """The shapes of all levels' features, from the data's end."""
    if len(shape) == 1:
        return [(width,)] * num_latents
    sizes = halvings(shape[1:], SMALLEST)
    sizes = [sizes[min(level, len(sizes) - 1)] for level in range(1, num_latents)]
    maps = [(width * (1 if size == sizes[0] else WIDEST), *size) for size in sizes]
    return [*maps, (VECTOR * width,)]


def _resample(source: Sequence[int], target: Sequence[int]) -> nn.Module:
    """A layer from features of one shape to those of another, of the same, twice or half the resolution, or a vector."""
    if len(source) == 1 and len(target) == 1:
        return nn.Linear(source[0], target[0])
    if len(target) == 1:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(source), target[0]))
    if len(source) == 1:
        return nn.Sequential(nn.Linear(source[0], math.prod(target)), nn.Unflatten(1, tuple(target)))
    num_dims = len(source) - 1
    if max(target[1:]) > max(source[1:]):
        return Up(num_dims, source[0], target[0], target[1:])
    return convolution(num_dims, source[0], target[0], stride=1 if tuple(source[1:]) == tuple(target[1:]) else 2)
