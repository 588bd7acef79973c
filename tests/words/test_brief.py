"""Objects that hold many numbers are printed in a line."""

import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound import Gaussian, GaussianDecoder, LinearGamma, PerSample, elbo, log_prob
from lowerbound.data.encoding import Affine
from lowerbound.edit import round_trip
from lowerbound.sampling.plan import Plan
from lowerbound.scoring.bound import Scores
from lowerbound.scoring.density import DensityScores
from lowerbound.words.brief import Brief

DATA = Gaussian(torch.zeros(2), torch.eye(2), LinearGamma())
X = DATA.sample(1000, lb.Stream(seed=0))
MANY = np.random.default_rng(0).normal(-3.0, 1.0, 1000)


def filled(kind):
    """One with a thousand numbers in each array of numbers, by the annotation, and words in each string."""
    given = {
        "num_levels": None,
        "num_bands": None,
        "Int[": MANY.round().astype(int),
        "ndarray": MANY,
        "'float'": 0.1,
        "'int'": 2,
        "'str'": "bound (exact)",
    }
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    return kind(**{name: next(given[part] for part in given if part in words) for name, words in types.items()})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            lambda: elbo(DATA, GaussianDecoder(), X, noise=PerSample(range(1000))),
            ["Elbo(", "diffusion=<1000: ", " ± ", "dims=<1000: 2>"],
        ),
        (
            lambda: log_prob(DATA, X, noise=PerSample(range(1000)), tolerance=1e-3),
            ["Density(", "density (ODE)", "estimates=<1000x1: -2.8"],
        ),
        (lambda: DATA(X, 0.5), ["Prediction(", "x=<1000x2>", "t=0.5", "LinearGamma"]),
        (lambda: DATA(X, torch.rand(1000)), ["Prediction(", "t=<1000: "]),
        (lambda: filled(Scores), ["Scores(kind='bound (exact)', ", "nats=<1000: -3.0"]),
        (lambda: filled(DensityScores), ["DensityScores(kind='bound (exact)', ", "nats=<1000: -3.0"]),
        (lambda: Plan(lb.DDIM(), lb.grid.uniform(100)), ["Plan(", "DDIM(eta=0.0)", "times=<100: 1 to 0>"]),
        (lambda: round_trip(DATA, X, tolerance=1e-2), ["RoundTrip(", "x=<1000x2>", "error=<1000: "]),
        (lb.schedule.LinearBeta, ["LinearBeta(gamma from -", "variance-preserving"]),
        (lambda: lb.schedule.from_betas(lb.schedule.betas.linear(1000)), ["Tabulated(gamma from "]),
        (lambda: lb.PerSample(range(1000)), ["PerSample(1000 seeds)"]),
        (lambda: lb.Stream(seed=3), ["Stream(seed=3)"]),
        (lambda: Affine((0.0,) * 1000, (1.0,) * 1000), ["Affine(", "shift=<1000>"]),
        (lambda: lb.inverse.Mask(X > 0), ["Mask(observed=<1000x2>)"]),
        (lambda: DATA.schedule.level(0.5), ["Level(t=0.5, gamma=-4.15, alpha=0.99"]),
    ],
)
def test_it_says_shapes_and_means_in_a_line(value, said):
    printed = repr(value())
    assert "\n" not in printed
    assert len(printed) < 200
    for part in said:
        assert part in printed


@pytest.mark.parametrize(
    "schedule", [lb.LinearGamma(), lb.LearnedGamma(-5.0, 5.0, lb.schedule.MonotoneWarp()), lb.schedule.EDM()]
)
def test_a_schedule_says_its_ends_and_a_denoiser_its_shape(schedule):
    network = torch.nn.Identity()
    network.forward = lambda x, gamma, cond: x
    printed = repr(lb.NetworkDenoiser(network, schedule, (3, 8, 8)))
    assert f"gamma from {schedule.gamma_min:.4g} to {schedule.gamma_max:.4g}, {schedule.scaling.name}" in printed
    assert "shape=(3, 8, 8)" in printed
    assert len(repr(schedule)) < 200


def records() -> list[type]:
    """Each dataclass of the package with tensors or arrays in it; evaluations hold theirs for themselves."""
    found = []
    for module in pkgutil.walk_packages(lb.__path__, "lowerbound."):
        if module.name == "lowerbound.__main__" or module.name.startswith(
            ("lowerbound.evaluate", "lowerbound.adapters.")
        ):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                types = " ".join(str(field.type) for field in dataclasses.fields(kind) if field.repr)
                if ("Tensor" in types or "ndarray" in types) and "Callable" not in types:
                    found.append(kind)
    return found


@pytest.mark.parametrize("kind", records(), ids=lambda kind: kind.__name__)
def test_no_record_lists_its_numbers(kind):
    assert not kind.__dataclass_params__.repr, "the repr that dataclasses write"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (torch.tensor([]), "<0>"),
        (torch.tensor(2.5), "2.5"),
        (torch.full((1000,), 0.1), "<1000: 0.1>"),
        (torch.linspace(1, 0, 11), "<11: 1 to 0>"),
        (torch.tensor([1.0, float("nan"), 0.0]), "<3: nan>"),
        (torch.ones(4, dtype=torch.bfloat16, requires_grad=True), "<4: 1>"),
        (np.array(["a", "b"]), "<2>"),
        (np.zeros((0, 3)), "<0x3>"),
    ],
)
def test_numbers(values, text):
    @dataclasses.dataclass(repr=False)
    class Held(Brief):
        values: object

    assert repr(Held(values)) == f"Held(values={text})"
