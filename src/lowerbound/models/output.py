r"""Distributions of x given what a network says: the last layer of every model that is not a denoiser.

A network gives each entry P numbers, and an `Output` reads them as a distribution, independent in each entry. Four are of
discrete data, whose x are the centres $c_k = 2 (k + \tfrac12) / K - 1$ of K levels, and two of continuous data.

A logistic of location m and scale s has the distribution function $\mathrm{sigmoid}((x - m) / s)$, so that its mass on the
bin of a level, of width $w = 2 / K$ between $l$ and $l + w$, factorises:

$$\mathrm{sigmoid}(h) - \mathrm{sigmoid}(g) = \mathrm{sigmoid}(h)\, \mathrm{sigmoid}(-g)\, (1 - e^{g - h}), \qquad
g = \frac{l - m}{s},\; h - g = \frac w s$$

whose logarithm cancels nowhere, in no tail. The first and the last bin are open to infinity and lose two of the factors.

Scales are $s_{min} + \mathrm{softplus}$ of the network's number: any number is allowed, and none makes a likelihood
infinite. The components of a mixture start apart, since equal ones would have equal gradients for ever.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from lowerbound.encoder import Normal
from lowerbound.errors import InputError
from lowerbound.levels import check_num_levels, level_centres, nearest_level
from lowerbound.rng import Noise
from lowerbound.settings import check_choice, check_least

MIN_STD = 1e-3
"""The smallest standard deviation or scale of a density, in units of the data's standard deviation."""
MOST_CATEGORIES = 1024

Parameters = Float[Tensor, "batch parameters *spatial"]
"""What the network says, (B, P C, *spatial): P numbers for each entry, those of one kind for all channels together."""
Entries = Float[Tensor, "batch channels *spatial"]
"""x, or what has its shape, (B, C, *spatial); of discrete data, the centres of their levels."""


class Output(ABC):
    """A distribution of each entry of x, read from a network's output.

    Attributes:
        num_parameters: P, the numbers that it takes for each entry.
    """

    num_parameters: int

    @abstractmethod
    def log_prob(self, parameters: Parameters, x: Entries) -> Entries:
        r"""$\log p(x)$ of each entry, nats: of a level's mass for discrete data, of a density otherwise."""

    @abstractmethod
    def sample(self, parameters: Parameters, noise: Noise) -> Entries:
        """One draw; of discrete data, centres of levels."""

    def log_masses(
        self, parameters: Float[Tensor, "entries numbers"], num_levels: int
    ) -> Float[Tensor, "entries levels"]:
        r"""$\log p(c_k)$ of each of K levels of entries with these parameters, (n, P), nats; of discrete data."""
        levels = torch.arange(num_levels, device=parameters.device)
        centres = level_centres(levels, num_levels).to(parameters.dtype)
        same = parameters[:, :, None].expand(-1, -1, num_levels)
        return self.log_prob(same, centres.expand(len(parameters), 1, -1))[:, 0]

    def by_entry(self, parameters: Parameters) -> Float[Tensor, "entries numbers"]:
        """The P numbers of each of all the batch's entries, one after the other."""
        return parameters.unflatten(1, (self.num_parameters, -1)).movedim(1, -1).flatten(0, -2)


class Bernoulli(Output):
    r"""Two levels, $x = \pm \tfrac12$, of log odds $l$: $\log p(x) = \log \mathrm{sigmoid}(2 x l)$."""

    num_parameters = 1

    def log_prob(self, parameters: Parameters, x: Entries) -> Entries:
        return logsigmoid(2 * x * parameters)

    def sample(self, parameters: Parameters, noise: Noise) -> Entries:
        return (noise.uniform(parameters) < parameters.sigmoid()).to(parameters.dtype) - 0.5


class Categorical(Output):
    r"""Any distribution over K levels: $\log p(c_k) = l_k - \log \sum_j e^{l_j}$.

    Arguments:
        num_levels: K, 2 to 1024.

    Raises:
        InputError: if K is outside that range.
    """

    def __init__(self, num_levels: int):
        if num_levels > MOST_CATEGORIES:
            raise InputError(
                f"a categorical output over {num_levels} levels: it takes as many numbers for each entry, and at most "
                f"{MOST_CATEGORIES} are allowed; 'discretized-logistic' takes few for any number of levels"
            )
        self.num_levels = self.num_parameters = check_num_levels(num_levels)

    def log_prob(self, parameters: Parameters, x: Entries) -> Entries:
        index = nearest_level(x, self.num_levels).long().unsqueeze(1)
        return self._log_mass(parameters).gather(1, index).squeeze(1)

    def sample(self, parameters: Parameters, noise: Noise) -> Entries:
        return level_centres(pick(self._log_mass(parameters).exp(), noise).to(parameters.dtype), self.num_levels)

    def log_masses(
        self, parameters: Float[Tensor, "entries numbers"], num_levels: int
    ) -> Float[Tensor, "entries levels"]:
        return parameters.log_softmax(1)

    def _log_mass(self, parameters: Tensor) -> Tensor:
        """(B, K, C, *spatial)"""
        return parameters.unflatten(1, (self.num_levels, -1)).log_softmax(1)


class Gaussian(Output):
    r"""$N(m, s^2)$ with the network's mean.

    Arguments:
        std: s, fixed, positive; None: the network's, of each entry, at least `MIN_STD`.

    Raises:
        InputError: if s is not positive.
    """

    def __init__(self, std: float | None = None):
        if std is not None and not 0 < std < math.inf:
            raise InputError(
                f"the Gaussian output's standard deviation is {std}: it must be positive, or None to learn it"
            )
        self.std = std
        self.num_parameters = 2 if std is None else 1

    def normal(self, parameters: Parameters) -> Normal:
        """The distribution that the parameters stand for."""
        if self.std is not None:
            return Normal(parameters, self.std**2)
        mean, raw = parameters.chunk(2, dim=1)
        return Normal(mean, (MIN_STD + softplus(raw)) ** 2)

    def log_prob(self, parameters: Parameters, x: Entries) -> Entries:
        return self.normal(parameters).log_prob(x)

    def sample(self, parameters: Parameters, noise: Noise) -> Entries:
        return self.normal(parameters).sample(noise)


class _Logistics(Output):
    """A mixture of M logistics: their locations and scales, and their log weights if there are several.

    Arguments:
        num_components: M, at least 1.
        min_scale: the smallest scale.
    """

    def __init__(self, num_components: int, min_scale: float):
        check_least(1, num_components=num_components)
        self.num_components = num_components
        self.min_scale = min_scale
        self.num_parameters = 2 if num_components == 1 else 3 * num_components

    def log_prob(self, parameters: Parameters, x: Entries) -> Entries:
        location, scale, log_weight = self._components(parameters)
        return (log_weight + self._log_prob(location, scale, x.unsqueeze(1))).logsumexp(1)

    def sample(self, parameters: Parameters, noise: Noise) -> Entries:
        location, scale, log_weight = self._components(parameters)
        if self.num_components > 1:
            component = pick(log_weight.exp(), noise).unsqueeze(1)
            location, scale = location.gather(1, component), scale.gather(1, component)
        tiny = torch.finfo(location.dtype).eps
        uniform = noise.uniform(location.squeeze(1)).clamp(tiny, 1 - tiny)
        return location.squeeze(1) + scale.squeeze(1) * torch.logit(uniform)

    @abstractmethod
    def _log_prob(self, location: Tensor, scale: Tensor, x: Tensor) -> Tensor:
        """Of each component, (B, M, C, *spatial)."""

    def _components(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Locations, scales and log weights, (B, M, C, *spatial) each."""
        by_kind = parameters.unflatten(1, (-1, self.num_components, parameters.shape[1] // self.num_parameters))
        M = self.num_components
        offsets = (2 * torch.arange(M, device=parameters.device) + 1) / M - 1
        location = by_kind[:, 0] + offsets.to(parameters.dtype).reshape(-1, *[1] * (parameters.ndim - 1))
        log_weight = by_kind[:, 2].log_softmax(1) if M > 1 else torch.zeros_like(location)
        return location, self.min_scale + softplus(by_kind[:, 1]), log_weight


class DiscretizedLogistic(_Logistics):
    r"""The mass of a mixture of logistics on a level's bin, the end bins open (Salimans et al. 2017, section 2.1).

    Arguments:
        num_levels: K, 2 to 65,536.
        num_components: M, how many logistics are mixed.

    Raises:
        InputError: if K or M is out of range.
    """

    def __init__(self, num_levels: int, num_components: int = 1):
        # a scale of a sixteenth of a bin has all but 1e-3 of its mass in one
        super().__init__(num_components, min_scale=1 / (8 * check_num_levels(num_levels)))
        self.num_levels = num_levels

    def sample(self, parameters: Parameters, noise: Noise) -> Entries:
        return level_centres(nearest_level(super().sample(parameters, noise), self.num_levels), self.num_levels)

    def _log_prob(self, location: Tensor, scale: Tensor, x: Tensor) -> Tensor:
        half = 1 / self.num_levels
        first, last = x < 2 * half - 1, x > 1 - 2 * half
        above = logsigmoid((x + half - location) / scale).masked_fill(last, 0)
        below = logsigmoid((location - x + half) / scale).masked_fill(first, 0)
        between = torch.log(-torch.expm1(-2 * half / scale))
        return above + below + between.masked_fill(first | last, 0)


class LogisticMixture(_Logistics):
    """The density of a mixture of logistics, for continuous data of about unit variance.

    Arguments:
        num_components: M, how many logistics are mixed.

    Raises:
        InputError: if M is out of range.
    """

    def __init__(self, num_components: int = 5):
        super().__init__(num_components, min_scale=MIN_STD)

    def _log_prob(self, location: Tensor, scale: Tensor, x: Tensor) -> Tensor:
        standard = (x - location) / scale
        return logsigmoid(standard) + logsigmoid(-standard) - torch.log(scale)


OUTPUTS = ("bernoulli", "categorical", "discretized-logistic", "gaussian", "logistic-mixture")


def output(
    name: str | None, num_levels: int | None, *, num_components: int | None = None, std: float | None = None
) -> Output:
    """The output of a name that fits the data.

    Arguments:
        name: one of `OUTPUTS`; None: Bernoulli for two levels, a discretised logistic for more, a Gaussian for continuous
            data.
        num_levels: K of discrete data, or None.
        num_components: of a mixture of logistics, 1 by default for discrete data and 5 for continuous ones.
        std: of a Gaussian, where it shall be fixed.

    Raises:
        InputError: if there is no such output, it does not fit the data, or a setting has no effect on it.
    """
    if name is None:
        name = "gaussian" if num_levels is None else "bernoulli" if num_levels == 2 else "discretized-logistic"
    check_choice("the output", name, OUTPUTS)
    if num_components is not None and "logistic" not in name:
        raise InputError(f"num_components={num_components} has no effect on {name!r}: only logistics are mixed")
    if std is not None and name != "gaussian":
        raise InputError(f"std={std} has no effect on {name!r}: it is a Gaussian's")
    if name in ("gaussian", "logistic-mixture"):
        if num_levels is not None:
            raise InputError(
                f"{name!r} is a density, but the data have {num_levels} levels, whose density is infinite: use "
                f"{'bernoulli' if num_levels == 2 else 'discretized-logistic'!r}"
            )
        return Gaussian(std) if name == "gaussian" else LogisticMixture(num_components or 5)
    if num_levels is None:
        raise InputError(
            f"{name!r} is for discrete data, but these are continuous: use 'gaussian' or 'logistic-mixture'"
        )
    if name == "bernoulli":
        if num_levels != 2:
            raise InputError(
                f"'bernoulli' is a distribution over two levels, but the data have {num_levels}: the logarithm of a "
                "mass at one of the two is no likelihood of what lies between; use 'discretized-logistic' or "
                "'categorical', or binarise the data"
            )
        return Bernoulli()
    return Categorical(num_levels) if name == "categorical" else DiscretizedLogistic(num_levels, num_components or 1)


def pick(mass: Float[Tensor, "batch choices *shape"], noise: Noise) -> Int[Tensor, "batch *shape"]:
    """One index along the first axis after the batch, by inverting the distribution function at a uniform number."""
    uniform = noise.uniform(mass[:, 0])
    return (mass.cumsum(1) <= uniform.unsqueeze(1)).sum(1).clamp(max=mass.shape[1] - 1)
