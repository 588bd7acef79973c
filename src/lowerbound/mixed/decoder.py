r"""The decoder of examples whose values are of several kinds: $p(v | x_{t_0})$ of each by its own block.

With $y = x_{t_0} / \alpha_0$ and $r_0 = e^{\gamma_0 / 2}$ it is what the noise leaves open, all values alike before it:

| block | $p(v \| x_{t_0})$ |
|---|---|
| `Real` | the density $N(v; y, r_0^2)$ |
| `Grid` | $\propto e^{-(c_k - y)^2 / 2 r_0^2}$ over its k |
| `Choice` | $\propto e^{-\|y - s e_k\|^2 / 2 r_0^2} \propto e^{s y_k / r_0^2}$ over its categories |
| `ChoiceOrReal` | the probability of what is chosen times the density of the number, or of the noise in its place |
"""

import torch
from torch import Tensor

from lowerbound.blocks import ONE_HOT, Blocks, Grid, Real, along, check_values, layout
from lowerbound.denoiser import Prediction
from lowerbound.elementary import count_dims, exp, expand
from lowerbound.likelihood.decoder import Decoder, GaussianDecoder, log_mass
from lowerbound.schedule import Level
from lowerbound.shapes import Examples, Observed, PerExample


class BlockDecoder(Decoder):
    """What each block decodes (table in the module's docstring): no network.

    The figure of a choice stands at its first entry, and zero at the others. A choice counts as one dimension.

    Arguments:
        blocks: of the entries of x.
    """

    needs_network = False

    def __init__(self, blocks: Blocks):
        self.blocks = blocks
        self._real = GaussianDecoder()

    @property
    def all_real(self) -> bool:
        """Whether nothing is discrete."""
        return all(isinstance(block, Real) for block in self.blocks)

    @property
    def measure(self) -> str:
        """What the data's figures are, in words."""
        at = layout(self.blocks, torch.device("cpu"))
        recorded = sum(isinstance(block, Grid) and block.tells_density for block in self.blocks)
        numbers = {"probabilities": len(at.grids) - recorded + len(at.choices), "densities": len(at.reals) + recorded}
        return " and ".join(word for word, number in numbers.items() if number)

    def check(self, x: Examples, observed: Observed | None) -> None:
        check_values(x, self.blocks, observed)

    def is_real(self, x: Examples) -> Examples | float:
        return torch.zeros_like(x).index_fill(1, layout(self.blocks, x.device).reals, 1.0)

    def log_prob(self, x: Examples, x_t: Examples, level: Level, prediction: Prediction | None = None) -> Examples:
        at = layout(self.blocks, x.device)
        return self._joined(x, x_t, level, self._real.log_prob(x[:, at.reals], x_t[:, at.reals], level))

    def estimate(self, x: Examples, x_t: Examples, level: Level, prediction: Prediction | None = None) -> Examples:
        """`log_prob` of what is discrete, and the expectation itself of real numbers, whose noise would be large."""
        at = layout(self.blocks, x.device)
        return self._joined(x, x_t, level, self._real.expected_log_prob(x[:, at.reals], level))

    def count_dims(self, x: Examples, observed: Observed | None) -> PerExample:
        first = layout(self.blocks, x.device).first
        return count_dims(x[:, first], None if observed is None else observed[:, first])

    def _joined(self, x: Tensor, x_t: Tensor, level: Level, of_reals: Tensor) -> Tensor:
        """Figures of each entry, those of real numbers given."""
        at = layout(self.blocks, x.device)
        y, ratio = x_t.double() / expand(level.alpha, x_t.double()), exp(level.gamma / 2)
        figures = torch.zeros_like(x).index_copy(1, at.reals, of_reals)
        if len(at.grids):
            origin, spacing, lowest, highest = (
                along(each, x) for each in (at.origin, at.spacing, at.lowest, at.highest)
            )
            k = ((x[:, at.grids].double() - origin) / spacing).round()
            position = (y[:, at.grids] - origin) / spacing
            of_grids = log_mass(k, position, ratio / spacing, lowest, highest)
            figures = figures.index_copy(1, at.grids, of_grids.to(x.dtype))
        if len(at.choices):
            logits = (ONE_HOT * y / ratio**2)[:, at.choices]
            beyond = along(at.beyond, logits)
            chosen = x[:, at.choices].masked_fill(beyond, -torch.inf).argmax(2, keepdim=True)
            of_choices = logits.masked_fill(beyond, -torch.inf).log_softmax(2).gather(2, chosen)[:, :, 0]
            figures = figures.index_copy(1, at.choices[:, 0], of_choices.to(x.dtype))
        return figures
