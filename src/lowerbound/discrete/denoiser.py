r"""A denoiser for discrete data with the levels built in.

In levels, an entry k is seen at $p = k + w \epsilon$, with $w = e^{\gamma/2} K / 2$ the noise's width. Whatever a network
knows of k from its surroundings, as a normal prior on the integers, the observation turns it into a normal on the integers
again, for the product of two Gaussians is one:

$$P(k | x_t) \propto e^{-(k - m')^2 / 2 \tau'^2}, \quad k = 0 \dots K - 1, \qquad m' = p - w F, \quad \tau'^2 = w^2 S .$$

F is what a network of the target eps would say of the noise, S in (0, 1) the share of the noise's variance that the
surroundings leave. Where the noise is wider than a level the mean of this normal is $m'$: the denoiser is that of the target
eps, with all of its good manners. Where it is narrower the mean is the level itself, exactly, and the bound's last part,
which a network otherwise has to learn at high precision, costs what it must and no more.

A mean of levels lies between the first and the last. Once trained (`eval()`), $\hat x$ is cut to that range, which brings it
nearer to every possible x; in training it is not, for no gradient would come from what is cut off.
"""

import torch
from torch import Tensor, nn

from lowerbound.denoiser.base import Prediction
from lowerbound.denoiser.network import OfNetwork
from lowerbound.elementary import exp, expand
from lowerbound.levels import check_num_levels, mean_level
from lowerbound.schedule import Level, Schedule

_UNTRAINED = 2.0  # the logit of S before training: seven eighths of the noise's variance


class LevelDenoiser(OfNetwork):
    r"""$\hat x = E[x | x_t]$ under a normal on the levels (formula in the module's docstring).

    Arguments:
        network: (x, gamma, cond) -> two outputs per entry, (B, 2 C, *): F and the logit of S; with `takes_observed` as in
            `NetworkDenoiser`.
        schedule: the noise schedule.
        shape: the shape of one example.
        num_levels: K.
        sigma_data: $\sigma_d$, the data's standard deviation as the network's input scaling assumes it.

    Raises:
        InputError: if K or `sigma_data` is out of range, or the network does not take three arguments.
    """

    rows_are_apart = True

    def __init__(
        self, network: nn.Module, schedule: Schedule, shape: tuple[int, ...], num_levels: int, sigma_data: float = 1.0
    ):
        super().__init__(network, schedule, shape, sigma_data)
        self.num_levels = check_num_levels(num_levels)

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        eps, logit = self.output(x_t, level, cond, observed, outputs_per_entry=2).chunk(2, 1)
        per_unit = self.num_levels / 2
        ratio = expand(exp(level.gamma / 2), x_t)
        centre = (x_t / expand(level.alpha, x_t) - ratio * eps + 1) * per_unit - 0.5
        variance = (ratio * per_unit) ** 2 * torch.sigmoid(logit + _UNTRAINED)
        x = (mean_level(centre, variance, self.num_levels) + 0.5) / per_unit - 1
        if not self.training:
            x = x.clamp(-1 + 1 / self.num_levels, 1 - 1 / self.num_levels)
        return Prediction(x_t, level, x, self.schedule)
