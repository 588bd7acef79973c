"""Tensors by what their shapes mean, as most functions take and return them."""

from jaxtyping import Bool, Float, Num
from torch import Tensor

Examples = Float[Tensor, "batch *shape"]
"""Data or latents, (B, *shape), or what has their shape."""
PerExample = Float[Tensor, "batch"]
"""A number for each example, (B,)."""
Chain = Float[Tensor, "chain"]
"""The times of a chain's K levels, increasing, in [0, 1]."""
Conditions = Num[Tensor, "batch ..."]
"""Labels, (B,), or vectors, (B, F)."""
Observed = Bool[Tensor, "batch *shape"]
"""Which entries of the data are there, (B, *shape)."""
