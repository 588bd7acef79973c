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
Measurements = Float[Tensor, "batch *measured"]
"""What an operator makes of examples, (B, *measured)."""
Times = Float[Tensor, "num_times"]
"""Times in [0, 1], (N,); those of a sampler's grid decrease."""
Chain = Float[Tensor, "chain"]
"""The times of a chain's K levels, (K,), increasing, in [0, 1]."""
Numbers = Float[Tensor, "*shape"]
"""Numbers of any shape: a function of one by one has as many, in the same shape."""
