"""Every registered sampler, with its default settings and with others: what tests of all samplers run over."""

from contextlib import suppress
from dataclasses import replace

from oracles import WithMix, draw, gaussian

from lowerbound import grid
from lowerbound.errors import InputError
from lowerbound.rng import Stream
from lowerbound.samplers import UniPC, sample
from lowerbound.sampling import SAMPLERS
from lowerbound.sampling.registry import SETTINGS
from lowerbound.schedule import LinearGamma

OTHERS = {
    "ancestral": [{"variance": variance} for variance in ("upper", "analytic", "learned")],
    "ddim": [{"eta": 0.4}, {"eta": 1.0}],
    "euler": [{"churn": 0.05}],
    "heun": [{"churn": 0.05}],
    "dpm++": [{"multistep_order": 1}, {"multistep_order": 3}],
    "dpm++sde": [{"multistep_order": 1}],
    "unipc": [{"multistep_order": 1}, {"multistep_order": 3}],
    "unipc-sde": [{"multistep_order": 1}],
    "adams-bashforth": [{"multistep_order": order} for order in (1, 2, 4)],
    "flow": [],
    "predictor-corrector": [{"num_corrections": 3, "snr": 0.3}, {"predictor": UniPC()}],
    "annealed-langevin": [{"num_corrections": 10, "step_size": 1.0}],
}
"""Settings besides the default ones; of a sampler that is not named here, another value of each of its settings."""


def settings(name):
    """The names of a sampler's settings."""
    return [setting for setting, having in SETTINGS.items() if name in having]


def another(name, field):
    """A value of a sampler's setting that is not its default."""
    sampler, (kind, setting) = SAMPLERS[name], SETTINGS[field][name]
    for value in setting.choices or {int: (1, 2, 3), float: (0.5, 0.3, 0.1)}[kind]:
        with suppress(InputError):
            if replace(sampler, **{field: value}) != sampler:
                return value
    raise AssertionError(f"no other value of {field} was found for {sampler}")


def others(name):
    return OTHERS.get(name, [{field: another(name, field)} for field in settings(name)])


EVERY_SAMPLER = [replace(sampler, **changed) for name, sampler in SAMPLERS.items() for changed in ({}, *others(name))]

WITHOUT_MIX = [sampler for sampler in EVERY_SAMPLER if getattr(sampler, "variance", None) != "learned"]
"""Those that ask nothing of a denoiser that a closed form does not know."""


def draws_noise(sampler):
    """Whether another seed leads elsewhere."""
    denoiser = WithMix(gaussian(LinearGamma()), 0.5)
    one, other = (sample(denoiser, sampler, draw(2, 2), grid.uniform(3), Stream(seed)) for seed in (0, 1))
    return not one.equal(other)
