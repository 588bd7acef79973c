"""The sampler and its grid as options of several verbs."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import tyro

from lowerbound.cli.flags import flags
from lowerbound.errors import InputError
from lowerbound.reverse import ReverseVariance
from lowerbound.run import Run
from lowerbound.samplers import Sampler
from lowerbound.sampling.plan import DEFAULT_GRID, DEFAULT_SAMPLER, GridName, Plan
from lowerbound.sampling.registry import SAMPLERS, SETTINGS, SamplerName
from lowerbound.settings import Everyday, check_counts

Options = TypeVar("Options")


def _with_settings(options: type[Options]) -> type[Options]:
    """The options and one more for each setting of a sampler, None if not given."""
    fields: list[tuple[str, Any, None]] = [(name, _option(name), None) for name in SETTINGS]
    namespace = {"__doc__": options.__doc__, "__module__": __name__}
    return dataclasses.make_dataclass(options.__name__, fields, bases=(options,), namespace=namespace, frozen=True)


def _option(name: str) -> Any:
    """The type of a setting's option, with its flag, and help on it for those samplers together of which it is the same."""
    alike: dict[str, list[str]] = {}
    for sampler, (_, setting) in SETTINGS[name].items():
        alike.setdefault(f"{setting.help}; {getattr(SAMPLERS[sampler], name)} if not given.", []).append(sampler)
    texts = (
        f"For {', '.join([*samplers[:-2], ' and '.join(samplers[-2:])])}: {help}" for help, samplers in alike.items()
    )
    kind, setting = next(iter(SETTINGS[name].values()))
    value = Literal[setting.choices] if setting.choices else kind  # pyrefly: ignore[invalid-literal]
    return Annotated[value | None, tyro.conf.arg(name=setting.flag or name, help=" ".join(texts))]


@_with_settings
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

    @property
    def needed_variance(self) -> ReverseVariance:
        """What `with_variance` has to bring along."""
        return "analytic" if self.grid.startswith("minimal") else getattr(self.stepping_rule(), "variance", "lower")

    def stepping_rule(self) -> Sampler:
        """The sampler with its settings.

        Raises:
            InputError: for a setting that it does not have.
        """
        check_counts(self, "steps")
        settings = {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}
        for name in settings:
            if self.sampler not in SETTINGS[name]:
                flag, owners = flags(type(self))[name], ", ".join(SETTINGS[name])
                raise InputError(f"{flag} has no effect on {self.sampler}: it belongs to {owners}")
        return dataclasses.replace(SAMPLERS[self.sampler], **settings)

    def plan(self, run: Run) -> Plan:
        """The way for a run, `needed_variance` brought along and guidance not yet."""
        if self == SamplerOptions():
            return run.diffusion.plan()
        return run.diffusion.plan(self.stepping_rule(), self.steps, self.grid)


FlatSampler = tyro.conf.OmitArgPrefixes[SamplerOptions]
"""The options without a prefix."""
