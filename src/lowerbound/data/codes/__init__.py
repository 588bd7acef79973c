r"""How the values of one column of a table, or of one channel of an array, become entries of x, and back.

| code | for | x | of a value there is |
|---|---|---|---|
| `Scaled` | reals, dates | $(v - m) / s$ | a density |
| `Warped` | reals, dates with heavy tails or heaps | $T(v)$, about normal | a density |
| `OnGrid` | integers; reals recorded to a unit | $(v - m) / s$ at whole multiples of the unit | a probability |
| `OneHot` | categories, truth values | a block of K entries | a probability |
| `PointMasses` | reals, a share of which is one value | which it is, and the number's x | a probability or a density |
"""

from lowerbound.data.codes.code import Code
from lowerbound.data.codes.discrete import OneHot, OnGrid
from lowerbound.data.codes.masses import PointMasses
from lowerbound.data.codes.reals import Scaled, Warped

AnyCode = Scaled | Warped | PointMasses | OnGrid | OneHot

__all__ = ["AnyCode", "Code", "OnGrid", "OneHot", "PointMasses", "Scaled", "Warped"]
