"""A residual multilayer perceptron for vectors: two-dimensional toys, rows of a table."""

from typing import Unpack

from torch import Tensor, nn
from torch.nn import functional

from lowerbound.errors import InputError
from lowerbound.nn.blocks import zeroed
from lowerbound.nn.modulated import Inputs, ModulatedNetwork
from lowerbound.settings import check_least


class ResidualLayer(nn.Module):
    r"""$h + W_2\, \mathrm{silu}(W_1 \mathrm{norm}(h) + W_e\, e)$, the identity before training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, width)
        self.modulate = nn.Linear(width, width, bias=False)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        return hidden + self.out(functional.silu(self.into(self.norm(hidden)) + self.modulate(embedding)))


class MLP(ModulatedNetwork):
    """A residual multilayer perceptron over vectors of D features, modulated by gamma and a condition.

    It returns zero before training.

    Arguments:
        num_features: D, features of x.
        out_features: features of the output; as many as x has if not given.
        width: of each hidden layer.
        depth: number of residual layers.
        inputs: what it is shown beside x and gamma: `fourier_frequencies`, `spikes`, `num_classes`,
            `num_condition_features`, `num_changes`, `num_given`, `num_kinds`, `takes_observed` (`nn.Inputs`).

    Raises:
        InputError: an impossible size, or (on call) an x or a condition that is not what was declared.
    """

    def __init__(
        self,
        num_features: int,
        out_features: int | None = None,
        *,
        width: int = 256,
        depth: int = 4,
        **inputs: Unpack[Inputs],
    ) -> None:
        check_least(1, num_features=num_features, width=width)
        check_least(0, depth=depth)
        super().__init__(num_features, width, **inputs)
        self.num_features = num_features
        self.into = nn.Linear(self.num_inputs, width)
        self.trunk = nn.ModuleList(ResidualLayer(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = zeroed(nn.Linear(width, num_features if out_features is None else out_features))

    def check(self, x: Tensor) -> None:
        if x.shape[1] != self.num_features:
            raise InputError(f"x has shape {tuple(x.shape)}: this network takes (batch, {self.num_features})")
