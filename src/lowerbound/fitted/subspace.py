r"""A mixture of Gaussians of the first principal components of examples, for what much noise leaves to be seen.

With m the mean of the data, P their first R principal axes, of which a mixture has the components $z = P^T (x - m)$, and v
the mean variance along all other axes, there is of $y = x_t / \alpha_t = x + r \epsilon$

$$\hat x^S(x_t) = m + P\, E\big[z \,\big|\, P^T (y - m)\big] + \tfrac{v}{v + r^2} (I - P P^T) (y - m) .$$

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
    r"""A mixture along few axes and independent noise along all others; N(0, I) before `fit`.

    Arguments:
        num_dims: D, the entries of an example.
        num_axes: R, at most D.
        num_components: K of the mixture, at least 1.

    Attributes:
        center, axes, rest: m, (D,), P, (D, R), and v, (), in double precision.
        mixture: of the components z.

    Raises:
        InputError: for no axes, or more than there are entries.
    """

    def __init__(self, num_dims: int, num_axes: int, num_components: int):
        super().__init__()
        if not 1 <= num_axes <= num_dims:
            raise InputError(f"{num_axes} principal axes of {num_dims} entries: give from 1 to {num_dims}")
        self.center = constant(torch.zeros(num_dims, dtype=torch.float64))
        self.axes = constant(unit_matrix(num_dims, num_axes))
        self.rest = constant(torch.ones((), dtype=torch.float64))
        self.mixture = FittedMixture(num_components, (Real(),) * num_axes)

    @torch.no_grad()
    def fit(
        self,
        center: Float[Tensor, "num_dims"],
        axes: Float[Tensor, "num_dims num_axes"],
        rest: float,
        weights: Float[Tensor, "num_used"],
        means: Float[Tensor, "num_used num_axes"],
        covariances: Float[Tensor, "num_used num_axes num_axes"],
    ) -> "FittedSubspace":
        """Become this one: a mixture of K components or fewer along orthonormal axes, the variance `rest` along others."""
        self.center.copy_(center)
        self.axes.copy_(axes)
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
        center, axes, rest = (each.detach().to(x_t.dtype) for each in (self.center, self.axes, self.rest))
        offset = flat / expand(level.alpha, flat) - center
        along = offset @ axes
        ratio = expand(exp(level.gamma / 2), along)
        z = along - ratio * self.mixture.eps(expand(level.alpha, along) * along, level)
        kept = rest / (rest + ratio**2)
        return (center + kept * (offset - along @ axes.T) + z @ axes.T).reshape(x_t.shape)
