"""`lowerbound evaluate RUN`: how good a run is."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from lowerbound.cli.devices import pick_device
from lowerbound.cli.flow import Flat, FlowOptions
from lowerbound.cli.options import parse
from lowerbound.cli.progress import stage
from lowerbound.cli.relative import check_relative
from lowerbound.cli.reverse import ReverseVariance, check_reverse, with_variance
from lowerbound.errors import InputError
from lowerbound.evaluate.evaluation import evaluate, to_text
from lowerbound.evaluate.folder import evaluation_folder
from lowerbound.evaluate.relative import evaluate_relative
from lowerbound.evaluate.relative import to_text as relative_to_text
from lowerbound.guidance import ClassifierFree
from lowerbound.run import OpenedRun, RelativeRun, open_any
from lowerbound.run.generate import SAMPLERS, SamplerName

KNOWN = ("data", "num_samples", "num_examples", "ode.importance", "seed", "device")
"""The options that have an effect on a relative."""


@dataclass(frozen=True)
class Options:
    """Held-out bits/dim of a run in three terms with standard errors, beside baselines, and figures about its samples.

    Reads the test split; figures and pictures go into RUN/evaluation.

    Example: lowerbound evaluate runs/digits --num-samples 500
    """

    run: tyro.conf.Positional[Path]
    """The run folder."""
    data: str | None = None
    """Where the run's data are now, if not where they were."""
    num_samples: int = 500
    """Samples to draw and compare with the data."""
    num_examples: int | None = None
    """Test examples for the bound and the baselines; all if not given."""
    num_times: int | None = None
    """Network calls per example for the bound; 4 to 256 by the number and size of the examples if not given."""
    num_steps: int | None = None
    """The bound of a chain of so many steps; of continuous time if not given."""
    reverse: ReverseVariance = "lower"
    """The chain's reverse variance: the posterior's own, DDPM's beta, the best for this model (measured once on training
    data and kept in the run folder), or the one that the network has learned."""
    ode_examples: int | None = None
    """Test examples that follow the probability flow (the ODE) as well, beside the bound on the same; about a minute's
    work if not given, 0 for none."""
    ode: Flat = field(default_factory=FlowOptions)
    """How they follow it."""
    calls: tuple[int, ...] = ()
    """Draw quality against network calls per sample, at these numbers, as many samples at each."""
    samplers: tuple[SamplerName, ...] = ()
    """Whose quality is drawn against --calls; the default sampler's if not given."""
    guidance_scales: tuple[float, ...] = ()
    """Draw fidelity against variety at these scales of classifier-free guidance; 1 is none. Conditional runs only."""
    baselines: bool = True
    """Fit the likelihood yardsticks: histogram, Gaussian, Gaussian mixture."""
    seed: int = 0
    """Of times, noise and samples."""
    device: str = "auto"
    """cpu, cuda, mps, or auto for the best there is."""


def run(arguments: list[str]) -> None:
    """Run the verb."""
    options = parse(Options, "evaluate", arguments)
    for name in ("num_examples", "num_times", "num_steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: it starts at 1")
    if options.ode_examples is not None and options.ode_examples < 0:
        raise InputError(f"ode_examples is {options.ode_examples}: it is 0 for none, or a number of test examples")
    if min(options.calls, default=1) < 1:
        raise InputError(f"calls is {min(options.calls)}: a sample takes at least one call of the network")
    if options.samplers and not options.calls:
        raise InputError(
            "--samplers has no effect without --calls: give the numbers of network calls to compare them at"
        )
    check_reverse(options.reverse, options.num_steps)
    flow = options.ode.flow()
    model = open_any(options.run, pick_device(options.device))
    if isinstance(model, RelativeRun):
        check_relative(options, Options(options.run), model, KNOWN)
        evaluation = evaluate_relative(
            model,
            model.open_dataset(options.data),
            num_examples=options.num_examples,
            num_samples=options.num_samples,
            importance=options.ode.importance,
            seed=options.seed,
            stage=stage,
        )
        _print(relative_to_text(evaluation), model, options.run)
        return
    dataset = model.open_dataset(options.data)
    model = with_variance(model, options.reverse, given=True, dataset=dataset)
    evaluation = evaluate(
        model,
        dataset,
        num_steps=options.num_steps,
        num_times=options.num_times,
        num_examples=options.num_examples,
        reverse=options.reverse,
        num_flow=options.ode_examples,
        flow=flow,
        num_samples=options.num_samples,
        samplers={name: SAMPLERS[name] for name in options.samplers},
        calls=options.calls,
        denoiser_of=lambda scale: ClassifierFree(model.denoiser, scale),
        scales=options.guidance_scales,
        with_baselines=options.baselines,
        seed=options.seed,
        stage=stage,
    )
    _print(to_text(evaluation), model, options.run)


def _print(text: str, model: OpenedRun, path: Path) -> None:
    print(text)
    print(f"\npictures and figures: {evaluation_folder(model)}\nnext: lowerbound report {path}")
