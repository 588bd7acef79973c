r"""Images are drawn from a run guided away from what it was early in its training, unless something else is asked for.

What the early model gets wrong the trained one gets wrong as well, to a lesser degree, so that a step away from it is a step
away from its own faults (`guidance.AutoGuidance`). It is taken where the signal is stronger than the noise, at
$\gamma \le 0$: there what an image is of is decided, and details come out right; at more noise the variety would suffer.

The bound and the density are the model's own, and so is what an audit draws.
"""

import math

from lowerbound.errors import InputError
from lowerbound.guidance import AutoGuidance
from lowerbound.run.opened import Run
from lowerbound.sampling.plan import Plan

SCALE = 2.0
INTERVAL = (-math.inf, 0.0)


def autoguided(run: Run, scale: float = SCALE, interval: tuple[float, float] = INTERVAL) -> Run:
    r"""The run with $\hat x = \hat x_{early} + w (\hat x - \hat x_{early})$ in the place of its denoiser.

    Arguments:
        run: the model.
        scale: $w$; 1 is the model alone.
        interval: $(\gamma_{low}, \gamma_{high})$, the noise levels at which it is guided.

    Raises:
        InputError: if its early weights were not kept, or as `guidance.AutoGuidance`.
    """
    return run.around(AutoGuidance(run.denoiser, run.early(), scale, interval))


def for_samples(run: Run) -> Run:
    """The run as samples are drawn from it where no guidance is asked for.

    A diffusion model of discrete images, signals or volumes is autoguided, unless it was trained for its likelihood alone or
    kept no early weights; anything else is the run itself.

    Raises:
        InputError: if the early weights are damaged.
    """
    fits = (
        run.config.model.name == "diffusion"
        and run.config.training.purpose != "likelihood"
        and run.spec.num_levels is not None
        and len(run.spec.shape) > 1
        and run.diffusion.times is None
        and run.folder.early.is_file()
    )
    if not fits:
        return run
    try:
        return autoguided(run)
    except InputError as error:
        raise InputError(f"{error}; remove this file to draw without guidance by early weights") from error


def planned_calls(run: Run, plan: Plan) -> int:
    """Network calls per sample of a diffusion model, those of its early weights among them."""
    if not isinstance(run.denoiser, AutoGuidance):
        return plan.num_calls
    levels = [run.denoiser.schedule.level(t) for t in plan.times.tolist()]
    guided = [bool(run.denoiser.scale_at(level) != AutoGuidance.neutral) for level in levels]
    return plan.num_calls + sum(guided) + (plan.sampler.calls_per_step - 1) * sum(guided[1:])
