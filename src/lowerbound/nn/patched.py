r"""A network at a fraction of the resolution: what lies in one patch of positions becomes the channels of one position."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.errors import InputError
from lowerbound.nn.modulated import ModulatedNetwork
from lowerbound.settings import check_least
from lowerbound.shapes import PerExample, Spatial


class Patched(nn.Module):
    r"""A network that sees and says p^d positions at a time, as channels of one.

    Sides that p does not divide are filled up with zeros on the way in, and cut on the way out.

    Arguments:
        network: (x, gamma, cond) -> outputs, with C p^d channels of x for C of an example.
        patch: p, positions along each spatial axis that become one.

    Raises:
        InputError: for a patch of fewer than one position, or a network that is given something along x.
    """

    def __init__(self, network: nn.Module, patch: int):
        super().__init__()
        check_least(1, patch=patch)
        if getattr(network, "num_given", 0):
            raise InputError("a network of patches is given nothing along x: leave the patch at 1")
        self.network, self.patch = network, patch
        self.takes_observed, self.takes_kinds = (
            bool(getattr(network, name, False)) for name in ("takes_observed", "takes_kinds")
        )

    def check(self, x: Tensor) -> None:
        """Refuse an x whose periodic axes do not close, by an InputError."""
        periodic: tuple[int, ...] = getattr(self.network, "periodic", ())  # pyrefly: ignore[bad-assignment]
        for axis in periodic:
            if x.shape[2 + axis] % self.patch:
                raise InputError(
                    f"periodic axis {axis} has {x.shape[2 + axis]} positions, which are no whole number of patches of "
                    f"{self.patch}: give another --coarse.patch, or another size"
                )
        if isinstance(self.network, ModulatedNetwork):
            self.network.check(to_patches(x, self.patch))

    def extra_repr(self) -> str:
        return f"patch={self.patch}"

    def forward(
        self,
        x: Spatial,
        gamma: PerExample,
        cond: Tensor | None = None,
        observed: Bool[Tensor, "batch channels *spatial"] | None = None,
        kinds: Float[Tensor, "batch num_kinds"] | None = None,
    ) -> Tensor:
        """The network's output for x at noise level gamma: arguments as of `UNet`."""
        presence = ()
        if self.takes_observed:  # what patches are filled up with is not there
            presence = (to_patches(torch.ones_like(x).bool() if observed is None else observed, self.patch),)
        told = {} if kinds is None else {"kinds": kinds}
        output = self.network(to_patches(x, self.patch), gamma, cond, *presence, **told)
        return from_patches(output, self.patch, x.shape[2:])


def to_patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, *spatial) as (B, C p^d, *fewer), filled up with zeros."""
    spatial = x.shape[2:]
    missing = [(0, -size % patch) for size in reversed(spatial)]
    x = functional.pad(x, [amount for pair in missing for amount in pair])
    num_dims, counts = len(spatial), [math.ceil(size / patch) for size in spatial]
    parts = x.reshape(*x.shape[:2], *(size for count in counts for size in (count, patch)))
    # channels, then places within a patch; then patches
    order = (0, 1, *range(3, 3 + 2 * num_dims, 2), *range(2, 2 + 2 * num_dims, 2))
    return parts.permute(order).reshape(x.shape[0], x.shape[1] * patch**num_dims, *counts)


def from_patches(x: Tensor, patch: int, spatial: torch.Size) -> Tensor:
    """The way back of `to_patches`, to the sizes that were there."""
    num_dims, counts = len(spatial), x.shape[2:]
    channels = x.shape[1] // patch**num_dims
    parts = x.reshape(x.shape[0], channels, *[patch] * num_dims, *counts)
    order = (0, 1, *(axis for each in range(num_dims) for axis in (2 + num_dims + each, 2 + each)))
    whole = parts.permute(order).reshape(x.shape[0], channels, *(count * patch for count in counts))
    return whole[(slice(None), slice(None), *(slice(size) for size in spatial))]
