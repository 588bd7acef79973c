"""Which sampler, and at which times: every sampler by its name, and plans that suit a model."""

from lowerbound.sampling.plan import Plan, make_plan
from lowerbound.sampling.registry import SAMPLERS

__all__ = ["SAMPLERS", "Plan", "make_plan"]
