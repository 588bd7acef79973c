"""What a model's settings mean: its noise, what its network returns and is given, and what stands around it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowerbound.elementary import Scalar, expand
from lowerbound.errors import InputError
from lowerbound.imports.foreign import Target
from lowerbound.schedule import Level, Schedule


@dataclass(frozen=True)
class Conventions:
    """What a model's settings mean.

    Arguments:
        schedule, target, time: as of a `ForeignDenoiser`.
        around: what stands around the network.
        learned_variance: whether the network says its reverse variance, as of a `ForeignDenoiser`.
    """

    schedule: Schedule
    target: str | Target
    time: Callable[[Level], Scalar]
    around: Callable[[nn.Module], nn.Module] = lambda network: network
    learned_variance: bool = False


def labels(x: Tensor, cond: Tensor | None, num_classes: int, null: int | None) -> Tensor | None:
    """A label for each image, as a network is given them.

    Arguments:
        x: the images, (B, *).
        cond: labels (B,) with -1 for none, or None for none at all.
        num_classes: that the network knows; 0 for none.
        null: the number that it was trained with for an image of no label, or None if it was not.

    Raises:
        InputError: if they are no such labels, or one is missing to a network that knows no image of none.
    """
    if not num_classes:
        if cond is not None:
            raise InputError("a condition was given, and the network takes none")
        return None
    cond = torch.full((len(x),), -1, device=x.device) if cond is None else cond
    if cond.ndim != 1 or cond.is_floating_point() or not bool(((cond >= -1) & (cond < num_classes)).all()):
        raise InputError(f"the network takes labels (B,) from 0 to {num_classes - 1}, or -1 for none")
    if null is not None:
        return torch.where(cond < 0, null, cond)
    if bool((cond < 0).any()):
        raise InputError(
            f"the network was trained with one of {num_classes} labels for every image, and does not know images of none: "
            "give a label for each"
        )
    return cond


class Around(nn.Module):
    """A network whose images are made ready before, and whose output is afterwards.

    Arguments:
        network: (x, time, cond) -> tensor.
        before: of x, such as from [0, 1] to [-1, 1].
        after: of the output, such as its first channels.
    """

    def __init__(
        self,
        network: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda output: output,
    ):
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.after(self.network(self.before(x), time, cond))


class Preconditioned(nn.Module):
    r"""$D(x; \sigma) = c_{skip} x + c_{out} F(c_{in} x, \frac14 \log \sigma)$ (Karras et al. 2022, equation 7, table 1).

    Arguments:
        network: F.
        sigma_data: the data's standard deviation.
        sign: of $c_{out}$: 1 for `epsilon`, -1 for `v_prediction`, as diffusers has them.
    """

    def __init__(self, network: nn.Module, sigma_data: float, sign: float):
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data
        self.sign = sign

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        variance = sigma**2 + self.sigma_data**2
        skip, out = self.sigma_data**2 / variance, self.sign * sigma * self.sigma_data / variance.sqrt()
        output = self.network(expand(variance.rsqrt(), x) * x, sigma.log() / 4, cond)
        return expand(skip, x) * x + expand(out, x) * output
