r"""The running average of the weights, whose width stays a fixed share of the run.

$\bar\theta_n = b_n \bar\theta_{n-1} + (1 - b_n) \theta_n$, $b_n = (1 - 1/n)^{p + 1}$, so that step m has a weight
proportional to $m^p$ and the average needs no length to be chosen (Karras et al. 2024, "Analyzing and improving the
training dynamics of diffusion models", equations 123 to 127).
"""

import numpy as np
import torch
from torch import nn


class Average:
    """The average of a module's parameters.

    Arguments:
        module: whose parameters are followed; the average starts as a copy of them.
        width: standard deviation of the average's weights over steps, relative to the number of steps so far.
    """

    def __init__(self, module: nn.Module, width: float):
        self.exponent = _exponent(width)
        self.count = 0
        self.parameters = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the parameters after one more step."""
        self.count += 1
        share = 1 - (1 - 1 / self.count) ** (self.exponent + 1)
        for average, parameter in zip(self.parameters.values(), module.parameters(), strict=True):
            average.lerp_(parameter, share)  # one by one: weights that are divided know no lists

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the module's parameters with the averaged ones; a second call brings them back."""
        for name, parameter in module.named_parameters():
            newest = parameter.detach().clone()
            parameter.copy_(self.parameters[name])
            self.parameters[name].copy_(newest)


def _exponent(width: float) -> float:
    """p for a relative width: the largest root of a cubic (Karras et al. 2024, algorithm 2)."""
    roots = np.roots([1, 7, 16 - width**-2, 12 - width**-2])
    return max(root.real for root in roots if abs(root.imag) < 1e-9)
