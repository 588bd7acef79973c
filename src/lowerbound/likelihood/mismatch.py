r"""What the flow's base density costs where the schedule's noise end still knows the data.

The flow ends in $z = a_1 x + s_1 \epsilon_1$, whose density is taken to be N(0, I). It is that of data N(0, I); of others it
is $q(z)$, and $\log p(x)$ is off by $\log N(z; 0, I) - \log q(z)$, to first order $-a_1 m \cdot z$ of data with the mean m.
The denoiser knows q: by Tweedie's formula

$$\nabla \log \frac{q(z)}{N(z; 0, I)} = \frac{a_1}{s_1^2} \big(\hat x(z) - a_1 z\big),$$

so along the ray from the origin

$$\log \frac{q(z)}{N(z; 0, I)} = c + R(z), \qquad
R(z) = \frac{a_1}{s_1^2} \int_0^1 z \cdot \big(\hat x(\lambda z) - a_1 \lambda z\big)\, d\lambda,$$

by Gauss's rule of two nodes, exact for Gaussian data. As q integrates to one, $e^{-c} = E_{N(0, I)} e^{R(z)}$. The linear
part of R is $b = a_1 \hat x(0) / s_1^2$; the mean of the rest, $E_{N(b, I)} e^{R(z) - b \cdot z + b^2 / 2}$, is
taken over points $b \pm \sqrt D u_i$ with orthonormal $u_i$, a fixed choice: of a quadratic R exactly, to second order in
$a_1$, for up to `DIRECTIONS` dimensions, of more an estimate.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.denoiser import Denoiser
from lowerbound.denoiser.base import preserving
from lowerbound.elementary import present, sum_dims
from lowerbound.rng import Stream
from lowerbound.shapes import Examples, PerExample

DIRECTIONS = 8
_NODES = (0.5 - 0.5 / math.sqrt(3), 0.5 + 0.5 / math.sqrt(3))  # Gauss's on [0, 1], of equal weight


@torch.no_grad()
def base_mismatch(denoiser: Denoiser, z: Examples) -> PerExample:
    r"""$\log N(z; 0, I) - \log q(z)$, nats, q the density of z as the denoiser has it (formula in the module's docstring).

    An estimate: right for the best denoiser up to third order in $a_1$; of a network, what follows from its own score.

    Arguments:
        denoiser: the model.
        z: $a_1 x + s_1 \epsilon_1$, the noisiest latents in units of unit variance, (B, *).
    """
    level, observed = denoiser.schedule.level(1.0), denoiser.observed
    a, s = (float(value) for value in preserving(level.gamma))

    def slope(z: Tensor) -> Tensor:
        """The gradient of log q(z) / N(z)."""
        return a / s**2 * present(denoiser(z * (float(level.alpha) / a), level).x - a * z, observed)

    def ray(z: Tensor) -> Tensor:
        """R(z)"""
        return torch.stack([sum_dims(z * slope(node * z)) for node in _NODES]).mean(0)

    # the constant is one for all examples, and its points one batch, unless they have conditions or gaps of their own
    shared = denoiser.rows(torch.zeros(1, dtype=torch.long)) is denoiser
    linear = slope(torch.zeros_like(z[:1] if shared else z))
    points = _points(z)

    def log_weight(point: Tensor) -> Tensor:
        """R(b + u) - b (b + u) + b^2 / 2"""
        shifted = linear + present(point, observed)
        return ray(shifted) - sum_dims(linear * shifted) + sum_dims(linear.square()) / 2

    log_weights = log_weight(points[:, 0])[:, None] if shared else torch.stack([log_weight(each) for each in points])
    return log_weights.logsumexp(0) - math.log(len(points)) - ray(z)


def _points(z: Tensor) -> Float[Tensor, "num_points 1 *shape"]:
    r"""$\pm \sqrt D u_i$ with orthonormal $u_i$, the same for every batch."""
    num_dims = z[0].numel()
    normal = Stream(0).normal(torch.empty(num_dims, min(num_dims, DIRECTIONS), dtype=torch.float64))
    directions = math.sqrt(num_dims) * torch.linalg.qr(normal)[0].T
    return torch.cat([directions, -directions]).to(z).reshape(-1, 1, *z.shape[1:])
