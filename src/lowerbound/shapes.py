"""Tensors by what their shapes mean, as most functions take and return them."""

from jaxtyping import Bool, Float, Num
from torch import Tensor

Examples = Float[Tensor, "batch *shape"]
"""Data or latents, (B, *shape), or what has their shape."""
PerExample = Float[Tensor, "batch"]
"""A number for each example, (B,)."""
Observed = Bool[Tensor, "batch *shape"]
"""Which entries of the data are there, (B, *shape)."""
Conditions = Num[Tensor, "batch ..."]
"""Labels, (B,), or vectors, (B, F)."""
Spatial = Float[Tensor, "batch channels *spatial"]
"""Pictures, series or volumes, or features of them, (B, C, *spatial)."""
Times = Float[Tensor, "num_times"]
"""Times in [0, 1], (N,); those of a sampler's grid decrease."""
Chain = Float[Tensor, "chain"]
"""The times of a chain's K levels, (K,), increasing, in [0, 1]."""
Values = Float[Tensor, "*batch"]
r"""Numbers of any shape, such as times t or noise levels $\gamma$; a function of them one by one has the same shape."""
