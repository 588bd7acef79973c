r"""A denoiser that is the gradient of a scalar energy: $E(x_t, \gamma) = -\log p(x_t)$ up to a constant.

$$\mathrm{score} = -\nabla E, \qquad \hat\epsilon = \sigma_t \nabla E, \qquad
\hat x = (x_t - \sigma_t^2 \nabla E) / \alpha_t .$$

A network of any other kind says what the score is, one of these what the density is, and the score follows: it is the
gradient of something, as the true one is. With $r = e^{\gamma/2}$, $s = \sqrt{\sigma_d^2 + r^2}$ and the network's input of
unit variance, $u = x_t / (\alpha_t s)$,

$$E = -\log N(x_t; 0, \alpha_t^2 s^2 I) + \frac{\sigma_d}{r}\, g(u), \qquad g(u) = \langle u, f(u, \gamma) \rangle,$$

so that with a network f that says nothing yet E is the energy of $N(0, \sigma_d^2 I)$ with noise, normalised, and

$$\hat\epsilon = \frac{r}{s}\, u + \frac{\sigma_d}{s} \nabla g(u) .$$

These are EDM's coefficients (Karras et al. 2022, table 1): $\nabla g$ has to be of unit size at every level, the energy is
steep where there is little noise. The energy belongs to $x_t$, in whose units its density is; the prediction is the same in
every scaling. What f is contracted with is a choice: $\tfrac12 \|u - f\|^2 - \tfrac12 \|u\|^2$ (as of Salimans & Ho 2021,
"Should EBMs model the energy or the score?") trains as well.

Of discrete data the first term may be the energy of entries that are each on one of K levels $c_k$, all as likely,

$$-\sum_i \log \frac1K \sum_k N(x_{t, i}; \alpha_t c_k, \sigma_t^2),$$

normalised as well. Where the noise is narrower than a level it is all there is to know, and a network need not learn it
(compare `denoiser.levels`).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from lowerbound.denoiser.base import Prediction, Time
from lowerbound.denoiser.network import OfNetwork
from lowerbound.elementary import exp, expand, log, sqrt, sum_dims
from lowerbound.gradient import values_and_gradient
from lowerbound.levels import check_num_levels, level_centres
from lowerbound.schedule import Level, Schedule
from lowerbound.shapes import Conditions, Examples, PerExample


class _ComposedLayerNorm(TorchFunctionMode):
    """Layer normalisation written out in elementary operations.

    The third derivatives of torch's own are wrong without a word (seen in 2.13), and a loss made of a score's slope takes
    them in training an energy.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_layer_norm if func is functional.layer_norm else func)(*args, **(kwargs or {}))


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    centred = x - x.mean(dims, keepdim=True)
    normal = centred * torch.rsqrt(centred.square().mean(dims, keepdim=True) + eps)
    normal = normal if weight is None else normal * weight
    return normal if bias is None else normal + bias


class EnergyDenoiser(OfNetwork):
    r"""$\hat x = (x_t - \sigma_t^2 \nabla E) / \alpha_t$ of a network's energy (formula in the module's docstring).

    Predictions differentiate, also where autograd is off; where it is on they can be differentiated again.

    Arguments:
        network: f, (x, gamma, cond) -> tensor of x's shape.
        schedule: the noise schedule.
        shape: the shape of one example.
        sigma_data: $\sigma_d$, the data's standard deviation as the network's input scaling assumes it.
        num_levels: K of discrete data, whose levels are then known without training; None: a Gaussian before training.

    Raises:
        InputError: if `sigma_data` or K is out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        shape: tuple[int, ...],
        sigma_data: float = 1.0,
        num_levels: int | None = None,
    ):
        super().__init__(network, schedule, shape, sigma_data)
        self.num_levels = None if num_levels is None else check_num_levels(num_levels)

    def energy(self, x_t: Examples, t: Time, cond: Conditions | None = None) -> PerExample:
        r"""$E(x_t, \gamma_t)$, nats up to a constant of each level.

        Arguments:
            x_t: noisy data, (B, *shape), every entry there.
            t: times in [0, 1], (B,), or one number or `Level` for the whole batch; 0 for the data's own end.
            cond: the condition, as in `forward`.
        """
        level = self.schedule.level(t)
        u = x_t * expand(1 / (level.alpha * sqrt(self.sigma_data**2 + exp(level.gamma))), x_t)
        # torch's fused attention on a CPU cannot be differentiated twice
        with sdpa_kernel(SDPBackend.MATH), _ComposedLayerNorm():
            output = self.output(x_t, level, cond)
        product = self.sigma_data * exp(-level.gamma / 2) * sum_dims(u * output)
        return product - self._untrained(x_t, level)

    def log_density(self, x_t: Examples, t: Time, cond: Conditions | None = None) -> PerExample:
        r"""$-E(x_t, \gamma_t)$: $\log p(x_t)$ but for $\log Z$ (`theory.normaliser`). Arguments as of `energy`."""
        return -self.energy(x_t, t, cond)

    def log_density_and_score(
        self, x_t: Examples, t: Time, cond: Conditions | None = None
    ) -> tuple[PerExample, Examples]:
        r"""$-E$ and $-\nabla E$, of one evaluation. Arguments as of `energy`."""
        return values_and_gradient(lambda x_t: self.log_density(x_t, t, cond), x_t)

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        _, score = self.log_density_and_score(x_t, level, cond)
        x = (x_t + expand(level.sigma**2, x_t) * score) / expand(level.alpha, x_t)
        return Prediction(x_t, level, x, self.schedule)

    def _untrained(self, x_t: Tensor, level: Level) -> Tensor:
        """The log density, normalised, of a network that says nothing, (B,)."""
        log_scale = 0.5 * math.log(2 * math.pi) + log(level.alpha)
        y = x_t / expand(level.alpha, x_t)
        if self.num_levels is None:
            variance = self.sigma_data**2 + exp(level.gamma)
            exponent = -0.5 * y**2 / expand(variance, y)
            log_scale = log_scale + 0.5 * log(variance)
        else:
            centres = level_centres(torch.arange(self.num_levels, device=y.device), self.num_levels).to(y)
            distance = y[..., None] - centres
            exponent = torch.logsumexp(-0.5 * distance**2 * expand(exp(-level.gamma), distance), -1)
            log_scale = log_scale + 0.5 * level.gamma + math.log(self.num_levels)
        return sum_dims(exponent) - x_t[0].numel() * log_scale
