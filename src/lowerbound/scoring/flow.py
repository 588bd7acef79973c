"""How the probability flow is followed, in the words of the command line."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import tyro

from lowerbound.discrete import BinDequantizer, Dequantizer, TruncatedNormalDequantizer, UniformDequantizer
from lowerbound.errors import InputError
from lowerbound.likelihood import check_likelihood
from lowerbound.mixed import BlockDecoder, BlockDequantizer
from lowerbound.ode import STAGES
from lowerbound.run import Run
from lowerbound.settings import check_counts

LEAST_TOLERANCE = 4 * torch.finfo(torch.float32).eps
LEAST_CALLS = 2 + len(STAGES)
DEQUANTIZERS: dict[str, type[BinDequantizer]] = {
    "truncated-normal": TruncatedNormalDequantizer,
    "uniform": UniformDequantizer,
}
DequantizerName = Annotated[str, tyro.conf.arg(constructor=Literal[*DEQUANTIZERS])]


@dataclass(frozen=True)
class FlowSettings:
    """How the probability flow is followed, the choice of the tolerance left to what it is followed for.

    Raises:
        InputError: if a number is out of range, or there is no such dequantiser.
    """

    tolerance: float | None = None
    """The error allowed in a step of the solver, in units of the noise and in nats per dimension; if not given, 1e-2 where
    the trace is estimated, above 16 dimensions, and 1e-3 where it is exact."""
    num_probes: Annotated[int | None, tyro.conf.arg(name="probes")] = None
    """The number of random probes that estimate the trace, above 16 dimensions; 1, or 2 with several importance samples, if
    not given. As many as there are dimensions, or more, make it exact."""
    dequantizer: DequantizerName | None = None
    """For discrete data: the distribution of the noise within a level; truncated-normal if not given."""
    num_importance: Annotated[int, tyro.conf.arg(name="importance")] = 1
    """The number K of importance samples: for discrete data of the noise within a level, where each costs a solution of its
    own and tightens the bound; for a model with latents, such as a VAE, of these."""
    max_calls: int = 2000
    """The most network calls along the flow of an example; one that needs more is left without a figure, and flagged."""

    def __post_init__(self) -> None:
        if self.tolerance is not None and not LEAST_TOLERANCE <= self.tolerance < 1:
            raise InputError(
                f"tolerance is {self.tolerance}: it must be below 1 and, for networks in single precision, "
                f"{LEAST_TOLERANCE:.1g} or more"
            )
        if self.max_calls < LEAST_CALLS:
            raise InputError(f"max_calls is {self.max_calls}: a single step takes {LEAST_CALLS}")
        check_counts(self, "num_importance", "num_probes")
        if self.dequantizer is not None and self.dequantizer not in DEQUANTIZERS:
            raise InputError(f"unknown dequantiser {self.dequantizer!r}: choose one of {', '.join(DEQUANTIZERS)}")

    def dequantizer_of(self, run: Run) -> Dequantizer | None:
        """The dequantiser of a run's data; None if they are continuous.

        Raises:
            InputError: if one is asked for where there is nothing to dequantise, or the run has no likelihood.
        """
        check_likelihood(run.denoiser)
        decoder = run.diffusion.decoder
        if isinstance(decoder, BlockDecoder) and not decoder.all_real:
            if self.dequantizer is not None:
                raise InputError(
                    f"the dequantiser {self.dequantizer} is for levels that are all alike, and these have their own: leave "
                    "it out"
                )
            return BlockDequantizer(decoder)
        num_levels = run.spec.encoding.num_levels
        if num_levels is not None:
            return DEQUANTIZERS[self.dequantizer or next(iter(DEQUANTIZERS))](num_levels)
        if self.dequantizer is not None or self.num_importance > 1:
            raise InputError(
                f"the data of the run in {run.folder.path} are continuous: there are no levels to draw in, so leave out "
                "the dequantiser and the number of importance samples"
            )
        return None


@dataclass(frozen=True)
class Flow(FlowSettings):
    """How the probability flow is followed.

    Raises:
        InputError: as `FlowSettings`.
    """

    tolerance: float = 1e-3
    """The error allowed in a step of the solver, in units of the noise and in nats per dimension."""
    num_calls: Annotated[int | None, tyro.conf.arg(name="calls")] = None
    """Follow each flow in exactly this many network calls, such as 8, by a rule that is calibrated on validation examples of
    the run's data, whose flows are followed as the tolerance asks; if not given, all flows are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "num_calls")

    @property
    def probes(self) -> int:
        """The number of probes, given or not."""
        return self.num_probes or min(self.num_importance, 2)

    @property
    def finer(self) -> "Flow":
        """The same at a tenth of the tolerance."""
        return replace(self, tolerance=max(self.tolerance / 10, LEAST_TOLERANCE), max_calls=10 * self.max_calls)
