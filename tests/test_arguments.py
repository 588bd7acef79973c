"""Mistakes in what the library is given end in errors of ours; what is documented to be allowed works."""

import json
import subprocess
import sys
from pathlib import Path

import mistakes
import numpy as np
import pytest
import torch
from mistakes import MISTAKES, RIGHT, X, network

import lowerbound as lb


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[str]]:
    """What came of each mistake, without the suite's checks of types, which would be the first to see them."""
    done = subprocess.run(
        [sys.executable, mistakes.__file__], capture_output=True, check=True, cwd=Path(__file__).parent
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(outcomes, name):
    kind, told = outcomes[name]
    assert kind == "InputError", told
    assert MISTAKES[name][1] in told


TIMES = {
    "a float": 0.5,
    "a number of numpy's": np.float64(0.5),
    "a tensor of no shape": torch.tensor(0.5),
    "one for all": torch.tensor([0.5]),
    "one for each": torch.full((4,), 0.5),
    "double ones": torch.full((4,), 0.5, dtype=torch.float64),
}


@pytest.mark.parametrize("t", TIMES.values(), ids=TIMES)
def test_a_time_may_be_given_in_many_ways(t):
    denoiser = network()
    assert (denoiser(X, t).x - denoiser(X, denoiser.schedule.level(0.5)).x).abs().max() < 1e-5


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_no_mistake(outcomes, name):
    kind, told = outcomes[name]
    assert kind == "nothing", told


def test_figures_of_numpy_have_a_mean():
    assert lb.mean_and_error(np.array([1.0, 3.0])) == (2.0, 1.0)


def test_double_data_meet_a_network_in_single_precision():
    denoiser, x = network(), X.double()
    assert denoiser(x, 0.5).x.dtype == torch.float64
    assert (denoiser(x, 0.5).x - denoiser(X, 0.5).x).abs().max() < 1e-5
    bound = lb.elbo(denoiser, lb.GaussianDecoder(), x, noise=lb.Stream(seed=0))
    drawn = lb.sample(denoiser, lb.DDIM(), x, lb.grid.uniform(3), lb.Stream(seed=0))
    assert bound.nats.dtype == drawn.dtype == lb.log_prob(denoiser, x).nats.dtype == torch.float64


def test_a_compiled_network_is_taken():
    denoiser = network()
    denoiser.network.compile(backend="eager")
    assert lb.NetworkDenoiser(denoiser.network, denoiser.schedule, (2,))(X, 0.5).x.shape == X.shape
    wrapped = torch.compile(mistakes.Linear(), backend="eager")
    assert lb.NetworkDenoiser(wrapped, denoiser.schedule, (2,))(X, 0.5).x.shape == X.shape


def test_missing_entries_may_be_anything():
    observed = torch.tensor([True, False]).expand(4, 2).clone()
    x = torch.where(observed, X, float("nan"))
    assert (
        lb.elbo(network().given(observed=observed), lb.GaussianDecoder(), x, noise=lb.Stream(seed=0))
        .nats.isfinite()
        .all()
    )
    levels = torch.where(observed, 1 / 256 - 1, float("nan"))
    bound = lb.elbo(network().given(observed=observed), lb.LevelPosterior(256), levels, noise=lb.Stream(seed=0))
    assert bound.nats.isfinite().all()
