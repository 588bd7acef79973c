"""`lowerbound evaluate RUN`: how good a run is."""

from dataclasses import dataclass, field

from lowerbound.cli.flow import Flat, FlowOptions
from lowerbound.cli.options import DeviceName, RunPath, check_counts, check_effect, parse, pick_device
from lowerbound.cli.progress import say, stage
from lowerbound.cli.reverse import ReverseVariance, check_reverse, with_variance
from lowerbound.evaluate.evaluation import evaluate
from lowerbound.evaluate.folder import evaluation_folder
from lowerbound.evaluate.other import folder_name, open_evaluated
from lowerbound.evaluate.settings import FLOW_TOLERANCE, Settings
from lowerbound.everyday import Everyday
from lowerbound.models import Effort
from lowerbound.report.console import event_text, summary
from lowerbound.run import open_run
from lowerbound.sampling.registry import SAMPLERS, SamplerName

EFFECTIVE = ("data", "quick", "anew", "num_samples", "num_examples", "ode.importance", "baselines", "seed", "device")
"""The options that have an effect on a relative."""


@dataclass(frozen=True)
class Options:
    """Measure the held-out bits/dim of a run, in three terms with standard errors, and the quality of its samples.

    It reads the test split and works part by part: each part says what it will cost, and its figures are printed and kept in
    RUN/evaluation as soon as they are known. A repeated command computes only what is not there yet for the same weights,
    data and settings. A part that cannot be computed is left out, with the reason.

    Example: lowerbound evaluate runs/digits --quick
    """

    run: RunPath
    data: Everyday[str | None] = None
    """The run's data, if they have moved; or other data of the same kind, all of whose examples are then scored, with the
    results in a folder of their own."""
    quick: Everyday[bool] = False
    """Measure bits/dim on as many examples as half a minute allows, draw a picture of samples, and stop."""
    anew: bool = False
    """Compute every part again, also those that are there already."""
    num_samples: Everyday[int] = 500
    """The number of samples to draw and compare with the data."""
    num_examples: Everyday[int | None] = None
    """The number of test examples for the bound and the baselines; all if not given."""
    num_times: int | None = None
    """The number of network calls per example for the bound; if not given 4 to 32, by the number and size of the
    examples."""
    num_steps: int | None = None
    """Compute the bound of a chain of this many steps; if not given, the bound in continuous time."""
    reverse: ReverseVariance = "lower"
    """The chain's reverse variance: the posterior's own (lower), DDPM's beta (upper), the best for this model (analytic;
    measured once on training data and kept in the run folder), or the one that the network has learned."""
    ode_examples: Everyday[int | None] = None
    """The number of test examples whose density under the probability flow (the ODE) is computed too, beside the bound on
    the same examples; if not given, as many as take about a minute; 0 for none."""
    ode: Flat = field(default_factory=lambda: FlowOptions(FLOW_TOLERANCE))
    """Settings of the probability flow."""
    calls: Everyday[tuple[int, ...]] = ()
    """Plot sample quality against network calls per sample, at these numbers of calls, from --num-samples samples each."""
    samplers: tuple[SamplerName, ...] = ()
    """The samplers whose quality is plotted against --calls; the default sampler if not given."""
    guidance_scales: Everyday[tuple[float, ...]] = ()
    """Plot fidelity against variety at these scales of classifier-free guidance; 1 is none. Conditional runs only."""
    baselines: bool = True
    """Fit baselines to compare the likelihood with: histogram, Gaussian, Gaussian mixture."""
    seed: Everyday[int] = 0
    """The random seed of times, noise and samples."""
    device: Everyday[DeviceName] = "auto"


def main(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "evaluate", arguments)
    check_counts(options, "num_times", "num_steps")
    settings = Settings(
        num_examples=options.num_examples,
        effort=Effort(options.num_times, options.num_steps, options.reverse, options.ode.importance),
        num_flow=options.ode_examples,
        flow=options.ode.flow(),
        num_samples=options.num_samples,
        samplers={name: SAMPLERS[name] for name in options.samplers},
        calls=options.calls,
        scales=options.guidance_scales,
        with_baselines=options.baselines,
        seed=options.seed,
        quick=options.quick,
    )
    check_reverse(options.reverse, options.num_steps)
    run = open_run(options.run, pick_device(options.device))
    check_effect(options, Options(options.run), run, EFFECTIVE)
    dataset, own = open_evaluated(run, options.data)
    run = with_variance(run, options.reverse, conditional=True, dataset=dataset if own else None)
    if not own:
        print(
            f"{dataset.spec.name} is not the data of this run: all of its {len(dataset.test):,} examples are scored\n"
        )
    evaluation = evaluate(
        run, dataset, settings, own=own, anew=options.anew, follow=lambda event: say(event_text(event)), stage=stage
    )
    say(summary(evaluation))
    print(f"\npictures and figures: {evaluation_folder(run, None if own else folder_name(dataset))}")
    if own:
        print(f"next: lowerbound {'evaluate' if options.quick else 'report'} {options.run}")
