r"""Muon: hidden weight matrices move along the orthogonal matrix that is nearest to their averaged gradient.

With the singular value decomposition $M = U S V^\top$ the nearest orthogonal matrix, the polar factor, is $U V^\top$: all
directions learn at one rate (Jordan et al. 2024). It is found without a decomposition, by polynomials that bring the
singular values to one by and by, an iteration of Newton and Schulz's kind,

$$X_{k+1} = P_k X_k, \quad P_k = a_k + b_k G_k + c_k G_k^2, \quad G_k = X_k X_k^\top = P_{k-1} G_{k-1} P_{k-1} ,$$

each polynomial the best of its degree for where the one before has left the singular values (Amsel et al. 2025, "The Polar
Express"). All products but the first and the last are of matrices of the smaller side, which makes a convolution's cheap.
They are taken in single precision on every device: bfloat16 is emulated, many times slower, on processors without units for
it, and does not resolve the squares in G.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.training.parallel.processes import by_member, by_row

MOMENTUM_KEY = "momentum_buffer"
"""What is remembered of each parameter, the average of its gradients."""
MOMENTUM = 0.95
"""The share of the gradients' average that stays in each step."""
SMALLEST = 0.01
"""The singular value, relative to the Frobenius norm, from which on the iteration converges; below it they grow 153-fold."""
DEVIATION = 0.013
"""How far from one the iteration leaves singular values of `SMALLEST` and more."""
POLYNOMIALS = (
    (8.093369, -23.620432, 17.446152),
    (3.636586, -2.721927, 0.536546),
    (2.6613, -1.977155, 0.452616),
    (1.956172, -1.337508, 0.383853),
)
"""a, b and c: of least deviation from one on [0.01, 1], then on the interval that the polynomial before leads to."""


class Muon:
    """The optimiser of weight matrices; a convolution's weight counts as the matrix (out, in x kernel)."""

    def __init__(self):
        self.memory: dict[nn.Parameter, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        """Move the matrices and kernels that have a gradient; those of one shape are orthogonalised together.

        The polar factor of a matrix whose rows are divided among processes is that of the whole: of those of one shape each
        process is given its share whole, and gives the factors back by rows.

        Arguments:
            parameters: what is moved.
            learning_rate: of this step.
            weight_decay: the share of a weight that is lost, as a multiple of the learning rate.
        """
        by_shape: dict[tuple[int, int], list[nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                rows = parameter.shape[0]
                by_shape.setdefault((rows, parameter.numel() // rows), []).append(parameter)
        stacks = [torch.stack([self._direction(parameter) for parameter in group]) for group in by_shape.values()]
        factors = polar_factors(*map(by_member, stacks))
        for group, stack, own_factors in zip(by_shape.values(), stacks, factors, strict=True):
            directions = by_row(own_factors, stack)
            rows, columns = directions.shape[1:]
            # a tall matrix's orthogonal columns are short on each row: lengthened, the outputs change as much as others'
            rate = learning_rate * max(1.0, rows / columns) ** 0.5
            for parameter, direction in zip(group, directions.unbind(), strict=True):
                if weight_decay:
                    parameter.mul_(1 - learning_rate * weight_decay)
                parameter.sub_(direction.view(parameter.shape), alpha=rate)

    def _direction(self, parameter: nn.Parameter) -> Tensor:
        """The gradient averaged over steps, looking one step ahead as Nesterov's momentum does, as a matrix."""
        gradient = parameter.grad
        assert gradient is not None
        if parameter not in self.memory:
            self.memory[parameter] = {MOMENTUM_KEY: torch.zeros_like(gradient)}
        average = self.memory[parameter][MOMENTUM_KEY].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(average, MOMENTUM).flatten(1)


def polar_factors(*stacks: Float[Tensor, "_ _ _"]) -> list[Float[Tensor, "_ _ _"]]:
    r"""The orthogonal matrices nearest to matrices, $U V^\top$ of $M = U S V^\top$, to about `DEVIATION`.

    Those of one smaller side take the iteration together, whatever their other side is.

    Arguments:
        stacks: matrices of any scale, (N, rows, columns) each.
    """
    wide = [_scaled(stack if stack.shape[1] <= stack.shape[2] else stack.mT) for stack in stacks]
    factors: list[Tensor] = [*wide]
    for side in {x.shape[1] for x in wide}:
        members = [number for number, x in enumerate(wide) if x.shape[1] == side]
        gram = torch.cat([wide[number] @ wide[number].mT for number in members])
        # the matrices are as long as the trace tells: it divides what is small, in their place
        squares = gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1.0)[:, None, None]
        polynomials = _iterated(gram / squares) * squares.rsqrt()
        for number, polynomial in zip(
            members, polynomials.split([len(wide[number]) for number in members]), strict=True
        ):
            factors[number] = polynomial @ wide[number]
    return [
        factor if stack.shape[1] <= stack.shape[2] else factor.mT for factor, stack in zip(factors, stacks, strict=True)
    ]


def _scaled(matrices: Tensor) -> Tensor:
    """The matrices, the largest entry of each one or minus one, so that no square underflows."""
    largest = matrices.abs().amax((1, 2), keepdim=True)
    return matrices / largest.clamp_min(torch.finfo(matrices.dtype).tiny)


def _iterated(gram: Tensor) -> Tensor:
    r"""$P_K \dots P_1 P_0$ of the iteration that begins at a matrix $G_0$."""
    factor = polynomial = _polynomial(gram, *POLYNOMIALS[0])
    for coefficients in POLYNOMIALS[1:]:
        gram = polynomial @ gram @ polynomial
        polynomial = _polynomial(gram, *coefficients)
        factor = polynomial @ factor
    return factor


def _polynomial(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    value = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    value.diagonal(dim1=1, dim2=2).add_(a)
    return value
