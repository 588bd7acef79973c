r"""A generative adversarial network: a generator of samples, and a discriminator that tells them from data.

The discriminator's logit D is trained on $E_p\, \mathrm{softplus}(-D(x)) + E_g\, \mathrm{softplus}(D(x))$, data p against
samples g. The derivative of $p(x)\, \mathrm{softplus}(-D) + g(x)\, \mathrm{softplus}(D)$ at a point is
$g\, \mathrm{sigmoid}(D) - p\, \mathrm{sigmoid}(-D)$, zero where

$$D(x) = \log p(x) - \log g(x),$$

so that it learns the log of the density ratio where there is one. The generator is trained to raise that logit by
$E_z\, \mathrm{softplus}(-D(G(z)))$, which does not saturate (Goodfellow et al. 2014, section 3). Both follow their gradients
at once, which converges near the equilibrium if the discriminator is penalised by $\tfrac{r_1}{2} E_p \|\nabla D(x)\|^2$
(Mescheder et al. 2018, "Which training methods for GANs do actually converge?", section 4.1).

Samples are images of a few latents: where these are fewer than the entries of an example, they lie on a surface of as many
dimensions, which has no density in the space of the data, and one step beside it any likelihood is zero; where they are
not, the density is an integral that has no closed form. So a GAN is judged by its samples alone.
"""

import math

from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import softplus

from lowerbound.elementary import sum_dims
from lowerbound.errors import InputError
from lowerbound.gradient import values_and_gradient
from lowerbound.models.base import Draw, Losses, Model
from lowerbound.nn.gan import Discriminator, Generator
from lowerbound.rng import Noise
from lowerbound.shapes import Examples, PerExample


class GAN(Model):
    r"""$x = G(z)$, $z \sim N(0, I)$, trained against a discriminator.

    Of discrete data G ends in a hyperbolic tangent, and its samples lie between the levels, to be rounded to the nearest.

    Arguments:
        shape: of one example, (D,) or (C, *spatial).
        num_levels: K of discrete data; None: continuous data of about unit variance.
        latent_dims: entries of z.
        width: of both networks: channels at half resolution, or hidden width for vectors.
        depth: of both networks: residual blocks at each resolution, or residual layers for vectors.
        r1: $r_1$, the weight of the gradient penalty.

    Raises:
        InputError: an impossible size or a negative penalty.
    """

    likelihood = "none"
    name = "gan"

    def __init__(
        self,
        shape: tuple[int, ...],
        num_levels: int | None,
        *,
        latent_dims: int = 64,
        width: int = 32,
        depth: int = 1,
        r1: float = 1.0,
    ):
        super().__init__(shape, num_levels)
        if not r1 >= 0:
            raise InputError(f"r1={r1}: the weight of the gradient penalty is 0 or more")
        self.latent_dims = latent_dims
        self.r1 = r1
        why = (
            f"the samples of a GAN lie on a surface of {latent_dims} dimensions, those of its latents, so that they have no "
            "density in the space of the data"
            if latent_dims < math.prod(shape)
            else f"the density of a GAN's samples is an integral over all of its {latent_dims} latents that lead to one, "
            "which has no closed form"
        )
        self.no_likelihood = f"{why}: judge a GAN by its samples"
        self.generator = Generator(shape, latent_dims, width=width, depth=depth)
        self.discriminator = Discriminator(shape, width=width, depth=depth)

    def loss(self, x: Examples, draw: Draw) -> Losses:
        r"""$\mathrm{softplus}(-D(x)) + \mathrm{softplus}(D(G(z))) + \tfrac{r_1}{2} \|\nabla D(x)\|^2 +
        \mathrm{softplus}(-D(G(z)))$, whose gradient reaches the discriminator by the first three terms and the generator by
        the last: one step moves both."""
        self.check(x)
        samples = self.draw(len(x), draw.noise)
        on_data, slope = values_and_gradient(self.discriminator, x.detach())
        on_samples = self.discriminator(samples.detach())
        frozen = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        fooling = functional_call(self.discriminator, frozen, (samples,))
        penalty = self.r1 / 2 * sum_dims(slope**2)
        return Losses.whole(discriminator_loss(on_data, on_samples) + penalty + softplus(-fooling))

    def draw(self, num_samples: int, noise: Noise) -> Float[Tensor, "num_samples *shape"]:
        z = next(self.parameters()).new_empty(num_samples, self.latent_dims)
        x = self.generator(noise.normal(z))
        return x if self.num_levels is None else x.tanh()


def discriminator_loss(on_data: PerExample, on_samples: PerExample) -> PerExample:
    r"""$\mathrm{softplus}(-D(x)) + \mathrm{softplus}(D(y))$, least in expectation at the log density ratio.

    Arguments:
        on_data: logits D(x) of data, (B,).
        on_samples: logits D(y) of samples, (B,).
    """
    return softplus(-on_data) + softplus(on_samples)
