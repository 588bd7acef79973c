r"""DPM-Solver++ (Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models").

The multistep solvers of the flow are the exponential integration of `exponential` with one simplification: of two
predictions, the kernel's first moment $I_1 / I_0 = 1/2 + O(h)$ is replaced by 1/2, which leaves the order and gives (2M)

$$x_s = \frac{\sigma_s}{\sigma_t} x_t - \alpha_s \mathrm{expm1}(-h)
\Big[\hat x_t + \frac{1}{2r} (\hat x_t - \hat x_{previous})\Big], \qquad r = h_{previous} / h .$$

(3M) has the exact moments: its second derivative is twice the second divided difference. Code that leaves out this two
is in wide use and falls to second order.

For the reverse stochastic equation the solvers are those of ancestral sampling with the same average of predictions in
the place of $\hat x$.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lowerbound.reverse import posterior
from lowerbound.rng import Noise
from lowerbound.samplers.exponential import Multistep, Past, add, advance, length, matching, moments
from lowerbound.schedule import Level

MIDPOINT = (1.0, 0.5)
r"""$I_0 / I_0$ and, for short steps, $I_1 / I_0$."""


@dataclass(frozen=True)
class DPMSolver(Multistep):
    r"""DPM-Solver++(1), (2M), (3M): $x_s = \frac{\sigma_s}{\sigma_t} x_t - \alpha_s \mathrm{expm1}(-h) \sum_j w_j \hat x_j$
    (Lu et al. 2022, algorithm 2 for 2M).

    Arguments:
        multistep_order: the predictions that a step uses, 1 (DDIM) to 3; fewer as long as there are not so many. It is the
            order on grids whose steps grow from the start; on equal steps of $\gamma$ the order is at most 2.

    Raises:
        InputError: for another order.
    """

    def advanced(self, x: Tensor, past: Past, t: Level, s: Level, noise: Noise) -> Tensor:
        return advance(x, t, s, past.predictions, averaging(length(t, s), past.places(t.gamma, s.gamma)))


@dataclass(frozen=True)
class DPMSolverSDE(Multistep):
    r"""SDE-DPM-Solver++(1), (2M): $x_s = \frac{\sigma_s}{\sigma_t} e^{-h} x_t + \alpha_s (1 - e^{-2h}) \sum_j w_j \hat x_j +
    \sigma_s \sqrt{1 - e^{-2h}}\, z$ (Lu et al. 2022).

    Arguments:
        multistep_order: the predictions that a step uses, 1 (DDIM with eta = 1, ancestral sampling) or 2.

    Raises:
        InputError: for another order.
    """

    most: ClassVar[int] = 2

    def advanced(self, x: Tensor, past: Past, t: Level, s: Level, noise: Noise) -> Tensor:
        step, weights = posterior(t, s), matching(MIDPOINT, past.places(t.gamma, s.gamma))
        x = add(x * step.from_x_t, past.predictions, [step.from_x * weight for weight in weights])
        return x.add_(noise.step(x, t.gamma, s.gamma), alpha=math.sqrt(step.variance))


def averaging(h: float, at: Sequence[float]) -> list[float]:
    """The weights of predictions at these places: exact moments, save that of two the first is 1/2."""
    return matching(MIDPOINT if len(at) == 2 else moments(h, len(at)), at)
