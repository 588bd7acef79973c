r"""Gaussians of many numbers that few factors move (factor analysis): what is asked of them takes no matrix of all numbers.

$x = m + \Lambda z + \psi^{1/2} \epsilon$ with $\psi$ diagonal, z of N(0, I_k) and $\epsilon$ of N(0, I_N) is of
$N(m, \Lambda \Lambda^T + \psi)$. Of u = x - m, each number of which is seen under noise of its own, with P the precisions of
$\psi$ and noise together, 0 where a number is not seen,

$$M = I + \Lambda^T P \Lambda, \quad E[z | u] = M^{-1} \Lambda^T P u, \quad Cov[z | u] = M^{-1}, \quad
(\Lambda \Lambda^T + P^{-1})^{-1} u = P (u - \Lambda E[z | u])$$

and $\log \det$ of that covariance is $\log \det M - \log \det P$ (Woodbury). Numbers that are missing drop out of sums over
numbers; nothing is factorised but M, of k rows.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor


class Explained(NamedTuple):
    r"""What factors say of offsets.

    Arguments:
        factors: $E[z | u]$, (..., k).
        triangle: the lower triangle L of $M = L L^T$, (..., k, k).
        residual: $(\Lambda \Lambda^T + P^{-1})^{-1} u$, (..., N).
        square: $u^T (\Lambda \Lambda^T + P^{-1})^{-1} u$, (...).
        log_det: $\log \det M$, (...).
    """

    factors: Tensor
    triangle: Tensor
    residual: Tensor
    square: Tensor
    log_det: Tensor


def explain(
    offset: Float64[Tensor, "batch num_used num_numbers"],
    precision: Float64[Tensor, "batch num_used num_numbers"],
    loadings: Float64[Tensor, "num_used num_numbers num_factors"],
) -> Explained:
    r"""What factors say of offsets.

    Arguments:
        offset: u.
        precision: the diagonal of P.
        loadings: $\Lambda$.
    """
    weighted, num_factors = precision * offset, loadings.shape[-1]
    outer = (loadings[..., None] * loadings[..., None, :]).flatten(2)
    gram = torch.einsum("bkn,knp->bkp", precision, outer).unflatten(2, (num_factors, num_factors))
    pull = torch.einsum("bkn,knc->bkc", weighted, loadings)
    triangle = torch.linalg.cholesky(gram + torch.eye(num_factors, dtype=gram.dtype, device=gram.device))
    factors = torch.cholesky_solve(pull[..., None], triangle)[..., 0]
    residual = weighted - precision * (loadings @ factors[..., None])[..., 0]
    square = (weighted * offset).sum(-1) - (pull * factors).sum(-1)
    return Explained(factors, triangle, residual, square, 2 * triangle.diagonal(dim1=-2, dim2=-1).log().sum(-1))


def unexplained(explained: Explained, precision: Tensor, loadings: Tensor) -> Tensor:
    r"""The diagonal of $(\Lambda \Lambda^T + P^{-1})^{-1}$ for numbers of these precisions and loadings."""
    moving = torch.linalg.solve_triangular(explained.triangle, loadings.mT, upper=False)
    return precision - precision.square() * moving.square().sum(-2)
