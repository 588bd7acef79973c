"""How the probability flow is followed, as options of several verbs."""

from dataclasses import dataclass
from typing import Literal

import tyro

from lowerbound.scoring import Flow


@dataclass(frozen=True)
class FlowOptions:
    """Settings of the probability flow (the ODE)."""

    tolerance: float = Flow.tolerance
    """The error allowed in a step of the solver, in units of the noise and in nats per dimension."""
    probes: int | None = None
    """The number of random probes that estimate the trace, above 16 dimensions; 1, or 2 with several importance samples, if
    not given."""
    dequantizer: Literal["truncated-normal", "uniform"] | None = None
    """For discrete data: the distribution of the noise within a level; truncated-normal if not given."""
    importance: int = 1
    """The number K of importance samples: for discrete data of the noise within a level, where each costs a solution of its
    own and tightens the bound; for a model with latents, such as a VAE, of these."""
    max_calls: int = Flow.max_calls
    """The most network calls along the flow of an example; one that needs more is left without a figure, and flagged."""

    def flow(self) -> Flow:
        """As the library takes it."""
        return Flow(self.tolerance, self.probes, self.dequantizer, self.importance, self.max_calls)


Flat = tyro.conf.OmitArgPrefixes[FlowOptions]
"""The options without a prefix."""
