r"""AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2), by torch's function for it.

Torch's class of that name imports the compiler when it is made, which takes longer than a short training's first steps.
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

KEYS = ("exp_avg", "exp_avg_sq", "step")
"""What is remembered of each parameter: the averages of its gradients and of their squares, and the number of steps."""


class AdamW:
    r"""The optimiser.

    Arguments:
        betas: $\beta_1$ and $\beta_2$, the shares of the averages of gradients and of their squares that stay in a step.
        fused: whether a step is one kernel, which rounds otherwise; None: as torch sees fit.
    """

    def __init__(self, betas: tuple[float, float], fused: bool | None):
        constants = {"amsgrad": False, "beta1": betas[0], "beta2": betas[1], "eps": 1e-8, "maximize": False}
        self.function, self.fused = partial(adamw, fused=fused, **constants), fused
        self.memory: dict[nn.Parameter, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        """Move the parameters that have a gradient; weights lose the share learning rate x weight decay of themselves."""
        moved = {p: p.grad for p in parameters if p.grad is not None}
        for p in (p for p in moved if p not in self.memory):
            step = torch.zeros((), dtype=torch.float32, device=p.device if self.fused else "cpu")
            self.memory[p] = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p), "step": step}
        averages, squares, steps = ([self.memory[p][key] for p in moved] for key in KEYS)
        tensors = list[Tensor](moved), list(moved.values()), averages, squares, [], steps
        self.function(*tensors, lr=learning_rate, weight_decay=weight_decay)
