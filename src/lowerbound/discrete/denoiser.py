r"""A denoiser for discrete data with the levels built in.

In levels, an entry k is seen at $p = k + w \epsilon$, with $w = e^{\gamma/2} K / 2$ the noise's width. Whatever a network
knows of k from its surroundings, as a normal prior on the integers, the observation turns it into a normal on the integers
again, for the product of two Gaussians is one:

$$P(k | x_t) \propto e^{-(k - m')^2 / 2 \tau'^2}, \quad k = 0 \dots K - 1, \qquad m' = p - w F, \quad \tau'^2 = w^2 S .$$

F is what a network of the target eps would say of the noise, S in (0, 1) the share of the noise's variance that the
surroundings leave. Where the noise is wider than a level the mean of this normal is $m'$: the denoiser is that of the target
eps, with all of its good manners. Where it is narrower the mean is the level itself, exactly, and the bound's last part,
which a network otherwise has to learn at high precision, costs what it must and no more.

F and S are not two things. If the surroundings say $k \sim N(m, \tau^2)$, then

$$S = \frac{\tau^2}{\tau^2 + w^2}, \qquad F = \sqrt{1 - S}\, u, \qquad u = \frac{p - m}{\sqrt{\tau^2 + w^2}},$$

and u, how far off p is in units of what was to be expected, is near one at every noise. A network that outputs u and the
logit of S, less its value at a usual spread $\tau_0$ of k given its surroundings, has nothing to learn where the noise is
far finer than that, where most of the bits are: F vanishes there, and whatever it said of the noise would be an error.

Levels that are far more frequent than those beside them, such as an empty background or saturated pixels, are no part of a
normal of any width. Given J such spikes $k_j$, the network says by $a_j$ how likely each is from its surroundings, and the
observation says the rest, against a smooth density as wide as half of the range (a spike and slab):

$$r_j \propto e^{a_j} N(p; k_j, w^2), \quad r_0 \propto N(0; 0, w^2 + K^2 / 16), \qquad
\hat k = r_0 E[k] + \textstyle\sum_j r_j k_j ,$$

with E[k] the mean of the normal above, or of what odds of the levels of an example's kind make of it (`odds`).

A mean of levels lies between the first and the last. Once trained (`eval()`), $\hat x$ is cut to that range, which brings it
nearer to every possible x; in training it is not, for no gradient would come from what is cut off.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.denoiser.base import Prediction
from lowerbound.denoiser.network import OfNetwork
from lowerbound.discrete.odds import LevelOdds
from lowerbound.elementary import Scalar, exp, expand
from lowerbound.errors import InputError
from lowerbound.levels import check_num_levels, mean_level
from lowerbound.schedule import Level, Schedule

_UNTRAINED = 2.0  # the logit of S before training if no spread is given: seven eighths of the noise's variance


class LevelDenoiser(OfNetwork):
    r"""$\hat x = E[x | x_t]$ under a normal on the levels, and spikes (formulas in the module's docstring).

    Arguments:
        network: (x, gamma, cond) -> 2 + J + M outputs per entry, (B, (2 + J + M) C, *): u, the logit of S less its value
            at the spread, each $a_j$ and each $c_m$; with `takes_observed` as in `NetworkDenoiser`.
        schedule: the noise schedule.
        shape: the shape of one example.
        num_levels: K.
        sigma_data: $\sigma_d$, the data's standard deviation as the network's input scaling assumes it.
        spikes: $k_j$, levels from 0 to K - 1, each once; none for the normal alone.
        spread: $\tau_0$, in levels, what is usually left open of an entry by those around it; None: the network outputs F
            in the place of u, and the logit of S less 2.
        num_tables: M, of odds that the kind of the example gives its levels; 0 for none. Of the first the network outputs
            $c_1 - 1$. A network whose `takes_kinds` is True is called with `kinds`, $P(c | x_t)$, too.
        num_kinds: of examples, that these odds are of.

    Raises:
        InputError: if K, `sigma_data`, a spike, the spread, M or the number of kinds is out of range, or the network does
            not take three arguments.
    """

    rows_are_apart = True

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        shape: tuple[int, ...],
        num_levels: int,
        sigma_data: float = 1.0,
        spikes: Sequence[int] = (),
        spread: float | None = None,
        num_tables: int = 0,
        num_kinds: int = 64,
    ):
        super().__init__(network, schedule, shape, sigma_data)
        self.num_levels = check_num_levels(num_levels)
        self.spikes = tuple(spikes)
        if len(set(self.spikes)) < len(self.spikes) or not all(0 <= spike < num_levels for spike in self.spikes):
            raise InputError(f"spikes={self.spikes}: give levels from 0 to {num_levels - 1}, each once")
        if spread is not None and not 0 < spread < math.inf:
            raise InputError(f"spread is {spread}: it is a standard deviation in levels and must be positive")
        self.spread = spread
        self.odds = LevelOdds(num_tables, num_kinds, shape, num_levels) if num_tables else None
        self.num_outputs = 2 + len(self.spikes) + num_tables

    def predict(self, x_t: Tensor, level: Level, cond: Tensor | None, observed: Tensor | None) -> Prediction:
        per_unit = self.num_levels / 2
        noise = exp(level.gamma / 2) * per_unit
        width = expand(noise, x_t)
        position = (x_t / expand(level.alpha, x_t) + 1) * per_unit - 0.5
        kinds = None if self.odds is None else self.odds.kinds(position, noise, observed)
        output = self.output(x_t, level, cond, observed, outputs_per_entry=self.num_outputs, kinds=kinds)
        guess, logit, *further = output.chunk(self.num_outputs, 1)
        log_odds, shares = further[: len(self.spikes)], further[len(self.spikes) :]
        eps, share = self._told_by_surroundings(guess, logit, level)
        centre, variance = position - width * eps, width**2 * share
        mean = mean_level(centre, variance, self.num_levels)
        if self.odds is not None and kinds is not None:
            shares[0] = 1 + shares[0]
            mean = mean + self.odds.shift(self.odds.tables(kinds), torch.stack(shares), centre, variance)
        if log_odds:
            mean = self._with_spikes(mean, position, width, torch.stack(log_odds))
        x = (mean + 0.5) / per_unit - 1
        if not self.training:
            x = x.clamp(-1 + 1 / self.num_levels, 1 - 1 / self.num_levels)
        return Prediction(x_t, level, x, self.schedule)

    def _told_by_surroundings(self, guess: Tensor, logit: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """F and S of the network's first two outputs."""
        if self.spread is None:
            return guess, torch.sigmoid(logit + _UNTRAINED)
        logit = logit + 2 * math.log(2 * self.spread / self.num_levels) - expand(level.gamma, logit)
        # the root of 1 - S by its logarithm, for where it underflows its own slope would be infinite
        return torch.exp(functional.logsigmoid(-logit) / 2) * guess, torch.sigmoid(logit)

    def _with_spikes(self, mean: Tensor, position: Tensor, width: Scalar, log_odds: Tensor) -> Tensor:
        """The mean of the normal and the spikes, whose log odds from the surroundings are (J, B, *)."""
        spikes = torch.tensor(self.spikes, dtype=mean.dtype, device=mean.device).view(-1, *(1,) * mean.ndim)
        slab = torch.as_tensor((self.num_levels / 4 / width) ** 2, dtype=mean.dtype, device=mean.device)
        density = torch.log1p(slab) / 2 - ((position - spikes) / width) ** 2 / 2
        shares = torch.cat([log_odds + density, torch.zeros_like(mean)[None]]).softmax(0)
        return shares[-1] * mean + (shares[:-1] * spikes).sum(0)
