r"""The running average of the weights, whose width stays a fixed share of the run.

$\bar\theta_n = b_n \bar\theta_{n-1} + (1 - b_n) \theta_n$, $b_n = (1 - 1/n)^{p + 1}$, so that step m has a weight
proportional to $m^p$ and the average needs no length to be chosen (Karras et al. 2024, "Analyzing and improving the
training dynamics of diffusion models", equations 123 to 127).
"""

import numpy as np
import torch
from torch import Tensor, nn


class Average:
    """The average of a module's parameters.

    Arguments:
        module: whose parameters are followed; the average starts as a copy of them.
        width: standard deviation of the average's weights over steps, relative to the number of steps so far.
    """

    def __init__(self, module: nn.Module, width: float):
        self.exponent = _exponent(width)
        self.count = 0
        self.parameters: dict[str, Tensor] = {}
        # those that are whole in one list and those that are divided among processes in another: a list is one call
        self._lists: dict[type, tuple[list[Tensor], list[Tensor]]] = {}
        for name, parameter in module.named_parameters():
            average, newest = parameter.detach().clone(), parameter.detach()
            self.parameters[name] = average
            averages, parameters = self._lists.setdefault(type(average), ([], []))
            averages.append(average)
            parameters.append(newest)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters after one more step."""
        self.count += 1
        share = 1 - (1 - 1 / self.count) ** (self.exponent + 1)
        for averages, parameters in self._lists.values():
            torch._foreach_lerp_(averages, parameters, share)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the module's parameters with the averaged ones; a second call brings them back."""
        for averages, parameters in self._lists.values():
            for average, parameter in zip(averages, parameters, strict=True):
                newest = parameter.clone()
                parameter.copy_(average)
                average.copy_(newest)


def _exponent(width: float) -> float:
    """p for a relative width: the largest root of a cubic (Karras et al. 2024, algorithm 2)."""
    roots = np.roots([1, 7, 16 - width**-2, 12 - width**-2])
    return max(root.real for root in roots if abs(root.imag) < 1e-9)
