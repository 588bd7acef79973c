"""Every sampler by its name: the command line, the tests and the table in docs/sampling.md take them from here."""

import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from lowerbound.langevin.annealed import AnnealedLangevin
from lowerbound.langevin.corrector import PredictorCorrector
from lowerbound.samplers.ancestral import Ancestral
from lowerbound.samplers.base import Sampler, Setting
from lowerbound.samplers.ddim import DDIM
from lowerbound.samplers.exponential import ExponentialAdamsBashforth
from lowerbound.samplers.flow import ProbabilityFlow
from lowerbound.samplers.multistep import DPMSolver, DPMSolverSDE
from lowerbound.samplers.runge_kutta import Euler, Heun
from lowerbound.samplers.unipc import UniPC, UniPCSDE

SAMPLERS: Mapping[str, Sampler] = {
    "ancestral": Ancestral(),
    "ddim": DDIM(),
    "euler": Euler(),
    "heun": Heun(),
    "dpm++": DPMSolver(),
    "dpm++sde": DPMSolverSDE(),
    "unipc": UniPC(),
    "unipc-sde": UniPCSDE(),
    "adams-bashforth": ExponentialAdamsBashforth(),
    "flow": ProbabilityFlow(),
    "predictor-corrector": PredictorCorrector(),
    "annealed-langevin": AnnealedLangevin(),
}
"""With their default settings."""

if TYPE_CHECKING:
    SamplerName: TypeAlias = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]


def _settings() -> dict[str, dict[str, tuple[type, Setting]]]:
    settings: dict[str, dict[str, tuple[type, Setting]]] = {}
    for sampler, rule in SAMPLERS.items():
        for name, hint in typing.get_type_hints(type(rule), include_extras=True).items():
            for mark in getattr(hint, "__metadata__", ()):
                if isinstance(mark, Setting):
                    settings.setdefault(name, {})[sampler] = hint.__origin__, mark
    return settings


SETTINGS = _settings()
"""The fields with a `Setting`, by their names, and of each sampler that has one its type and `Setting`."""
