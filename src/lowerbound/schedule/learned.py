r"""A noise schedule that is learned: its ends by the bound, the way between them by the estimator's variance.

$$\gamma(t) = \gamma_0 + (\gamma_1 - \gamma_0)\, u(t), \qquad u(0) = 0, \quad u(1) = 1, \quad u' > 0$$

The ends $\gamma_0$, $\gamma_1$ are parameters, and the bound depends on them. On u it does not: in continuous time a change
of u is a change of variable in the integral (VDM, section 5.1), and all that changes is how noisy one draw of it is. So u
follows the gradient of $E[L_i^2]$, whose mean is fixed, instead of that of $E[L_i]$ (VDM, appendix I.2). Both gradients pass
through the same $\gamma(t_i)$ and $\gamma'(t_i)$, and $\nabla L_i^2 = 2 L_i \nabla L_i$: one backward pass gives both, if
u's share of it is multiplied by $2 L_i$ on its way.
"""

import math
from copy import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.schedule.base import Schedule, check_ends
from lowerbound.schedule.scaling import VARIANCE_PRESERVING, Scaling
from lowerbound.shapes import PerExample, Values

_STEEPEST = 20.0
# halvings of [0, 1] until double precision is spent, each after one of Newton's steps, of which some six do
_MOST_STEPS = 120


class MonotoneWarp(nn.Module):
    r"""u(t): a monotone network from [0, 1] onto [0, 1].

    $$u(t) = \frac{m(t) - m(0)}{m(1) - m(0)}, \qquad m(t) = t + \sum_k w_k\, \mathrm{sigmoid}(s_k (t - c_k)), \quad
    w_k, s_k > 0$$

    The steepness $s_k$ stays below 20, and with it $u'$, since a logistic's slope over its rise on [0, 1] is at most
    $s / (1 - e^{-s})$: no part of the way gets less than a twentieth of its even share of time. Where losses are large on
    rare occasions only, such as just below the width of a level, the squared losses that are seen would ask for less, and
    the bound's estimate would come to rest on a few draws of enormous weight.

    Arguments:
        num_units: terms of the sum, their centres evenly spread at first.
    """

    def __init__(self, num_units: int = 32):
        super().__init__()
        self.weights = nn.Parameter(torch.full((num_units,), -6.0))
        self.steepness = nn.Parameter(torch.zeros(num_units))
        # of numbers, since arithmetic of tensors on the device meta imports the compiler, which takes a second
        self.centres = nn.Parameter(torch.tensor([(k + 0.5) / num_units for k in range(num_units)]))

    def forward(self, t: Values) -> tuple[Values, Values]:
        """u(t) and u'(t)."""
        weights = functional.softplus(self.weights.to(t))
        steepness = _STEEPEST * torch.sigmoid(self.steepness.to(t))
        centres = self.centres.to(t)

        def hidden(at: Tensor) -> Tensor:
            return torch.sigmoid(steepness * (at[..., None] - centres))

        first, last, at_t = hidden(t.new_zeros(())), hidden(t.new_ones(())), hidden(t)
        span = 1 + (weights * (last - first)).sum(-1)
        value = (t + (weights * (at_t - first)).sum(-1)) / span
        slope = (1 + (weights * steepness * at_t * (1 - at_t)).sum(-1)) / span
        return value, slope


class LearnedGamma(Schedule):
    r"""$\gamma(t) = \gamma_0 + (\gamma_1 - \gamma_0) u(t)$ with $\gamma_0$, $\gamma_1$ and u learned.

    Arguments:
        gamma_min, gamma_max: the ends before training.
        warp: u; None for $u(t) = t$, the learnable linear schedule.
        scaling: the units of $x_t$.

    Raises:
        InputError: if the ends are not finite and increasing.
    """

    def __init__(
        self,
        gamma_min: float = -13.3,
        gamma_max: float = 5.0,
        warp: MonotoneWarp | None = None,
        scaling: Scaling = VARIANCE_PRESERVING,
    ):
        super().__init__(scaling)
        check_ends(gamma_min, gamma_max)
        self.start = nn.Parameter(torch.tensor(float(gamma_min)))
        self.log_range = nn.Parameter(torch.tensor(math.log(gamma_max - gamma_min)))
        self.warp = warp
        self._factor: Tensor | None = None

    def gamma(self, t: Values) -> Values:
        return self.start.to(t) + self.log_range.to(t).exp() * self._warped(t)[0]

    def slope(self, t: Values) -> Values:
        return self.log_range.to(t).exp() * self._warped(t)[1]

    @torch.no_grad()
    def inverse(self, gamma: Values) -> Values:
        wanted = (gamma - self.start.to(gamma)) / self.log_range.to(gamma).exp()
        low, high, t = torch.zeros_like(wanted), torch.ones_like(wanted), wanted.clamp(0, 1)
        step, precision = high, 2 * torch.finfo(wanted.dtype).eps
        for _ in range(_MOST_STEPS):
            value, slope = self._warped(t)
            low, high = torch.where(value < wanted, t, low), torch.where(value < wanted, high, t)
            newton = t - (value - wanted) / slope
            # within the bracket Newton's steps can turn in a circle, but not while each is half of the one before
            is_closer = (low <= newton) & (newton <= high) & ((newton - t).abs() <= (step / 2).clamp_min(precision))
            t, before = torch.where(is_closer, newton, (low + high) / 2), t
            step = (t - before).abs()
            if not (step > precision).any():
                break
        return t

    def minimising_variance(self, factor: PerExample) -> "LearnedGamma":
        r"""The same schedule, through which each example's gradient with respect to u is multiplied by a factor.

        Arguments:
            factor: $2 L_i$ up to a constant, (B,); it is read in the backward pass, so that it may be filled in once the
                losses are known.
        """
        same = copy(self)
        same._factor = factor
        return same

    def _warped(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.warp is None:
            return t, torch.ones_like(t)
        value, slope = self.warp(t)
        if (factor := self._factor) is not None and value.requires_grad:
            for each in (value, slope):
                each.register_hook(lambda gradient: gradient * factor)
        return value, slope
