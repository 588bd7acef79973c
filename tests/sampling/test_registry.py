"""The registry knows every sampler, and what it says of their settings makes good options."""

import importlib
import inspect
import pkgutil
import re
from collections import defaultdict

import pytest

from lowerbound import langevin, samplers
from lowerbound.cli.sampler import SamplerOptions
from lowerbound.errors import InputError
from lowerbound.samplers import Sampler
from lowerbound.sampling import SAMPLERS
from lowerbound.sampling.registry import SETTINGS


def test_every_sampler_is_registered():
    modules = [
        importlib.import_module(f"{package.__name__}.{each.name}")
        for package in (samplers, langevin)
        for each in pkgutil.iter_modules(package.__path__)
    ]
    kinds = {
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Sampler) and not inspect.isabstract(kind)
    }
    assert kinds == {type(sampler) for sampler in SAMPLERS.values()}


def test_a_setting_of_several_samplers_is_one_option():
    named = defaultdict(set)
    for name, having in SETTINGS.items():
        options = {(setting.flag or name, kind, setting.choices) for kind, setting in having.values()}
        assert len(options) == 1, f"{name} is not the same option for {', '.join(having)}"
        named[options.pop()[0]].add(name)
    assert all(len(names) == 1 for names in named.values()), named


@pytest.mark.parametrize("name", SAMPLERS)
def test_settings_belong_to_their_samplers_alone(name):
    for field, having in SETTINGS.items():
        default = getattr(SAMPLERS[next(iter(having))], field)
        options = SamplerOptions(sampler=name, **{field: default})
        if name in having:
            assert getattr(options.stepping_rule(), field) == default
        else:
            with pytest.raises(
                InputError, match=rf"has no effect on .*: it belongs to {re.escape(', '.join(having))}$"
            ):
                options.stepping_rule()
