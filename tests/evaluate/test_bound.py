"""The evaluation's bound on data whose density is known, through a closed-form denoiser in place of a network."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from known import mixture_log_prob, mixture_run

from lowerbound import mean_and_error
from lowerbound.data import Dataset
from lowerbound.evaluate.likelihood import Likelihood, held_out_likelihood
from lowerbound.evaluate.profile import profile
from lowerbound.models import Effort
from lowerbound.run import Run
from lowerbound.scoring import score
from lowerbound.training.held_out import held_out_bits


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> tuple[Run, Dataset]:
    return mixture_run(tmp_path_factory.mktemp("known"))


def found_on(run: Run, dataset: Dataset, *which, **given) -> Likelihood:
    return held_out_likelihood(run, dataset, *which, **given)[0]


def exact_bits(indices: np.ndarray, dataset: Dataset) -> torch.Tensor:
    """-log2 p / D in the units that the data came in."""
    return -mixture_log_prob(dataset.examples[indices]) / (2 * math.log(2))


def test_bound_is_the_exact_density_in_the_data_s_own_units(known):
    run, dataset = known
    bound = found_on(run, dataset, dataset.test[:500], Effort(256))
    exact, spread = mean_and_error(exact_bits(dataset.test[:500], dataset))
    assert abs(bound.total[0] - exact) < 0.05  # the estimator's own noise is 0.024
    assert spread < bound.total[1] < 2 * spread
    assert bound.total[0] == pytest.approx(sum(term.value for term in bound.terms.values()), abs=1e-5)
    assert "of the density" in bound.kind


def test_a_chain_s_bound_is_looser(known):
    run, dataset = known
    few, many = (found_on(run, dataset, effort=Effort(num_steps=T)).total[0] for T in (10, 60))
    exact, _ = mean_and_error(exact_bits(dataset.test, dataset))
    assert exact < many < few
    assert "60 steps" in found_on(run, dataset, dataset.test[:4], Effort(num_steps=60)).kind


def test_batches_do_not_matter_much_and_seeds_do(known):
    run, dataset = known
    one, two, other = (
        score(run, dataset.examples[:200], Effort(16), **more).bits_per_dim.mean()
        for more in ({"batch_size": 200}, {"batch_size": 70}, {"seed": 1})
    )
    assert one == pytest.approx(two, abs=0.1)
    assert one != other


def test_area_under_the_profile_is_the_diffusion_term(known):
    run, dataset = known
    found = profile(run, dataset, num_examples=2000, num_bins=12)
    bound = found_on(run, dataset, effort=Effort(64))
    diffusion = bound.terms["diffusion"]
    error = math.hypot(np.sqrt((found.errors**2).sum()), diffusion[1])
    assert abs(found.bits.sum() - diffusion[0]) < 4 * error
    assert found.gamma[0] == pytest.approx(-9)
    assert found.gamma[-1] == pytest.approx(9)
    assert np.isnan(profile(run, dataset, num_examples=1, num_bins=12).errors).all(), "of one example none is known"


def test_a_profile_is_the_same_however_many_examples_are_worked_on_at_a_time(known, monkeypatch):
    run, dataset = known
    calls = []
    whole = profile(run, dataset, num_examples=50, num_bins=3, progress=calls.append)
    assert calls == [50, 50, 50]
    monkeypatch.setattr("lowerbound.evaluate.profile.at_once", lambda num_dims: 20)
    parts = profile(run, dataset, num_examples=50, num_bins=3, progress=calls.append)
    assert calls[3:] == [20, 20, 20, 20, 20, 20, 10, 10, 10]
    for field in dataclasses.fields(whole):
        np.testing.assert_allclose(getattr(parts, field.name), getattr(whole, field.name), rtol=1e-5, atol=1e-6)


def test_held_out_bits_along_the_way_are_the_same_figure(known):
    run, dataset = known
    validation = dataclasses.replace(dataset, test=dataset.validation)
    bits, error = held_out_bits(run.model, dataset)
    bound = found_on(run, validation, validation.test[:512], Effort(16))
    assert abs(bits - bound.total[0]) < 4 * math.hypot(error, bound.total[1])
    assert held_out_bits(run.model, dataset) == (bits, error)


def test_the_bits_of_each_example_are_those_of_the_mean(known):
    run, dataset = known
    bound, bits = held_out_likelihood(run, dataset, dataset.test[:50], Effort(4))
    assert bits.shape == (50,)
    assert bound.total == pytest.approx((bits.mean(), bits.std(ddof=1) / 50**0.5))
