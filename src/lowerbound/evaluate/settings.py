"""The settings of an evaluation, in Python and on the command line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from lowerbound.errors import InputError
from lowerbound.likelihood.density import EXACT_DIMS
from lowerbound.models import Effort
from lowerbound.reverse import ReverseVariance
from lowerbound.sampling.registry import SamplerName
from lowerbound.scoring import Flow, FlowSettings
from lowerbound.settings import Everyday, check_choice, check_counts

PROBED_TOLERANCE = 1e-2
"""Of a flow whose trace is estimated: a tenth of it moves the mean over the digits by a seventh of its standard error."""
FeaturesName = Literal["own", "inception"]
FEWEST = 20
"""Samples below which no quantile and no standard error is known."""


@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation; those that do not apply to a model have no effect.

    Raises:
        InputError: if a number is out of range.
    """

    quick: Everyday[bool] = False
    """Measure bits/dim on as many examples as half a minute allows, draw a picture of samples, and stop."""
    anew: bool = False
    """Compute every part again, also those that are there already."""
    num_samples: Everyday[int] = 500
    """The number of samples to draw and compare with the data."""
    num_examples: Everyday[int | None] = None
    """The number of test examples, drawn at random, for the bound and the baselines; all if not given."""
    num_times: int | None = None
    """The number of network calls per example for the bound; if not given 4 to 32, by the number and size of the
    examples."""
    num_steps: int | None = None
    """Compute the bound of a chain of this many steps; if not given, the bound in continuous time."""
    reverse: ReverseVariance = "lower"
    """The chain's reverse variance: the posterior's own (lower), DDPM's beta (upper), the best for this model (analytic;
    measured once on training data and kept in the run folder), or the one that the network has learned."""
    num_flow: Annotated[Everyday[int | None], tyro.conf.arg(name="ode-examples")] = None
    """The number of test examples whose density under the probability flow (the ODE) is computed too, beside the bound on
    the same examples; if not given, as many as take about a minute; 0 for none."""
    flow: Annotated[tyro.conf.OmitArgPrefixes[FlowSettings], tyro.conf.arg(name="ode")] = field(
        default_factory=FlowSettings
    )
    """Settings of the probability flow."""
    calls: Everyday[tuple[int, ...]] = ()
    """Plot sample quality against network calls per sample, at these numbers of calls, from --num-samples samples each."""
    samplers: tuple[SamplerName, ...] = ()
    """The samplers whose quality is plotted against --calls; the default sampler if not given."""
    features: Everyday[FeaturesName] = "own"
    """Compare samples with data in features of the data's own classifier or principal components (own), or, of images, in
    those of Inception-v3 (inception, through torch-fidelity), in which the distances are the FID and KID of papers."""
    inception_weights: Path | None = None
    """The file of Inception-v3's weights, torch-fidelity's weights-inception-2015-12-05-6726825d.pth; if not given, it is
    looked for in the data directory."""
    scales: Annotated[Everyday[tuple[float, ...]], tyro.conf.arg(name="guidance-scales")] = ()
    """Plot fidelity against variety at these scales of classifier-free guidance; 1 is none. Conditional runs only."""
    imputation: Everyday[float | None] = None
    """Hide this share of the entries of test rows, draw them, and judge the draws beside simple ways to fill them in: 0.3 is
    30 %. For continuous vectors and tables; entries that are missing stay so."""
    with_baselines: Annotated[bool, tyro.conf.arg(name="baselines")] = True
    """Fit baselines to compare the likelihood with: histogram, Gaussian, Gaussian mixture."""
    seeds: Everyday[int] = 1
    """The number of trainings that bits/dim are told of. Above 1 the run's configuration is trained again with other seeds,
    in RUN/trainings, each time for as long as the run was: what is better than a baseline is so over trainings."""
    seed: Everyday[int] = 0
    """The random seed of times, noise and samples."""

    def __post_init__(self) -> None:
        check_counts(self, "num_examples", "num_times", "num_steps", "seeds")
        if self.num_samples < FEWEST:
            raise InputError(
                f"--num-samples is {self.num_samples}: at least {FEWEST} are needed to compare samples with data"
            )
        if self.num_flow is not None and self.num_flow < 0:
            raise InputError(f"--ode-examples is {self.num_flow}: it is 0 for none, or a number of test examples")
        if self.imputation is not None and not 0 < self.imputation < 1:
            raise InputError(f"--imputation is {self.imputation}: it is a share of the entries, between 0 and 1")
        if min(self.calls, default=1) < 1:
            raise InputError(f"--calls is {min(self.calls)}: a sample takes at least one call of the network")
        check_choice("--features", self.features, get_args(FeaturesName))
        if self.inception_weights is not None and self.features != "inception":
            raise InputError("--inception-weights has no effect without --features inception")
        if self.samplers and not self.calls:
            raise InputError(
                "--samplers has no effect without --calls: give the numbers of network calls to compare them at"
            )

    @property
    def effort(self) -> Effort:
        """How much is spent on the likelihood of each example."""
        return Effort(self.num_times, self.num_steps, self.reverse, self.flow.num_importance)

    def flow_of(self, num_dims: int) -> Flow:
        """How examples of so many dimensions follow the probability flow.

        Where the trace is estimated, the spread of probes is larger than what a smaller tolerance moves.
        """
        tolerance = self.flow.tolerance
        if tolerance is None:
            tolerance = PROBED_TOLERANCE if num_dims > EXACT_DIMS else Flow.tolerance
        settings: dict[str, Any] = {**vars(self.flow), "tolerance": tolerance}
        return Flow(**settings)
