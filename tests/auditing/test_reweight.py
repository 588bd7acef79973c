"""Weighted samples of a model: log Z is that of quadrature, means are those of the density, and nothing has an error where
the weights' tail leaves none."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributions
from training.runs import tiny_run

from lowerbound.auditing import reweight
from lowerbound.errors import InputError
from lowerbound.run import open_run

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "reweighting.py"


@pytest.fixture(scope="module")
def systems():
    """The double well and the four particles, each with its exact log Z and its samples."""
    spec = importlib.util.spec_from_file_location("reweighting", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SYSTEMS


def normal(std: float, num_dims: int = 2):
    return distributions.Independent(distributions.Normal(torch.zeros(num_dims).double(), std), 1)


def test_log_z_and_means_of_a_gaussian_are_its_own():
    """E = |x|^2 / 2 with the constant 3: log Z = log 2 pi - 3, and E[x^2] = 1."""
    off = []
    for seed in range(40):
        found = reweight(normal(1.3), lambda x: (x**2).sum(1) / 2 + 3, seed=seed)
        assert found.is_reliable
        second = found.mean(found.samples[:, 0] ** 2)
        off.append(
            ((found.log_z - math.log(2 * math.pi) + 3) / found.standard_error, (second.value - 1) / second.error)
        )
    assert np.abs(np.mean(off, 0)).max() < 4 / 40**0.5
    assert np.all((np.std(off, 0) > 0.6) & (np.std(off, 0) < 1.4)), "errors are what estimates err by"


def test_a_model_that_is_the_density_gives_every_sample_the_same_weight():
    found = reweight(normal(1.0), lambda x: torch.as_tensor(x).square().sum(1) / 2, wide_share=0)
    assert found.log_z == pytest.approx(math.log(2 * math.pi))
    assert found.effective == pytest.approx(1000)
    assert found.standard_error < 1e-12


def test_a_wide_density_beside_a_right_model_costs_what_its_share_is():
    """No weight is above 1 / (1 - a) of the one that all would have."""
    found = reweight(normal(1.0), lambda x: (x**2).sum(1) / 2)
    assert abs(found.log_z - math.log(2 * math.pi)) < 4 * found.standard_error
    assert found.effective > 900
    assert (found.weights * 1000 * math.exp(found.log_z - math.log(2 * math.pi))).max() <= 1 / 0.9 + 1e-9


def test_nothing_has_an_error_where_the_tail_leaves_none():
    found = reweight(normal(0.2, 4), lambda x: (x**2).sum(1) / 2, seed=1)
    assert found.pareto_shape > 0.7
    assert math.isnan(found.standard_error)
    assert math.isnan(found.mean(found.samples[:, 0]).error)
    assert "±" not in str(found)
    assert "is above 0.7" in str(found)


def wells(width: float, along: float):
    """Two Gaussians, where the double well's wells are."""
    scales = torch.tensor([width, along]).double()
    parts = distributions.Independent(distributions.Normal(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double(), scales), 1)
    return distributions.MixtureSameFamily(distributions.Categorical(torch.ones(2).double()), parts)


def test_the_pass_that_a_model_does_not_know_has_an_error_that_covers_it(systems):
    """Two Gaussians as narrow as the wells are far too small between them: there a wide density is what draws."""
    energy, exact, _ = systems["double-well"]
    alone, off = [], []
    for seed in range(40):
        plain = reweight(wells(0.17, 1.0), energy, wide_share=0, seed=seed)
        alone.append((plain.log_z - exact()) / plain.standard_error)
        found = reweight(wells(0.17, 1.0), energy, seed=seed)
        assert found.is_reliable, str(found)
        off.append((found.log_z - exact()) / found.standard_error)
    assert np.isnan(alone).any()
    assert np.nanmin(alone) < -4, "without it an error is stated that does not cover what was never drawn"
    assert abs(np.mean(off)) < 4 / 40**0.5
    assert 0.6 < np.std(off) < 1.4
    assert np.abs(off).max() < 4


def test_log_z_of_the_double_well_is_that_of_quadrature(systems):
    energy, exact, _ = systems["double-well"]
    found = reweight(wells(0.4, 1.1), energy)
    assert found.is_reliable
    assert abs(found.log_z - exact()) < 4 * found.standard_error
    assert found.standard_error < 0.05


@pytest.mark.slow
def test_log_z_of_four_particles_is_that_of_quadrature_by_a_run(systems, tmp_path):
    """The run has hardly been trained: it stands upon a mixture that was fitted to the samples."""
    energy, exact, sample = systems["four-particles"]
    np.save(tmp_path / "samples.npy", sample(2000, np.random.default_rng(0)).astype(np.float32))
    run = open_run(tiny_run(tmp_path / "run", str(tmp_path / "samples.npy"), components=64).path)
    found = reweight(run, energy, 200)
    assert found.samples.shape == (200, *run.spec.raw_shape)
    assert found.is_reliable, str(found)
    assert abs(found.log_z - exact()) < 4 * found.standard_error + 0.01
    assert found.standard_error < 0.2


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (lambda x: x, "one number for each"),
        (lambda x: np.full(len(x), np.nan), "NaN or -inf"),
        (lambda x: np.full(len(x), np.inf), "at every sample"),
    ],
)
def test_what_is_no_energy_is_refused(energy, message):
    with pytest.raises(InputError, match=message):
        reweight(normal(1.0), energy)


def test_a_share_that_is_none_is_refused():
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(InputError, match="wide_share is"):
            reweight(normal(1.0), lambda x: x[:, 0], wide_share=share)


def test_with_too_few_samples_for_a_wide_density_the_model_is_alone():
    """A hundred of 20 dimensions: every weight is the same."""
    found = reweight(normal(1.0, 20), lambda x: (x**2).sum(1) / 2, 100)
    assert found.effective == pytest.approx(100)


def test_too_few_samples_and_what_has_none_are_refused():
    with pytest.raises(InputError, match="num_samples is 10"):
        reweight(normal(1.0), lambda x: x[:, 0], 10)
    with pytest.raises(InputError, match="cannot be sampled"):
        reweight(lambda x: x[:, 0], lambda x: x[:, 0])
