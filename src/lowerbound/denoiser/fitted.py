r"""A mixture of Gaussians that a network stands upon, so that it has to learn only what the mixture gets wrong.

With $y = x_t / \alpha_t$ and $r = e^{\gamma / 2}$, and F what the network says,

$$\hat\epsilon = \hat\epsilon^M(x_t) + F, \qquad
\hat\epsilon^M = \sum_k p(k | x_t)\, r\, (S_k + r^2 I)^{-1} (y - m_k) .$$

As long as the network is silent the bound is the mixture's own log density: on a table of a few hundred rows, of which a
network alone learns little but the rows themselves, it begins where the mixture ends.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.denoiser.exact import GaussianMixture
from lowerbound.elementary import exp
from lowerbound.errors import InputError
from lowerbound.schedule import Level, LinearGamma
from lowerbound.shapes import Examples


class FittedMixture(nn.Module):
    r"""$\hat\epsilon^M(x_t)$ of a mixture of at most K Gaussians in D dimensions; of N(0, I) before `fit`.

    Arguments:
        num_components: K, at least 1.
        num_entries: D.

    Attributes:
        weights, means, variances, axes: of the components, (K,), (K, D), and the eigenvalues, (K, D), and eigenvectors,
            (K, D, D), of their covariances, in double precision. A component that is not used has the weight 0.

    Raises:
        InputError: for no components.
    """

    def __init__(self, num_components: int, num_entries: int):
        super().__init__()
        if num_components < 1:
            raise InputError(f"a mixture of {num_components} Gaussians: give at least 1")
        self.weights = _constant(torch.eye(1, num_components, dtype=torch.float64)[0])
        self.means = _constant(torch.zeros(num_components, num_entries, dtype=torch.float64))
        self.variances = _constant(torch.ones(num_components, num_entries, dtype=torch.float64))
        self.axes = _constant(torch.eye(num_entries, dtype=torch.float64).repeat(num_components, 1, 1))

    @torch.no_grad()
    def fit(
        self,
        weights: Float[Tensor, "num_used"],
        means: Float[Tensor, "num_used dim"],
        covariances: Float[Tensor, "num_used dim dim"],
    ) -> None:
        """Become a mixture of K Gaussians or fewer."""
        variances, axes = torch.linalg.eigh(covariances)
        self.weights.zero_()
        for mine, given in (
            (self.weights, weights),
            (self.means, means),
            (self.variances, variances),
            (self.axes, axes),
        ):
            mine[: len(given)] = given.to(mine)

    def eps(self, x_t: Examples, level: Level, observed: Tensor | None = None) -> Examples:
        r"""$\hat\epsilon^M(x_t)$, (B, D); where entries are missing, that of the mixture of what is observed."""
        used = int(self.weights.count_nonzero())
        # a constant even in a copy of which everything was asked to learn
        parts = (each[:used].detach() for each in (self.weights, self.means, self.variances, self.axes))
        weights, means, variances, axes = (part.to(x_t.dtype if observed is None else part.dtype) for part in parts)
        if observed is not None:
            covariances = axes * variances[:, None] @ axes.mT
            mixture = GaussianMixture(weights, means, (covariances + covariances.mT) / 2, LinearGamma())
            return mixture.predict(x_t.double(), level, None, observed).eps.to(x_t.dtype)
        alpha, ratio = (
            torch.as_tensor(c, dtype=x_t.dtype, device=x_t.device).reshape(-1, 1, 1)
            for c in (level.alpha, exp(level.gamma / 2))
        )
        along = torch.einsum("bd,kde->bke", x_t, axes) / alpha - torch.einsum("kd,kde->ke", means, axes)
        spread = variances + ratio**2
        log_joint = weights.log() - 0.5 * (along.square() / spread + spread.log()).sum(2)
        share = log_joint.softmax(1)[..., None]
        return torch.einsum("bke,kde->bd", share * ratio * along / spread, axes)


def _constant(values: Tensor) -> nn.Parameter:
    """Saved with the weights, and moved by no gradient."""
    return nn.Parameter(values, requires_grad=False)
