r"""Decoders $p(x | x_{t_0})$: from the least noisy latent, $t_0 = 0$, to the data."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.denoiser import Prediction
from lowerbound.elementary import Scalar, count_dims, exp, expand, log
from lowerbound.errors import InputError
from lowerbound.levels import check_levels, check_num_levels, nearest_level
from lowerbound.schedule import Level
from lowerbound.shapes import Examples, Observed, PerExample

Latents = Float[Tensor, "entries"]
"""Of any entries, one after the other, (n,)."""
_HALF_WIDTH = 8  # standard deviations beyond which a normal density is taken for zero: e^-32
_SMOOTH = 16  # bins per standard deviation above which the sum over levels is an integral with its first correction
_FAR = 12  # standard deviations beyond the outermost level at which a latent's place is cut off


class Decoder(ABC):
    r"""$p(x | x_{t_0})$, a product over dimensions.

    Attributes:
        needs_network: whether it uses the denoiser's prediction at $t_0$.
    """

    needs_network: bool

    @abstractmethod
    def log_prob(self, x: Examples, x_t: Examples, level: Level, prediction: Prediction | None = None) -> Examples:
        r"""$\log p(x | x_{t_0})$ of each entry, nats: of a level's mass for discrete data, of a density otherwise.

        Arguments:
            x: data; of discrete data, the centres of their levels.
            x_t: the latent at the level.
            level: $t_0$'s level, of numbers, or of tensors (1,) where a gradient with respect to it is wanted.
            prediction: the denoiser's at $x_t$, where `needs_network`.
        """

    def expected_log_prob(self, x: Examples, level: Level) -> Examples | None:
        r"""$E \log p(x | x_{t_0})$ over $q(x_{t_0} | x)$ of each entry, where it has a closed form; else None."""
        return None

    def estimate(self, x: Examples, x_t: Examples, level: Level, prediction: Prediction | None = None) -> Examples:
        """An estimate of `expected_log_prob` without bias from one latent: `log_prob`, if nothing better is known."""
        return self.log_prob(x, x_t, level, prediction)

    def log_masses(self, x_t: Latents, level: Level, x_hat: Latents | None = None) -> Float[Tensor, "entries levels"]:
        r"""$\log p(x = c_k | x_{t_0})$ of every level k, nats, up to a number that is the same for all k.

        Arguments:
            x_t: latents of any entries, (n,).
            level: $t_0$'s.
            x_hat: the denoiser's $\hat x$ of them, (n,), where `needs_network`.

        Raises:
            InputError: of a decoder without levels.
        """
        raise InputError(f"{type(self).__name__} has no levels with a mass each")

    def check(self, x: Examples, observed: Observed | None) -> None:  # noqa: B027 - real numbers may be any
        """Refuse data that it does not decode, by an InputError."""

    def is_real(self, x: Examples) -> Examples | float:
        """1 at the entries of x whose figure is a density of real numbers, 0 at those that are discrete."""
        return 0.0

    def count_dims(self, x: Examples, observed: Observed | None) -> PerExample:
        """How many values of each example are there, by which nats become bits per dimension: the entries."""
        return count_dims(x, observed)


class LevelDecoder(Decoder):
    """A decoder of discrete data.

    Arguments:
        num_levels: K.

    Raises:
        InputError: if it is out of range.
    """

    def __init__(self, num_levels: int):
        self.num_levels = check_num_levels(num_levels)

    def check(self, x: Examples, observed: Observed | None) -> None:
        check_levels(x if observed is None else x[observed], self.num_levels)


class LevelPosterior(LevelDecoder):
    r"""$p(x = c_k | x_{t_0}) \propto N(x_{t_0}; \alpha_0 c_k, \sigma_0^2)$: no network (VDM, section 3.3).

    A log-softmax over the levels. Of many levels only those within reach of the noise are looked at; where the noise
    spans many bins the sum is a normal integral with the midpoint rule's first correction.

    Arguments:
        num_levels: K, 2 to 65,536.

    Raises:
        InputError: if K is outside that range.
    """

    needs_network = False

    def log_prob(self, x: Examples, x_t: Examples, level: Level, prediction: Prediction | None = None) -> Examples:
        # in units of bins, with level k at k; of many levels single precision would lose the place within a bin
        position = (x_t.double() / expand(level.alpha, x_t) + 1) * self.num_levels / 2 - 0.5
        width = expand(exp(level.gamma / 2), position) * self.num_levels / 2
        index = nearest_level(x, self.num_levels).double()
        if math.isnan(_number(width)):  # a learned schedule that has diverged, which its trainer sees by the loss
            return torch.full_like(x, math.nan)
        if _number(width) < _SMOOTH or self.num_levels <= 2 * _SMOOTH * _HALF_WIDTH:
            return log_mass(index, position, width, 0, self.num_levels - 1).to(x.dtype)
        return self._by_integral(index, position, width).to(x.dtype)

    def log_masses(self, x_t: Latents, level: Level, x_hat: Latents | None = None) -> Float[Tensor, "entries levels"]:
        position = (x_t / level.alpha + 1) * self.num_levels / 2 - 0.5
        levels = torch.arange(self.num_levels, dtype=position.dtype, device=position.device)
        return -0.5 * ((levels - position[:, None]) / (exp(level.gamma / 2) * self.num_levels / 2)) ** 2

    def _by_integral(self, index: Tensor, position: Tensor, width: Scalar) -> Tensor:
        # farther out than any latent of the model comes, the correction would no longer be small
        beyond = _FAR * torch.as_tensor(width, dtype=position.dtype, device=position.device)
        position = torch.minimum(torch.maximum(position, -beyond), self.num_levels - 1 + beyond)
        low, high = (-0.5 - position) / width, (self.num_levels - 0.5 - position) / width
        log_integral = log_interval(low, high) + log(width * math.sqrt(2 * math.pi))
        # Euler-Maclaurin for the midpoint rule: sum = integral - (f'(end) - f'(start)) / 24
        slope = (-high * torch.exp(-(high**2) / 2) + low * torch.exp(-(low**2) / 2)) / width
        log_sum = log_integral + torch.log1p(-slope / 24 * torch.exp(-log_integral))
        return -0.5 * ((index - position) / width) ** 2 - log_sum


class DiscretizedGaussian(LevelDecoder):
    r"""The mass of $N(\hat x(x_{t_0}), s^2)$ on the level's bin, the end bins open to infinity (DDPM, equation 13).

    Arguments:
        num_levels: K, 2 to 65,536.
        std: s, in units of x, fixed. DDPM's is $\sqrt{\beta_1} = 0.01$ for 256 levels, which alone costs 1.7 bits/dim.

    Raises:
        InputError: if K or s is out of range.
    """

    needs_network = True

    def __init__(self, num_levels: int, std: float):
        super().__init__(num_levels)
        if not std > 0:
            raise InputError(f"the decoder's standard deviation is {std}: it must be positive")
        self.std = std

    def log_prob(self, x: Examples, x_t: Examples, level: Level, prediction: Prediction | None = None) -> Examples:
        assert prediction is not None
        return self._log_mass(nearest_level(x, self.num_levels), prediction.x)

    def log_masses(self, x_t: Latents, level: Level, x_hat: Latents | None = None) -> Float[Tensor, "entries levels"]:
        assert x_hat is not None
        return self._log_mass(torch.arange(self.num_levels, device=x_hat.device), x_hat[:, None])

    def _log_mass(self, index: Tensor, x_hat: Tensor) -> Tensor:
        low = (2 * index / self.num_levels - 1 - x_hat) / self.std
        high = (2 * (index + 1) / self.num_levels - 1 - x_hat) / self.std
        low = low.masked_fill(index == 0, -math.inf)
        high = high.masked_fill(index == self.num_levels - 1, math.inf)
        return log_interval(low, high)


class GaussianDecoder(Decoder):
    r"""$p(x | x_{t_0}) = N(x; x_{t_0} / \alpha_0, \sigma_0^2 / \alpha_0^2)$ for continuous data: no network.

    It is $q(x_{t_0} | x)$ read as a density in x; what it loses vanishes with the noise at $t_0$.
    """

    needs_network = False

    def is_real(self, x: Examples) -> Examples | float:
        return 1.0

    def log_prob(self, x: Examples, x_t: Examples, level: Level, prediction: Prediction | None = None) -> Examples:
        gamma = expand(level.gamma, x)
        return -0.5 * ((x - x_t / expand(level.alpha, x)) ** 2 * exp(-gamma) + gamma + math.log(2 * math.pi))

    def expected_log_prob(self, x: Examples, level: Level) -> Examples:
        return torch.zeros_like(x) - 0.5 * (1 + math.log(2 * math.pi) + expand(level.gamma, x))


def log_mass(index: Tensor, position: Tensor, width: Scalar, lowest: Any, highest: Any) -> Tensor:
    r"""$\log P(k)$ of $P(k) \propto e^{-(k - p)^2 / 2 w^2}$ over whole numbers, by their sum.

    Arguments:
        index: k, whole.
        position: p.
        width: w, a number, or a tensor that broadcasts.
        lowest, highest: the ends of k, numbers, or tensors that broadcast, infinite where there is none.
    """
    # relative to the nearest level, whose own exponent may be so large that the others' differences drown in it
    nearest = position.detach().round().clamp(lowest, highest)
    reach = math.ceil(_HALF_WIDTH * _number(width)) + 1
    if not isinstance(highest, Tensor) and 2 * reach + 1 >= highest + 1:
        others = torch.arange(highest + 1, device=position.device) - nearest[..., None]
    else:
        others = torch.arange(-reach, reach + 1, device=position.device).expand(*position.shape, -1)
    if isinstance(highest, Tensor):
        lowest, highest = lowest[..., None], highest[..., None]
    outside = (nearest[..., None] + others < lowest) | (nearest[..., None] + others > highest)

    def exponent(distance: Tensor, excess: Tensor, width: Scalar) -> Tensor:
        return -0.5 * distance * (distance + 2 * excess) / width**2

    excess = nearest - position
    each = width[..., None] if isinstance(width, Tensor) and width.numel() > 1 else width
    every = exponent(others, excess[..., None], each).masked_fill(outside, -math.inf)
    return exponent(index - nearest, excess, width) - every.logsumexp(-1)


def _number(width: Scalar) -> float:
    return width.max().item() if isinstance(width, Tensor) and width.numel() else float(width)


def log_interval(low: Tensor, high: Tensor) -> Tensor:
    r"""$\log(\Phi(high) - \Phi(low))$ for low < high, without cancellation in either tail."""
    flip = low + high > 0  # mirrored into the lower tail, where log Phi keeps all digits
    near = torch.where(flip, -low, high)
    far = torch.where(flip, -high, low)
    log_near = torch.special.log_ndtr(near)
    return log_near + torch.log(-torch.expm1(torch.special.log_ndtr(far) - log_near))
