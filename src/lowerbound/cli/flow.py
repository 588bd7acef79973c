"""How the probability flow is followed, as options of several verbs."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from lowerbound.score import Flow


@dataclass(frozen=True)
class FlowOptions:
    """How the probability flow (the ODE) is followed."""

    tolerance: float = Flow.tolerance
    """The error allowed in a step of the solver, in units of the noise and in nats per dimension."""
    probes: int | None = None
    """Random probes of an estimated trace, above 16 dimensions; 1, or 2 with several importance samples, if not given."""
    dequantizer: Literal["truncated-normal", "uniform"] | None = None
    """Of discrete data, the noise within the levels; truncated-normal if not given."""
    importance: int = 1
    """Of discrete data, K importance samples of that noise: each costs a solution of its own and tightens the bound. Of a
    model with latents, as a VAE is, K importance samples of these."""
    max_calls: int = Flow.max_calls
    """The most network calls along the flow of an example; one that needs more is left without a figure, and flagged."""

    def flow(self) -> Flow:
        """As the library takes it."""
        return Flow(self.tolerance, self.probes, self.dequantizer, self.importance, self.max_calls)


Flat = Annotated[FlowOptions, tyro.conf.arg(name="")]
"""The options without a prefix."""
