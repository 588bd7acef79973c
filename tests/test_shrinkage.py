"""Covariances of few rows, against the ones that the rows were drawn from."""

import math

import numpy as np
import pytest
import torch

from lowerbound.baselines import Splits, gaussian
from lowerbound.baselines.shrinkage import FOLDS, SHRINKAGES, WIDEST, are_few, cross_validated
from lowerbound.training.gaussians import fit_gaussian


def spiked(dim: int, num_causes: int = 5, noise: float = 0.25) -> np.ndarray:
    """A covariance, with ones on its diagonal, of numbers that few causes move, and noise."""
    causes = np.random.default_rng(3).normal(size=(num_causes, dim))
    covariance = causes.T @ causes + noise * num_causes * np.eye(dim)
    scale = np.sqrt(covariance.diagonal())
    return covariance / np.outer(scale, scale)


def drawn(covariance: np.ndarray, num: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, len(covariance))) @ np.linalg.cholesky(covariance).T


def divergence(truth: np.ndarray, covariance: np.ndarray) -> float:
    r"""$KL(N(0, truth) | N(0, covariance))$, nats for each number."""
    ratio = np.linalg.solve(covariance, truth)
    return 0.5 * (np.trace(ratio) - len(truth) - np.linalg.slogdet(ratio)[1]) / len(truth)


def with_variances(rows: np.ndarray, variances: np.ndarray) -> np.ndarray:
    axes = np.linalg.eigh(rows.T @ rows / len(rows))[1]
    return (axes * variances) @ axes.T


@pytest.mark.parametrize(("num", "dim"), [(40, 12), (23, 60), (13, 13)])
@pytest.mark.parametrize("is_noisy", [False, True])
def test_all_variance_is_somewhere_and_rises_along_the_sample_s_own(num, dim, is_noisy):
    rows = drawn(spiked(dim), num)
    noise = np.random.default_rng(1).uniform(0.01, 0.1, dim) if is_noisy else None
    found = cross_validated(rows, noise)
    assert found.shape == (dim,)
    assert (np.diff(found) >= -1e-12).all()
    expected = (rows**2).sum() / num + (0 if noise is None else noise.sum())
    assert found.sum() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num", [30, 200])
def test_it_is_the_mean_square_along_the_axes_of_the_other_rows(num):
    """As written down, before it is made to rise; noise counts on the diagonal, and in what is measured."""
    rows, noise = drawn(spiked(20), num), np.full(20, 0.05)
    along = np.zeros((num, 20))
    for index in range(num):
        others = rows[np.arange(num) % FOLDS != index % FOLDS]
        axes = np.linalg.eigh(np.cov(others.T, bias=True) + np.outer(others.mean(0), others.mean(0)) + np.diag(noise))[
            1
        ]
        along[index] = (rows[index] @ axes) ** 2 + noise @ axes**2
    expected = np.maximum.accumulate(np.cumsum(along.mean(0)))
    found = cross_validated(rows, noise)
    # the greatest convex minorant of the sums: it touches them at both ends and is nowhere above
    sums = np.cumsum(found)
    assert (sums <= expected + 1e-9).all()
    assert sums[-1] == pytest.approx(expected[-1], rel=1e-12)
    assert (np.isclose(sums, expected, rtol=1e-9)).sum() >= 5


def test_of_more_numbers_than_rows_it_is_nearer_to_the_truth_than_the_best_straight_line():
    truth, num = spiked(200), 80
    rows = drawn(truth, num)
    sample = rows.T @ rows / num
    lines = [(1 - s) * sample + s * np.diag(sample.diagonal()) for s in SHRINKAGES if s > 0]
    best = min(divergence(truth, line) for line in lines)
    found = divergence(truth, with_variances(rows, cross_validated(rows)))
    axes = np.linalg.eigh(sample)[1]
    least = divergence(truth, with_variances(rows, ((axes.T @ truth) * axes.T).sum(1)))
    assert 0 < least <= found < 1.1 * least, "as good as variances along these axes can be"
    assert found < 0.75 * best


def test_of_independent_numbers_it_says_that_no_axis_is_special():
    rows = drawn(np.eye(300), 100)
    found = cross_validated(rows)
    assert divergence(np.eye(300), with_variances(rows, found)) < 0.01
    assert np.linalg.eigvalsh(rows.T @ rows / 100)[-1] > 5, "the sample's own is far from it"


def test_of_many_rows_it_is_the_sample_s_own():
    truth = np.diag(np.linspace(0.5, 4, 8))
    found = cross_validated(drawn(truth, 20_000))
    np.testing.assert_allclose(found, np.diag(truth), rtol=0.05)


@pytest.mark.parametrize(
    ("num", "dim", "expected"),
    [
        (FOLDS, 4, False),
        (FOLDS + 1, 4, True),
        (399, 40, True),
        (400, 40, False),
        (100, WIDEST, True),
        (100, WIDEST + 1, False),
    ],
)
def test_when_it_is_worth_it(num, dim, expected):
    assert are_few(num, dim) is expected


def test_networks_and_yardsticks_take_it_where_held_out_rows_are_likelier():
    truth = spiked(100)
    scale = np.geomspace(0.01, 100, 100)
    train, held_out, test = ((3 + drawn(truth, num, seed)) * scale for num, seed in ((60, 0), (40, 1), (2000, 2)))
    mean, covariance = fit_gaussian(torch.from_numpy(train), torch.from_numpy(held_out))
    found = divergence(truth, covariance.numpy() / np.outer(scale, scale))
    sample = np.cov(train.T, bias=True) / np.outer(scale, scale)
    best = min(divergence(truth, (1 - s) * sample + s * np.diag(sample.diagonal())) for s in SHRINKAGES if s > 0)
    assert found < 0.8 * best, (found, best)
    baseline = gaussian(Splits(train, held_out, test))
    assert baseline.name == "full-covariance Gaussian (cross-validated shrinkage)"
    normal = torch.distributions.MultivariateNormal(mean, covariance)
    nats = -normal.log_prob(torch.from_numpy(test)).mean().item() / 100
    assert baseline.bits_per_dim == pytest.approx(nats / math.log(2), rel=1e-6)


def test_of_rows_with_gaps_pairs_are_all_that_is_known():
    rows = torch.from_numpy(drawn(spiked(30), 60))
    held_out = torch.from_numpy(drawn(spiked(30), 30, 1))
    rows[0, 0] = math.nan
    _, covariance = fit_gaussian(rows, held_out)
    diagonal = torch.diag(covariance.diagonal())
    sample = torch.from_numpy(np.cov(rows[:, 1:].numpy().T, bias=True))
    ratio = ((covariance - diagonal)[1:, 1:] / (sample - torch.diag(sample.diagonal()))).nan_to_num()
    off = ratio[~torch.eye(29, dtype=torch.bool)]
    assert 0.5 < off.mean() < 1
    assert off.std() < 1e-9, "shrunk by one amount"


def test_levels_have_the_noise_within_them_on_the_diagonal():
    """Coarse ones of a few causes: the bound is never below the entropy of what they were cut from, with the noise."""
    values = drawn(spiked(60), 2100)
    levels = np.clip(np.round(2 * values) + 8, 0, 16).astype(np.int64)
    found = gaussian(Splits(levels[:50], levels[50:100], levels[100:], 17))
    assert found.name == "full-covariance Gaussian (cross-validated shrinkage)"
    plain = gaussian(Splits(levels[:1000], levels[50:100], levels[100:], 17))
    entropy = 0.5 * np.linalg.slogdet(4 * spiked(60) + np.eye(60) / 12)[1] / 60 + 0.5 * math.log(2 * math.pi * math.e)
    assert plain.bits_per_dim == pytest.approx(entropy / math.log(2), abs=0.1)
    assert entropy / math.log(2) < found.bits_per_dim < plain.bits_per_dim + 0.3
