r"""The encoder q of a chain: its Gaussians, and latents drawn from them.

With $\alpha_{t|s} = \alpha_t / \alpha_s$ and $\sigma_{t|s}^2 = -\mathrm{expm1}(\gamma_s - \gamma_t) \sigma_t^2$,

$$q(x_t | x_s) = N(\alpha_{t|s} x_s, \sigma_{t|s}^2 I), \qquad q(x_t | x) = N(\alpha_t x, \sigma_t^2 I)$$

for s < t (VDM, equation 1 and appendix A; DDPM, equations 2 and 4). The second is the first with s at the data, whose level
is `CLEAN`, so that one function serves the whole chain from x up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound.elementary import Scalar, expand, expm1, log
from lowerbound.errors import InputError
from lowerbound.reverse import posterior
from lowerbound.rng import Noise
from lowerbound.schedule import CLEAN, Level, Schedule
from lowerbound.shapes import Chain, Examples, PerExample
from lowerbound.words.brief import Brief


@dataclass(frozen=True, slots=True, repr=False)
class Normal(Brief):
    """N(mean, variance) of each entry.

    Arguments:
        mean: (B, *).
        variance: a number, or of a shape that broadcasts over the mean.
    """

    mean: Examples
    variance: Scalar

    def log_prob(self, value: Examples) -> Examples:
        """The log density of each entry, nats."""
        return -0.5 * ((value - self.mean) ** 2 / self.variance + log(2 * math.pi * self.variance))

    def entropy(self) -> Scalar:
        r"""$\frac12 \log(2 \pi e v)$ of an entry, nats."""
        return 0.5 * (1 + log(2 * math.pi * self.variance))

    def kl(self, other: "Normal") -> Examples:
        """KL(self || other) of each entry, nats."""
        quotient = self.variance / other.variance
        return 0.5 * ((self.mean - other.mean) ** 2 / other.variance + (quotient - 1 - log(quotient)))

    def sample(self, noise: Noise) -> Examples:
        """One draw."""
        return self.mean + self.variance**0.5 * noise.normal(self.mean)


@dataclass(frozen=True, slots=True, repr=False)
class Latent(Brief):
    """$x_t$, (B, *), and its level."""

    x: Examples
    level: Level


def encode(x_s: Latent, t: Level) -> Normal:
    """$q(x_t | x_s)$, s < t; from the data (`CLEAN`), $q(x_t | x)$."""
    s = x_s.level
    added = -expm1(s.gamma - t.gamma) * t.sigma**2
    return Normal(expand(t.alpha / s.alpha, x_s.x) * x_s.x, expand(added, x_s.x))


def encode_back(x_t: Latent, x: Examples, s: Level) -> Normal:
    r"""$q(x_s | x_t, x)$, s < t (`reverse.posterior`)."""
    step = posterior(x_t.level, s)
    return Normal(expand(step.from_x_t, x) * x_t.x + expand(step.from_x, x) * x, expand(step.variance, x))


def walk(start: Latent, levels: Sequence[Level], noise: Noise) -> list[Latent]:
    """A trajectory of the encoder through increasing levels, with its start."""
    path = [start]
    for level in levels:
        path.append(Latent(encode(path[-1], level).sample(noise), level))
    return path


def walk_from(x: Examples, schedule: Schedule, chain: Chain, noise: Noise) -> list[Latent]:
    """The whole trajectory $x, x_{t_0}, ..., x_{t_1}$ through a chain's K levels."""
    return walk(Latent(x, CLEAN), schedule.levels(chain), noise)


def walk_at(
    x: Examples, schedule: Schedule, chain: Chain, first: Int[Tensor, "batch"], num_latents: int, noise: Noise
) -> list[Latent]:
    """Neighbouring latents of the whole trajectory, without what is below: for each example from its own level on.

    Arguments:
        x: data, (B, *).
        schedule: the noise schedule.
        chain: times of the chain's K levels.
        first: the lowest of the latents, (B,): 0 for the data itself, k for the chain's k-th level.
        num_latents: how many.
        noise: where they come from.
    """
    levels = schedule.level(chain.to(x.device).double())
    values = torch.stack([torch.as_tensor(value) for value in levels.parts])
    table = torch.cat([values.new_tensor(CLEAN.parts)[:, None], values], 1)
    start, *above = (Level(*table[:, first + number]) for number in range(num_latents))
    x_t = expand(start.alpha, x) * x + expand(start.sigma, x) * noise.normal(x)
    return walk(Latent(x_t, start), above, noise)


def index_at(place: PerExample | None, num_terms: int, x: Examples, noise: Noise) -> Int[Tensor, "batch"]:
    """One of a sum's terms for each example, 0 to `num_terms` - 1.

    Arguments:
        place: where in the sum, numbers in [0, 1), (B,); drawn for each example apart if None.
        num_terms: how many terms there are.
        x: the examples.
        noise: where places come from.

    Raises:
        InputError: for a place outside [0, 1).
    """
    if place is None:
        place = noise.uniform(x.new_empty(len(x), 1, dtype=torch.float64))[:, 0]
    elif not bool(((place >= 0) & (place < 1)).all()):
        raise InputError(f"places from {place.min():.3g} to {place.max():.3g} on the chain: each must be in [0, 1)")
    return (place.double() * num_terms).long().clamp(max=num_terms - 1).to(x.device)
