"""Values of a function together with its gradient."""

from collections.abc import Callable

import torch
from torch import Tensor


def values_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$f(x)$, and $\nabla_x$ of its sum: each value's own gradient where it depends on its own part of x alone.

    Both can be differentiated again where gradients are enabled, and within the transforms of `torch.func`.

    Arguments:
        function: f, of a tensor of the shape of x; its values are of any shape.
        x: where f is taken.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        try:
            x = x if x.requires_grad else x.detach().requires_grad_()
        except RuntimeError:  # within such a transform, which knows its own derivatives alone
            return _within_transform(function, x)
        # without torch.func, whose first use in a process loads a compiler for a second
        values = function(x)
        (gradient,) = torch.autograd.grad(values.sum(), x, create_graph=differentiable)
    return values if differentiable else values.detach(), gradient


def _within_transform(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    def total(x: Tensor) -> tuple[Tensor, Tensor]:
        values = function(x)
        return values.sum(), values

    gradient, values = torch.func.grad(total, has_aux=True)(x)
    return values, gradient
