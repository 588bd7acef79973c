r"""Linear operators: what was measured of x, $y = A x + \nu n$ with n standard normal.

Methods need A and its adjoint only, each as a function of a batch; neither is ever written down as a matrix. An adjoint that
is not one gives plausible pictures of something else, so every method first holds it against
$\langle A x, u \rangle = \langle x, A^T u \rangle$ for random x and u.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from lowerbound.elementary import sum_dims
from lowerbound.errors import InputError
from lowerbound.rng import Stream
from lowerbound.settings import check_choice, check_least
from lowerbound.shapes import Examples
from lowerbound.words.brief import Brief

PADDINGS = ("zeros", "circular")
_TOLERANCE = 1000.0  # of the dot-product test, in rounding errors


class Operator(ABC):
    """A linear map of examples: the same for each row of a batch of any size, except where a `Mask` has one of its own."""

    @abstractmethod
    def forward(self, x: Examples) -> Float[Tensor, "batch *measured"]:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Float[Tensor, "batch *measured"]) -> Examples:
        r"""$A^T y$."""


@dataclass(frozen=True, eq=False)
class LinearOperator(Operator):
    r"""Any operator, given as a function with its adjoint.

    Arguments:
        apply: $x \mapsto A x$ of a batch, (B, *shape) -> (B, *measured).
        apply_adjoint: $y \mapsto A^T y$, (B, *measured) -> (B, *shape).
    """

    apply: Callable[[Tensor], Tensor]
    apply_adjoint: Callable[[Tensor], Tensor]

    def forward(self, x: Examples) -> Float[Tensor, "batch *measured"]:
        return self.apply(x)

    def adjoint(self, y: Float[Tensor, "batch *measured"]) -> Examples:
        return self.apply_adjoint(y)


@dataclass(frozen=True, eq=False, repr=False)
class Mask(Brief, Operator):
    """The entries that are known; the others are zero in y, which keeps x's shape.

    Arguments:
        observed: True where an entry is known, of the shape of one example or with a batch axis before it.

    Raises:
        InputError: if it is not of booleans.
    """

    observed: Bool[Tensor, "*shape"]

    def __post_init__(self):
        if self.observed.dtype != torch.bool:
            raise InputError(f"a mask of type {self.observed.dtype}: give booleans, True where an entry is known")

    def forward(self, x: Examples) -> Examples:
        if x.shape[1:] != self.observed.shape and x.shape != self.observed.shape:
            raise InputError(
                f"a mask of shape {tuple(self.observed.shape)} for a batch of shape {tuple(x.shape)}: it must have the "
                "shape of one example, or of all"
            )
        return torch.where(self.observed, x, 0)

    def adjoint(self, y: Examples) -> Examples:
        return self.forward(y)


@dataclass(frozen=True)
class Downsample(Operator):
    """The means of cubes of `factor` entries along each axis after the channels: averaging pixels into larger ones.

    Arguments:
        factor: the length of a cube's sides.

    Raises:
        InputError: if it is less than one, or does not divide a length.
    """

    factor: int

    def __post_init__(self):
        check_least(1, factor=self.factor)

    def forward(self, x: Float[Tensor, "batch channels *lengths"]) -> Float[Tensor, "batch channels *shorter"]:
        if any(length % self.factor for length in x.shape[2:]) or x.ndim < 3:
            raise InputError(
                f"examples of shape {tuple(x.shape[1:])} cannot be averaged over {self.factor} entries along each axis "
                "after the channels: the factor must divide each length"
            )
        for axis in range(2, x.ndim):
            x = x.unflatten(axis, (-1, self.factor)).mean(axis + 1)
        return x

    def adjoint(self, y: Float[Tensor, "batch channels *shorter"]) -> Float[Tensor, "batch channels *lengths"]:
        for axis in range(2, y.ndim):
            y = y.repeat_interleave(self.factor, axis) / self.factor
        return y


@dataclass(frozen=True, eq=False, repr=False)
class Blur(Brief, Operator):
    r"""The convolution of each channel with a kernel, the lengths kept; its adjoint is the correlation.

    Arguments:
        kernel: of odd lengths, one axis for each of x's axes after the channels.
        padding: what stands beyond the borders: "zeros", or "circular" for x repeated.

    Raises:
        InputError: for even lengths, another padding, or a kernel of other axes than x, or longer.
    """

    kernel: Float[Tensor, "*lengths"]
    padding: str = "zeros"

    def __post_init__(self):
        if not 1 <= self.kernel.ndim <= 3 or any(length % 2 == 0 for length in self.kernel.shape):
            raise InputError(
                f"a kernel of shape {tuple(self.kernel.shape)}: give one to three axes of odd lengths, so that it has a "
                "centre"
            )
        check_choice("padding", self.padding, PADDINGS)

    def forward(self, x: Float[Tensor, "batch channels *lengths"]) -> Float[Tensor, "batch channels *lengths"]:
        # torch's convolutions are correlations
        return self._correlate(x, self.kernel.flip(tuple(range(self.kernel.ndim))))

    def adjoint(self, y: Float[Tensor, "batch channels *lengths"]) -> Float[Tensor, "batch channels *lengths"]:
        return self._correlate(y, self.kernel)

    def _correlate(self, x: Tensor, kernel: Tensor) -> Tensor:
        if x.ndim != kernel.ndim + 2 or any(k > n for k, n in zip(kernel.shape, x.shape[2:], strict=True)):
            raise InputError(
                f"a kernel of shape {tuple(kernel.shape)} for examples of shape {tuple(x.shape[1:])}: it must have an "
                "axis, no longer than theirs, for each one after the channels"
            )
        widths = [length // 2 for length in reversed(kernel.shape) for _side in range(2)]
        channels = x.flatten(0, 1)[:, None]
        padded = functional.pad(channels, widths, mode="constant" if self.padding == "zeros" else self.padding)
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[kernel.ndim - 1]
        return convolve(padded, kernel.to(x)[None, None]).reshape(x.shape)


def check_operator(
    operator: Operator, shape: tuple[int, ...], y: Float[Tensor, "batch *measured"], noise_std: float
) -> None:
    r"""Refuse, with an InputError, measurements that an operator does not make of examples of this shape, and an operator
    whose `adjoint` is not one: $\langle A x, u \rangle = \langle x, A^T u \rangle$ must hold for random x and u."""
    if not noise_std >= 0:
        raise InputError(f"noise_std is {noise_std}: it is a standard deviation, zero or more")
    noise = Stream(0, y.device)
    x, u = noise.normal(y.new_empty(len(y), *shape)), noise.normal(y)
    with torch.no_grad():
        image = operator.forward(x)
        if image.shape != y.shape:
            raise InputError(
                f"y has the shape {tuple(y.shape)}, but of examples of shape {tuple(shape)} this operator makes "
                f"{tuple(image.shape[1:])}: give ({len(y)}, {', '.join(map(str, image.shape[1:]))})"
            )
        back = operator.adjoint(u)
        if back.shape != x.shape:
            raise InputError(
                f"the adjoint makes {tuple(back.shape[1:])} of measurements of shape {tuple(y.shape[1:])}; examples have "
                f"the shape {tuple(shape)}"
            )
    image_u, x_back = sum_dims(image * u), sum_dims(x * back)
    scale = (sum_dims(image**2) * sum_dims(u**2)).sqrt() + (sum_dims(x**2) * sum_dims(back**2)).sqrt()
    excess = (image_u - x_back).abs() - _TOLERANCE * torch.finfo(y.dtype).eps * scale
    worst = int(excess.argmax())
    if not bool((excess <= 0).all()):
        raise InputError(
            f"the operator fails the dot-product test: <A x, u> = {image_u[worst]:.6g}, but <x, adjoint(u)> = "
            f"{x_back[worst]:.6g} for random x and u: one of the two functions is not the adjoint of the other, or not "
            "linear"
        )
