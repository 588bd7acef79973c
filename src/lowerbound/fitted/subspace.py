r"""A mixture of Gaussians of the first principal components of examples, for what much noise leaves to be seen.

With m the mean of the data, P their first R principal axes, of which a mixture has the components $z = P^T (x - m)$, Q
further ones along which x is Gaussian, of variances $v_j$, and v the mean variance along all that are left, there is of
$y = x_t / \alpha_t = x + r \epsilon$

$$\hat x^S(x_t) = m + P\, E\big[z \,\big|\, P^T (y - m)\big] + \Big(Q \frac{v_j}{v_j + r^2} Q^T
  + \frac{v}{v + r^2} (I - P P^T - Q Q^T)\Big) (y - m) .$$

Noise of more than a few times the width of the data hides all but what many entries have in common. A network learns that
slowly, for nearly all of its output has to be exactly what is known of no example; the mixture is fitted in seconds.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.blocks import Real
from lowerbound.elementary import exp, expand
from lowerbound.errors import InputError
from lowerbound.fitted.mixture import FittedMixture, constant, unit_matrix
from lowerbound.schedule import Level
from lowerbound.shapes import Examples


class FittedSubspace(nn.Module):
    r"""A mixture along few axes, and independent noise along all others; N(0, I) before `fit`.

    Arguments:
        num_dims: D, the entries of an example.
        num_axes: R, at most D.
        num_components: K of the mixture, at least 1.
        num_further: J, the axes after these that have a variance each, at most D - R.

    Attributes:
        num_axes: R.
        center, axes: m, (D,), and P beside Q, (D, R + J), in double precision.
        variances, rest: $v_j$, (J,), and v, ().
        mixture: of the components z.

    Raises:
        InputError: for no axes, or more than there are entries.
    """

    def __init__(self, num_dims: int, num_axes: int, num_components: int, num_further: int = 0):
        super().__init__()
        if num_axes < 1 or num_further < 0 or num_axes + num_further > num_dims:
            raise InputError(
                f"{num_axes} principal axes and {num_further} further ones of {num_dims} entries: give 1 or more, of "
                f"both together at most {num_dims}"
            )
        self.num_axes = num_axes
        self.center = constant(torch.zeros(num_dims, dtype=torch.float64))
        self.axes = constant(unit_matrix(num_dims, num_axes + num_further))
        self.variances = constant(torch.ones(num_further, dtype=torch.float64))
        self.rest = constant(torch.ones((), dtype=torch.float64))
        self.mixture = FittedMixture(num_components, (Real(),) * num_axes)

    @torch.no_grad()
    def fit(
        self,
        center: Float[Tensor, "num_dims"],
        axes: Float[Tensor, "num_dims num_all_axes"],
        variances: Float[Tensor, "num_further"],
        rest: float,
        weights: Float[Tensor, "num_used"],
        means: Float[Tensor, "num_used num_axes"],
        covariances: Float[Tensor, "num_used num_axes num_axes"],
    ) -> "FittedSubspace":
        """Become this one: a mixture of K components or fewer along the first of orthonormal axes, variances along others.

        Further axes may be fewer than J.
        """
        self.center.copy_(center)
        self.axes.zero_()[:, : axes.shape[1]] = axes
        self.variances.fill_(rest)[: len(variances)] = variances
        self.rest.fill_(rest)
        self.mixture.fit(weights, means, covariances)
        return self

    def x(self, x_t: Examples, level: Level) -> Examples:
        r"""$\hat x^S(x_t)$, (B, *), to the precision of $x_t$.

        Arguments:
            x_t: noisy examples, (B, *).
            level: of their noise.
        """
        flat = x_t.flatten(1)
        constants = self.center, self.axes, self.variances, self.rest
        center, axes, variances, rest = (each.detach().to(x_t.dtype) for each in constants)
        offset = flat / expand(level.alpha, flat) - center
        along = offset @ axes
        mixed, further = along.tensor_split([self.num_axes], 1)
        ratio = expand(exp(level.gamma / 2), along)
        z = mixed - ratio * self.mixture.eps(expand(level.alpha, mixed) * mixed, level)
        kept = rest / (rest + ratio**2)
        known = torch.cat([z, variances / (variances + ratio**2) * further], 1)
        return (center + kept * offset + (known - kept * along) @ axes.T).reshape(x_t.shape)
