r"""Where discrete data stand: K levels at the centres $c_k = 2 (k + \tfrac12) / K - 1$.

They are evenly spaced in (-1, 1), each in the middle of a bin of width 2 / K: 8-bit data have K = 256, and none is at ±1.
"""

from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.errors import InputError


def check_num_levels(num_levels: int) -> int:
    """The number of levels, refused with an InputError outside 2 to 65,536."""
    if not 2 <= num_levels <= 65_536:
        raise InputError(f"{num_levels} levels: discrete data have between 2 and 65,536")
    return num_levels


def level_centres(index: Int[Tensor, "*shape"], num_levels: int) -> Float[Tensor, "*shape"]:
    r"""$c_k = 2 (k + \tfrac12) / K - 1$ of level indices k."""
    return (2 * index + 1) / num_levels - 1


def nearest_level(x: Float[Tensor, "*shape"], num_levels: int) -> Float[Tensor, "*shape"]:
    """The index, as a float, of the level whose centre is nearest to x."""
    return ((x + 1) * num_levels / 2 - 0.5).round().clamp(0, num_levels - 1)
