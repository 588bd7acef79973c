"""What the documentation names is there."""

import functools
import inspect
import re
from pathlib import Path

import pytest

import lowerbound
from lowerbound import grid, levels, objective, reverse, times
from lowerbound.inverse import posterior
from lowerbound.likelihood import bound, decoder, density, dequantization, derivations, encoder, estimators
from lowerbound.samplers import exponential, flow, langevin

DOCS = Path(__file__).parent.parent / "docs"
MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        bound,
        decoder,
        density,
        dequantization,
        derivations,
        encoder,
        estimators,
        exponential,
        flow,
        grid,
        langevin,
        levels,
        objective,
        posterior,
        reverse,
        times,
    )
}
NAMES = sorted(
    set(re.findall(r"`([A-Za-z_]+(?:\.[A-Za-z_0-9]+)?)`", (DOCS / "equations.md").read_text())) - {"chain", "None"}
)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_named_exists_and_is_documented(name):
    if name == "schedule.times":
        name = "Tabulated.times"
    first, *rest = name.split(".")
    found = functools.reduce(getattr, rest, MODULES.get(first) or getattr(lowerbound, first))
    if name != "Prediction.x":
        assert inspect.getdoc(found)


def test_the_table_is_not_empty():
    assert len(NAMES) > 25
