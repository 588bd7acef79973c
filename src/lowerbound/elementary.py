"""Elementary functions of numbers and tensors alike.

A coefficient is a Python float when a whole batch shares its noise level (sampling: no tensor arithmetic per step, and
double precision whatever the data's) and a tensor of shape (B,) when each example has its own (training). Formulas are
written once for both.
"""

import math
import typing

import torch
from torch import Tensor

Scalar = float | Tensor


def exp(value: Scalar) -> Scalar:
    """$e^x$"""
    return torch.exp(value) if isinstance(value, Tensor) else math.exp(value)


def expm1(value: Scalar) -> Scalar:
    """$e^x - 1$ without cancellation near zero."""
    return torch.expm1(value) if isinstance(value, Tensor) else math.expm1(value)


def log(value: Scalar) -> Scalar:
    """$\\ln x$"""
    return torch.log(value) if isinstance(value, Tensor) else math.log(value)


def sqrt(value: Scalar) -> Scalar:
    """$\\sqrt{x}$"""
    return torch.sqrt(value) if isinstance(value, Tensor) else math.sqrt(value)


def sigmoid(value: Scalar) -> Scalar:
    """$1 / (1 + e^{-x})$, accurate at both ends."""
    if isinstance(value, Tensor):
        return torch.sigmoid(value)
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def expand(coefficient: Scalar, like: Tensor) -> Scalar:
    """A coefficient of shape (B,) made to broadcast over `like` of shape (B, *); a number stays one."""
    if isinstance(coefficient, Tensor) and coefficient.ndim == 1:
        return coefficient.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
    return coefficient


def unit_vectors(x: Tensor) -> Tensor:
    """All directions of an example, (D, 1, *), of a batch (B, *) of D entries each."""
    num_dims = x[0].numel()
    return torch.eye(num_dims, dtype=x.dtype, device=x.device).reshape(num_dims, 1, *x.shape[1:])


def sum_dims(values: Tensor) -> Tensor:
    """The sum over everything but the batch: (B, *) -> (B,)."""
    return values.flatten(1).sum(1)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # pyrefly: ignore[bad-override]
        (factor,) = ctx.saved_tensors
        return gradient * factor, None


def scale_gradient(value: Tensor, factor: Tensor) -> Tensor:
    """The value itself, whose gradient is multiplied by a factor on its way back."""
    return typing.cast(Tensor, _ScaledGradient.apply(value, factor))


def present(values: Tensor, observed: Tensor | None) -> Tensor:
    """The values of observed entries and zero elsewhere: what is missing may be NaN, and NaN times zero would spread."""
    return values if observed is None else torch.where(observed, values, 0)


def count_dims(x: Tensor, observed: Tensor | None) -> Tensor:
    """How many entries of each example are observed, all of them if None: (B,)."""
    return x.new_full((len(x),), x[0].numel()) if observed is None else sum_dims(observed.to(x.dtype))
