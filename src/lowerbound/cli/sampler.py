"""The sampler and its grid as options of several verbs."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import tyro

from lowerbound.cli.reverse import ReverseVariance
from lowerbound.errors import InputError
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
    """The way from noise to data."""

    sampler: SamplerName = DEFAULT_SAMPLER
    """The stepping rule."""
    steps: int | None = None
    """Steps of the grid, if not given so many as the default sampler needs; one network call each, of heun two. flow takes
    its own steps between those of the grid, which are two for it."""
    grid: GridName = DEFAULT_GRID
    """Spacing of the steps: time (equal steps of t down to 0), trailing (the same, down to one step short of 0), gamma
    (equal steps of gamma), visible (the same, where noise is neither invisible nor everything), karras (Karras' powers of
    sigma), ddpm (integer steps of the run's table of betas), minimal-error and minimal-bound (least expected error of
    samples, or of the bound, by the model's error at each noise level, which is measured once on training data and kept in
    the run folder)."""
    variance: ReverseVariance | None = None
    """Variance of ancestral sampling's reverse steps: lower (the posterior's own, the default), upper (DDPM's beta),
    analytic (the best for this model, measured once on training data and kept in the run folder), or learned (the network's
    own)."""
    eta: float | None = None
    """Noise of ddim's steps: 0 makes them deterministic (the default), 1 is ancestral sampling."""
    churn: float | None = None
    """Share by which euler and heun raise the noise before each step, at most 0.414."""
    order: int | None = None
    """Number of network calls that a step of dpm++, dpm++sde, unipc or adams-bashforth uses."""
    tolerance: float | None = None
    """Error allowed in each step of flow, the adaptive solver."""
    corrections: int | None = None
    """Number of Langevin steps after each step of predictor-corrector, or at each level of annealed-langevin."""
    snr: float | None = None
    """Signal-to-noise ratio of a Langevin step of predictor-corrector, between 0 and 1; 0.16 if not given."""
    langevin_step: float | None = None
    """Size of a Langevin step of annealed-langevin, in units of its level's noise variance."""

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


FlatSampler = Annotated[SamplerOptions, tyro.conf.arg(name="")]
"""The options without a prefix."""
