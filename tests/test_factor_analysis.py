"""Factor analysis of wide rows, against the covariance that these were drawn from, and scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import FactorAnalysis

from lowerbound.baselines import Splits, factor_analysis, gaussian
from lowerbound.errors import InputError
from lowerbound.training import factors
from lowerbound.training.factors import fit_factors
from lowerbound.words.rounding import figure_text


def truth(dim: int, num_factors: int) -> torch.Tensor:
    """A covariance of numbers in units far apart, each with noise of its own."""
    rng = np.random.default_rng(5)
    loadings, left = rng.normal(size=(dim, num_factors)), rng.uniform(0.2, 2.0, dim)
    scale = np.geomspace(0.01, 100, dim)
    return torch.from_numpy((loadings @ loadings.T + np.diag(left)) * np.outer(scale, scale))


def drawn(covariance: torch.Tensor, num: int, seed: int = 0) -> torch.Tensor:
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(num, len(covariance))))
    return noise @ torch.linalg.cholesky(covariance).T + 3 * covariance.diagonal().sqrt()


def with_gaps(rows: torch.Tensor, share: float) -> torch.Tensor:
    is_missing = torch.from_numpy(np.random.default_rng(9).random(rows.shape)) < share
    return rows.masked_fill(is_missing, math.nan)


def divergence(covariance: torch.Tensor, left: torch.Tensor, loadings: torch.Tensor) -> float:
    r"""$KL(N(0, covariance) | N(0, \Lambda \Lambda^T + \psi))$, nats for each number."""
    ratio = torch.linalg.solve(loadings @ loadings.T + torch.diag(left), covariance)
    return 0.5 * (ratio.trace() - len(ratio) - torch.linalg.slogdet(ratio)[1]).item() / len(ratio)


def num_used(loadings: torch.Tensor) -> int:
    return int((loadings != 0).any(0).sum())


def test_the_covariance_is_found_and_how_many_factors_there_are():
    covariance = truth(60, 4)
    mean, left, loadings = fit_factors(drawn(covariance, 3000), drawn(covariance, 400, 1), 16)
    assert loadings.shape == (60, 16)
    assert num_used(loadings) == 4
    assert divergence(covariance, left, loadings) < 0.005
    torch.testing.assert_close(mean, 3 * covariance.diagonal().sqrt(), rtol=0.05, atol=0)


def test_of_more_numbers_than_rows_it_is_as_likely_as_scikit_learn_s():
    covariance = truth(200, 8)
    train, held_out = drawn(covariance, 120), drawn(covariance, 60, 1)
    mean, left, loadings = fit_factors(train, held_out, 32)
    num, scale = num_used(loadings), train.std(0)
    theirs = FactorAnalysis(num, max_iter=500, tol=1e-6).fit(((train - mean) / scale).numpy())
    own = torch.distributions.LowRankMultivariateNormal(mean, loadings[:, :num], left)
    for rows in (train, held_out):
        expected = theirs.score(((rows - mean) / scale).numpy()) - scale.log().sum().item()
        assert own.log_prob(rows).mean().item() / 200 == pytest.approx(expected / 200, abs=0.02)


def test_a_round_more_is_never_less_likely(monkeypatch):
    covariance = truth(40, 3)
    rows = with_gaps(drawn(covariance, 60), 0.3)
    standardised = (rows - rows.nanmean(0)) / covariance.diagonal().sqrt()
    given = standardised.nan_to_num(), (~rows.isnan()).double()
    monkeypatch.setattr(factors, "TOLERANCE", -1.0)
    likely = []
    for num_rounds in (1, 2, 3, 5, 10, 40):
        monkeypatch.setattr(factors, "ROUNDS", num_rounds)
        likely.append(factors._mean_log_prob(*given, factors._maximised(*given, 3)))
    assert all(after >= before - 1e-9 for before, after in zip(likely[:-1], likely[1:], strict=True)), likely
    assert likely[-1] > likely[0]


def test_gaps_cost_little():
    """A third of the entries away: nearer to the truth than numbers apart by far, and than a fit to half of the rows."""
    covariance = truth(150, 5)
    train, held_out = drawn(covariance, 300), drawn(covariance, 100, 1)
    found = divergence(covariance, *fit_factors(with_gaps(train, 1 / 3), with_gaps(held_out, 1 / 3), 32)[1:])
    half = divergence(covariance, *fit_factors(train[:150], held_out, 32)[1:])
    apart = divergence(covariance, *fit_factors(train, held_out, 0)[1:])
    assert 0 < found < half < 0.2 * apart, (found, half, apart)


def test_numbers_that_are_missing_where_another_is_large_have_their_mean_all_the_same():
    """What is there of them has another one, by a third of their deviation and more."""
    covariance = truth(40, 2)
    train, held_out = drawn(covariance, 2000), drawn(covariance, 300, 1)
    mean, scale = 3 * covariance.diagonal().sqrt(), covariance.diagonal().sqrt()
    correlations = covariance[0] / (scale[0] * scale)
    followers = torch.zeros(40, dtype=torch.bool)
    followers[correlations.abs().argsort(descending=True)[1:6]] = True  # but for the first itself
    for rows in (train, held_out):
        rows[(rows[:, :1] > mean[0]) & followers] = math.nan
    found, left, loadings = fit_factors(train, held_out, 8)
    wrong, naive = (((each - mean) / scale)[followers].abs() for each in (found, train.nanmean(0)))
    assert naive.min() > 0.33
    assert wrong.max() < 0.1
    assert divergence(covariance, left, loadings) < 0.02


def test_independent_numbers_have_no_factors():
    mean, left, loadings = fit_factors(drawn(torch.eye(100).double(), 80), drawn(torch.eye(100).double(), 60, 1), 32)
    assert num_used(loadings) == 0
    assert loadings.shape == (100, 32)
    assert divergence(torch.eye(100).double(), left, loadings) < 0.02
    assert mean.shape == left.shape == (100,)


def test_the_same_rows_have_the_same_factors_and_leave_the_library_s_generator_alone():
    rows, held_out = drawn(truth(50, 3), 80), drawn(truth(50, 3), 40, 1)
    state = torch.get_rng_state()
    first = fit_factors(rows, held_out, 8)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert all(map(torch.equal, first, fit_factors(rows, held_out, 8)))


def test_where_nothing_is_held_out_there_are_no_factors():
    covariance = truth(30, 2)
    assert num_used(fit_factors(drawn(covariance, 40), drawn(covariance, 2)[:0], 8)[2]) == 0
    assert num_used(fit_factors(drawn(covariance, 1), drawn(covariance, 5, 1), 8)[2]) == 0


def test_columns_of_which_nothing_or_no_more_than_one_value_is_there_do_no_harm():
    covariance = truth(30, 2)
    rows, held_out = drawn(covariance, 90), drawn(covariance, 30, 1)
    rows[:, 3], rows[:, 7], rows[1:, 8] = math.nan, 2.0, math.nan
    found = fit_factors(rows, held_out, 8)
    assert all(each.isfinite().all() for each in found)
    assert (found[1] > 0).all()


def test_as_a_yardstick_it_reaches_the_entropy_of_data_with_factors():
    covariance = truth(80, 4)
    train, held_out, test = (drawn(covariance, num, seed).numpy() for num, seed in ((600, 0), (300, 1), (500, 2)))
    found = factor_analysis(Splits(train, held_out, test))
    entropy = 0.5 * (torch.linalg.slogdet(covariance)[1].item() / 80 + math.log(2 * math.pi * math.e)) / math.log(2)
    assert found.name == "factor analysis (4 factors)"
    assert found.kind == "exact"
    assert found.bits_per_dim == pytest.approx(entropy, abs=0.02 + 3 * found.standard_error), figure_text(*found.bits)
    assert found.bits_per_dim < gaussian(Splits(train, held_out, test)).bits_per_dim


@pytest.mark.parametrize(
    ("values", "num_levels", "says"),
    [
        (np.zeros((20, 4), dtype=np.int64), 2, "2 levels"),
        (np.where(np.arange(80).reshape(20, 4) == 5, np.nan, 1.0), None, "missing"),
        (np.ones((20, 4)), None, "constant"),
        (np.random.default_rng(0).normal(size=(20, 1)), None, "two dimensions"),
    ],
)
def test_what_it_is_not_for_is_said(values, num_levels, says):
    with pytest.raises(InputError, match=says):
        factor_analysis(Splits(values, values, values, num_levels))
