"""A bound beside a density, and a density computed more finely: right ones pass, and a planted fault of each is caught."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributions

import lowerbound as lb
from lowerbound.auditing import as_subject, audit
from lowerbound.auditing.columns import Columns
from lowerbound.auditing.function import refinement
from lowerbound.auditing.subject import Subject
from lowerbound.errors import InputError

COVARIANCE = torch.tensor([[1.5, 0.4], [0.4, 0.6]]).double()
GAUSSIAN = distributions.MultivariateNormal(torch.zeros(2).double(), COVARIANCE)
NOISE = 0.1
"""Variance of x about W z, of the model with latents whose density is the Gaussian."""
NUM = {"num_draws": 2000, "num_samples": 1000}
BELOW = "bound below the density"


def bound(x, term: str = ""):
    """Of the linear model with latents z, by a q(z | x) twice as wide as the posterior; a term may be left out."""
    x = torch.as_tensor(x)
    weight = torch.linalg.cholesky(COVARIANCE - NOISE * torch.eye(2))
    posterior = torch.linalg.inv(torch.eye(2) + weight.T @ weight / NOISE)
    mean, wide = x @ weight @ posterior / NOISE, 2 * posterior
    squares = ((x - mean @ weight.T) ** 2).sum(1) + torch.trace(weight @ wide @ weight.T)
    reconstruction = -squares / (2 * NOISE) - math.log(2 * math.pi * NOISE)
    prior = (torch.trace(wide) + (mean**2).sum(1) - 2 - torch.logdet(wide)) / 2
    return reconstruction if term == "prior" else reconstruction - prior


def by_euler(num_steps: int):
    """The Gaussian's log density by the flow of x' = -L x to the standard normal, e^L a root of the covariance."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    log_root = vectors @ torch.diag(values.log() / 2) @ vectors.T

    back = torch.linalg.matrix_power(torch.eye(2) - log_root / num_steps, num_steps)

    def log_prob(x):
        z = torch.as_tensor(x) @ back
        return distributions.Normal(0.0, 1.0).log_prob(z).sum(1) - torch.trace(log_root)

    return log_prob


def test_a_bound_is_below_the_density_and_one_without_its_prior_is_caught():
    right = audit(GAUSSIAN, bound=bound, **NUM)
    assert right.verdict == right[BELOW].verdict == "pass", str(right)
    gap = 1 - math.log(2)  # the KL of a normal of two latents from one half as wide
    assert abs(right[BELOW].statistic + gap) < 1e-6
    wrong = audit(GAUSSIAN, bound=lambda x: bound(x, "prior"), **NUM)
    assert [check.name for check in wrong.checks if check.verdict == "fail"] == [BELOW]
    assert "a term of the bound is left out" in wrong[BELOW].remedy


@pytest.mark.parametrize(("value", "verdict"), [(-math.inf, "pass"), (math.nan, "fail"), (math.inf, "fail")])
def test_a_bound_that_is_no_number(value, verdict):
    def sometimes(x):
        return torch.where(x[:, 0] > 0, torch.full((len(x),), value).double(), bound(x))

    assert audit(GAUSSIAN, bound=sometimes, **NUM)[BELOW].verdict == verdict


def test_too_few_steps_say_so():
    def sample(num):
        return GAUSSIAN.sample((num,))

    few = audit(by_euler(4), sample=sample, finer=by_euler(40), **NUM)
    assert few["refinement"].verdict == "fail", str(few)
    assert "too few steps" in few["refinement"].remedy
    many = audit(by_euler(4000), sample=sample, finer=by_euler(40_000), **NUM)
    assert many.verdict == many["refinement"].verdict == "pass", str(many)


def test_an_error_that_is_stated_is_allowed():
    x = GAUSSIAN.sample((8,)).numpy()
    values, finer = (by_euler(steps)(x).numpy() for steps in (4, 40))
    error = np.abs(finer - values).max()
    for stated, verdict in ((error, "pass"), (error / 100, "fail")):
        subject = Subject("it", GAUSSIAN.log_prob, refinement=lambda x, e=stated: (values, finer, np.full(8, e)))
        assert refinement(subject, x).verdict == verdict

    def none(x):
        raise InputError("2 calls do not suffice")

    untold = refinement(Subject("it", GAUSSIAN.log_prob, refinement=none), x)
    assert untold.verdict == "can't tell"
    assert "do not suffice" in untold.finding


def bits(folder, kind: str, shape=(1, 2, 3)):
    """A run of bits that has hardly been trained."""
    np.save(folder / "bits.npy", np.random.default_rng(0).integers(0, 2, (60, *shape)).astype(np.uint8))
    dataset = lb.open_dataset(str(folder / "bits.npy"), num_levels=2)
    config = lb.recipe(dataset, model=kind)
    config = replace(config, training=replace(config.training, minutes=None, steps=2, num_pictures=0))
    return lb.open_run(lb.train(config, dataset, folder / kind, say=lambda line: None, show_progress=False).path)


@pytest.mark.parametrize("kind", ["autoregressive", "vae"])
def test_the_mass_of_few_states_is_summed(tmp_path, kind):
    run = bits(tmp_path, kind)
    found = audit(run)
    summed = found["normalisation by summing"]
    assert found.verdict == summed.verdict == "pass", str(found)
    assert "64 points" in summed.finding
    assert (abs(summed.statistic - 1) < 1e-3) == (kind == "autoregressive")
    subject = as_subject(run)
    off = replace(subject, log_prob=lambda x: (subject.log_prob(x)[0] + 0.1 - math.log(summed.statistic), None))
    assert audit(off)["normalisation by summing"].verdict == "fail"


@pytest.mark.parametrize(
    ("noise", "excess", "verdict"), [(0.5, -0.02, "pass"), (0.5, 0.2, "fail"), (2.0, -0.02, "can't tell")]
)
def test_the_noise_of_a_bound_is_taken_off_its_mass(noise, excess, verdict):
    """Of 4,096 states with errors that are stated: exp of the noise alone would make 1.13 of a mass of one."""
    draws = noise * np.random.default_rng(0).standard_normal(4096)

    def log_prob(x):
        return excess - math.log(4096) + draws[x[:, 0].astype(int)], np.full(len(x), noise)

    mass = Subject("it", log_prob, support=np.arange(4096.0)[:, None], is_bound=True)
    assert audit(mass)["normalisation by summing"].verdict == verdict


@pytest.mark.parametrize("kind", ["autoregressive", "vae"])
def test_a_mass_of_too_many_states_is_held_against_independent_columns(tmp_path, kind):
    run = bits(tmp_path, kind, (1, 4, 5))
    subject, name = as_subject(run), "never above independent columns"
    found = audit(run, num_draws=400, num_samples=200)
    assert [check.name for check in found.checks] == [name, "repeats", "batches"]
    assert found.verdict == "pass", str(found)
    assert subject.is_bound == (kind == "vae")
    for wrong in (lambda nats: nats / 20, lambda nats: -nats, lambda nats: nats + 20):
        off = replace(subject, log_prob=lambda x, wrong=wrong: (wrong(subject.log_prob(x)[0]), None))
        assert audit(off, num_draws=400, num_samples=200)[name].verdict == "fail"


def test_independent_columns_have_the_mass_that_they_say():
    points = np.array([[0.0, 5.0], [2.0, 5.0], [2.0, 6.0], [2.0, 7.0]])
    columns = Columns(points, (np.arange(3.0), np.arange(5.0, 9.0)))
    states = np.array([[a, b] for a in range(3) for b in range(5, 9)], float)
    masses = np.exp(columns.log_prob(states))
    assert masses.sum() == pytest.approx(1)
    drawn = columns.sample(20_000, 0)
    shares = np.array([(drawn == state).all(1).mean() for state in states])
    assert (np.abs(shares - masses) < 5 * np.sqrt(masses / 20_000)).all()
