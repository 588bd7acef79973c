r"""Examples mirrored, turned and moved, of which a network is told, so that it does not take them for the data.

A network of few examples learns them by heart. Changed in ways that leave edges, strokes and surfaces what they are, they
are as many more; and as the network is told how each was changed, c, it learns $p(x | c)$. Asked with c = 0, as it is
whenever it is used, it is a model of the data alone, whose likelihood the changed examples do not touch (Jun et al. 2020,
"Distribution augmentation for generative modeling"; Karras et al. 2022, appendix F.2).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.rng import Noise

REACH = 8
"""An example is moved by up to an eighth of its size along an axis, at least by one position."""


def num_changes(shape: tuple[int, ...]) -> int:
    """How many numbers say how an example of the shape (C, *spatial) was changed."""
    return 2 * len(shape[1:]) + _can_turn(shape)


def augmented(
    x: Float[Tensor, "batch channels *spatial"], share: float, noise: Noise
) -> tuple[Float[Tensor, "batch channels *spatial"], Float[Tensor, "batch changes"]]:
    """Examples of which some are changed, and how: for each axis whether it was mirrored, of squares whether they were
    transposed, for each axis by how much of the most it was moved; all zero for an example as it is.

    What is moved leaves its outermost entries behind. Entries stay on their levels, and NaN where they are missing.

    Arguments:
        x: examples, (B, C, *spatial).
        share: the probability that an example is changed.
        noise: where it comes from.
    """
    spatial, shape = range(2, x.ndim), tuple(x.shape[1:])
    chosen, *draws = noise.uniform(x.new_empty(len(x), 1 + num_changes(shape))).unbind(1)
    chosen = chosen < share
    changes = []

    def apply(change: Tensor, changed: Tensor) -> None:
        nonlocal x
        x = torch.where(change.view(-1, *[1] * (x.ndim - 1)) != 0, changed, x)
        changes.append(change.to(x.dtype))

    for axis in spatial:
        apply(chosen & (draws.pop() < 0.5), x.flip(axis))
    if _can_turn(shape):
        apply(chosen & (draws.pop() < 0.5), x.transpose(2, 3))
    for axis in spatial:
        most = max(1, x.shape[axis] // REACH)
        by = torch.where(chosen, (draws.pop() * (2 * most + 1)).floor() - most, 0)
        apply(by / most, _moved(x, axis, by.long()))
    return x, torch.stack(changes, 1)


def _can_turn(shape: tuple[int, ...]) -> bool:
    """Whether examples are squares, which keep their shape when they are transposed."""
    return len(shape) == 3 and shape[1] == shape[2]


def _moved(x: Tensor, axis: int, by: Tensor) -> Tensor:
    """Each example moved along an axis by a number of positions of its own, (B,)."""
    size = x.shape[axis]
    places = (torch.arange(size, device=x.device) - by[:, None]).clamp(0, size - 1)
    return x.take_along_dim(places.view(len(x), *(size if each == axis else 1 for each in range(1, x.ndim))), axis)
