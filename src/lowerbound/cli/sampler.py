"""The sampler and its grid as options of several verbs."""

import dataclasses
from dataclasses import dataclass

import tyro

from lowerbound.cli.reverse import ReverseVariance
from lowerbound.errors import InputError
from lowerbound.everyday import Everyday
from lowerbound.run import Run
from lowerbound.run.generate import (
    DEFAULT_GRID,
    DEFAULT_SAMPLER,
    SAMPLERS,
    GridName,
    Plan,
    SamplerName,
    make_plan,
    run_plan,
)
from lowerbound.samplers import Sampler

OPTIONS = {"order": "multistep_order", "corrections": "num_corrections", "langevin_step": "step_size"}
"""Options whose names are not those of the samplers' own settings."""


@dataclass(frozen=True)
class SamplerOptions:
    """The sampler and its grid."""

    sampler: Everyday[SamplerName] = DEFAULT_SAMPLER
    """The stepping rule that takes noise to data."""
    steps: Everyday[int | None] = None
    """The number of steps of the grid; as many as the default sampler needs if not given. A step takes one network call, two
    with heun; flow takes steps of its own within those of the grid, which are two if not given."""
    grid: GridName = DEFAULT_GRID
    """The spacing of the steps: visible, equal in gamma where there is something to see; equal in time (to t = 0, or
    trailing: one step short of it) or in gamma; karras, the powers of Karras et al.; ddpm, the integer steps of a run's
    table of betas; minimal-error or minimal-bound, where the samples' error or the bound is expected to be least (the
    model's error by noise level is measured once on training data and kept in the run folder)."""
    variance: ReverseVariance | None = None
    """For ancestral: the variance of its steps, the posterior's own (lower, the default), DDPM's beta (upper), the best for
    this model (analytic; measured once on training data and kept in the run folder), or the one that the network has
    learned."""
    eta: float | None = None
    """For ddim: the share of noise in a step; 0 is deterministic (the default), 1 ancestral."""
    churn: float | None = None
    """For euler and heun: the share by which noise is raised before each step, at most 0.414."""
    order: int | None = None
    """For dpm++, dpm++sde, unipc and adams-bashforth: the number of network calls that a step makes use of."""
    tolerance: float | None = None
    """For flow: the error allowed in a step of the adaptive solver."""
    corrections: int | None = None
    """For predictor-corrector: the Langevin steps after each step; for annealed-langevin: at each level."""
    snr: float | None = None
    """For predictor-corrector: the ratio of signal to noise in a Langevin step, between 0 and 1 (0.16 if not given)."""
    langevin_step: float | None = None
    """For annealed-langevin: the size of a Langevin step, in units of its level's noise variance."""

    @property
    def needed_variance(self) -> ReverseVariance:
        """What `with_variance` has to bring along."""
        return "analytic" if self.grid.startswith("minimal") else self.variance or "lower"

    def stepping_rule(self) -> Sampler:
        """The sampler with its settings.

        Raises:
            InputError: for a setting that it does not have.
        """
        if self.steps is not None and self.steps < 1:
            raise InputError(f"--steps is {self.steps}: a sampler takes at least one step")
        sampler = SAMPLERS[self.sampler]
        known = {field.name for field in dataclasses.fields(sampler)}
        settings = {}
        for name in ("variance", "eta", "churn", "order", "tolerance", "corrections", "snr", "langevin_step"):
            setting, value = OPTIONS.get(name, name), getattr(self, name)
            if value is None:
                continue
            if setting not in known:
                having = [other for other, kind in SAMPLERS.items() if hasattr(kind, setting)]
                raise InputError(
                    f"--{name.replace('_', '-')} has no effect on {self.sampler}: it belongs to {', '.join(having)}"
                )
            settings[setting] = value
        return dataclasses.replace(sampler, **settings)

    def plan(self, model: Run) -> Plan:
        """The way for a run, `needed_variance` brought along and guidance not yet."""
        if model.times is not None:
            if self != SamplerOptions():
                raise InputError(
                    f"the run in {model.folder.path} is distilled and draws in its own {len(model.times)} steps of ddim: "
                    "leave out the sampler, its steps, its grid and its settings"
                )
            return run_plan(model)
        return make_plan(model, self.stepping_rule(), self.steps, self.grid)


FlatSampler = tyro.conf.OmitArgPrefixes[SamplerOptions]
"""The options without a prefix."""
