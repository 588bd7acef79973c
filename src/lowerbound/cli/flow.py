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
    """Noise within the levels of discrete data; truncated-normal if not given."""
    importance: int = 1
    """Number K of importance samples of each example, for a tighter bound: of the noise within levels, each of which takes a
    solution of its own, or of the latents of a model that has them, such as a VAE."""
    max_calls: int = Flow.max_calls
    """The most network calls along the flow of an example; one that needs more is left without a figure, and flagged."""

    def flow(self) -> Flow:
        """As the library takes it."""
        return Flow(self.tolerance, self.probes, self.dequantizer, self.importance, self.max_calls)


Flat = Annotated[FlowOptions, tyro.conf.arg(name="")]
"""The options without a prefix."""
