r"""Conjugate gradients for a batch of linear systems, each with a matrix of its own that is only ever applied.

For a symmetric positive definite S they find $v = S^{-1} b$ in as many iterations as S has distinct eigenvalues, and in
between the best v of those so far reachable (Hestenes & Stiefel 1952). The covariance that a trained network implies is
neither quite symmetric nor quite positive, so three things keep a row from running away: it stops where the curvature
$d^T S d$ along its direction is not positive, or its residual is of the size of rounding errors, and what is returned is
the iterate with the smallest residual, not the last. The start, v = 0, is none of them: the first step leads to the lowest
point along b even where the residual grows, as it does where eigenvalues are far apart.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lowerbound.elementary import expand, sum_dims
from lowerbound.shapes import Examples


def conjugate_gradients(apply: Callable[[Tensor], Tensor], b: Examples, num_iterations: int) -> Examples:
    r"""$v \approx S^{-1} b$, each row alone.

    Arguments:
        apply: $v \mapsto S v$ of a batch.
        b: the right side, (B, *).
        num_iterations: applications of S, at most.
    """
    v, residual, direction = torch.zeros_like(b), b, b
    size = sum_dims(b**2)
    rounding = size * torch.finfo(b.dtype).eps ** 2
    best, least = v, torch.full_like(size, math.inf)
    for _ in range(num_iterations):
        image = apply(direction)
        curvature = sum_dims(direction * image)
        going = (curvature > 0) & (size > rounding)
        if not bool(going.any()):
            break
        length = torch.where(going, size / torch.where(going, curvature, 1), 0)
        v = v + expand(length, v) * direction
        residual = residual - expand(length, v) * image
        after = sum_dims(residual**2)
        closer = going & (after < least)
        best = torch.where(closer.reshape(-1, *[1] * (v.ndim - 1)), v, best)
        least = torch.where(closer, after, least)
        direction = residual + expand(torch.where(going, after / torch.where(going, size, 1), 0), v) * direction
        size = torch.where(going, after, 0)  # a row that stopped stays so
    return best
