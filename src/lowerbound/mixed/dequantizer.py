"""Noise on rows of values of several kinds."""

import math
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from lowerbound.blocks import layout
from lowerbound.discrete import Dequantizer
from lowerbound.mixed.decoder import BlockDecoder
from lowerbound.rng import Noise
from lowerbound.schedule import Level
from lowerbound.shapes import Examples, Observed, PerExample


@dataclass(frozen=True)
class BlockDequantizer(Dequantizer):
    r"""The noise of the data's end, $u = r_0 \epsilon$, on grids and choices, and none on real numbers.

    $\log \int p(y)\, P(x | y)\, dy \ge E_q \log p(y) P(x | y) / q(y | x)$ for $y = x + u$ and any P(x | y) that sums to one
    over x: the decoder's. A choice is not the one category within reach of its noise, nor a grid's place the one bin.

    Arguments:
        decoder: of the blocks.
    """

    decoder: BlockDecoder
    name = "noise of the data's end, decoded"

    def sample(self, x: Examples, gamma_0: float, noise: Noise) -> tuple[Examples, Float64[Tensor, "batch *shape"]]:
        reals, ratio = layout(self.decoder.blocks, x.device).reals, math.exp(gamma_0 / 2)
        u = (ratio * noise.normal(x)).index_fill(1, reals, 0)
        log_q = -0.5 * (u.double() / ratio) ** 2 - math.log(ratio * math.sqrt(2 * math.pi))
        at_x = Level(0.0, gamma_0, 1.0, ratio)  # of y, whatever the scaling
        log_p = self.decoder.log_prob(x.double(), (x + u).double(), at_x)
        return u, (log_q - log_p).index_fill(1, reals, 0)

    def check(self, x: Examples, observed: Observed | None) -> None:
        self.decoder.check(x, observed)

    def count_dims(self, x: Examples, observed: Observed | None) -> PerExample:
        return self.decoder.count_dims(x, observed)
