r"""Scalings: how large the signal is at a given signal-to-noise ratio.

The latent is $x_t = \alpha_t x + \sigma_t \epsilon$. What a denoiser can know depends on
$\gamma = \log(\sigma_t^2 / \alpha_t^2)$ alone; the scaling only says in which units $x_t$ is kept. With
$r = e^{\gamma/2}$, always $\sigma = r \alpha$, and

- variance preserving: $\alpha = (1 + r^2)^{-1/2}$, so that $\alpha^2 + \sigma^2 = 1$;
- rectified flow: $\alpha = 1 / (1 + r)$, so that $\alpha + \sigma = 1$;
- variance exploding: $\alpha = 1$.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from lowerbound.elementary import Scalar, exp, sigmoid, sqrt


@dataclass(frozen=True)
class Scaling:
    r"""A choice of $\alpha$ as a function of $\gamma$.

    Arguments:
        name: how configurations call it.
        alpha: $\alpha(\gamma)$, the signal scale.
        log_alpha_slope: $d \log \alpha / d \gamma$; that of $\log \sigma$ is larger by one half.
    """

    name: str
    alpha: Callable[[Scalar], Scalar] = field(repr=False)
    log_alpha_slope: Callable[[Scalar], Scalar] = field(repr=False)

    def sigma(self, gamma: Scalar) -> Scalar:
        r"""$\sigma = e^{\gamma/2} \alpha$, the noise scale."""
        return exp(gamma / 2) * self.alpha(gamma)


VARIANCE_PRESERVING = Scaling(
    "variance-preserving", alpha=lambda gamma: sqrt(sigmoid(-gamma)), log_alpha_slope=lambda gamma: -sigmoid(gamma) / 2
)
RECTIFIED_FLOW = Scaling(
    "rectified-flow", alpha=lambda gamma: sigmoid(-gamma / 2), log_alpha_slope=lambda gamma: -sigmoid(gamma / 2) / 2
)
VARIANCE_EXPLODING = Scaling(
    "variance-exploding", alpha=lambda gamma: 0 * gamma + 1, log_alpha_slope=lambda gamma: 0 * gamma
)
SCALINGS = {scaling.name: scaling for scaling in (VARIANCE_PRESERVING, RECTIFIED_FLOW, VARIANCE_EXPLODING)}
