"""What an evaluation is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lowerbound.errors import InputError
from lowerbound.models import Effort
from lowerbound.samplers import Sampler
from lowerbound.scoring import AS_ADVISED, Flow

FLOW_TOLERANCE = 1e-2
"""Of the flow in an evaluation: a tenth of it moves the mean over the digits by a seventh of its standard error."""
FEWEST = 20
"""Samples below which no quantile and no standard error is known."""


@dataclass(frozen=True)
class Settings:
    """What an evaluation is asked for; what a model has not is without effect on it.

    Arguments:
        num_examples: test examples for bits/dim, from the start of the split; all if None.
        effort: how much is spent on the likelihood of each.
        num_flow: how many test examples follow the probability flow; 0: none, None: as `num_flow_examples` says.
        flow: how they follow it.
        num_samples: how many samples are drawn and compared with the data.
        samplers, calls: whose quality is drawn against the number of calls; the default sampler's if there are none.
        scales: of classifier-free guidance, at which quality is drawn.
        with_baselines: whether to fit the likelihood yardsticks.
        seed: of times, noise and samples.
        quick: bits/dim of so many examples, and a picture of so many samples, as take a quarter of a minute each.

    Raises:
        InputError: if a number is out of range.
    """

    num_examples: int | None = None
    effort: Effort = AS_ADVISED
    num_flow: int | None = None
    flow: Flow = field(default_factory=lambda: Flow(tolerance=FLOW_TOLERANCE))
    num_samples: int = 500
    samplers: Mapping[str, Sampler] = field(default_factory=dict)
    calls: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    with_baselines: bool = True
    seed: int = 0
    quick: bool = False

    def __post_init__(self) -> None:
        if self.num_examples is not None and self.num_examples < 1:
            raise InputError(f"--num-examples is {self.num_examples}: it starts at 1")
        if self.num_samples < FEWEST:
            raise InputError(
                f"--num-samples is {self.num_samples}: at least {FEWEST} are needed to compare samples with data"
            )
        if self.num_flow is not None and self.num_flow < 0:
            raise InputError(f"--ode-examples is {self.num_flow}: it is 0 for none, or a number of test examples")
        if min(self.calls, default=1) < 1:
            raise InputError(f"--calls is {min(self.calls)}: a sample takes at least one call of the network")
        if self.samplers and not self.calls:
            raise InputError(
                "--samplers has no effect without --calls: give the numbers of network calls to compare them at"
            )
