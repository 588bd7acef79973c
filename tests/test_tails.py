"""The shape of a tail, against draws whose shape is known."""

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

import lowerbound as lb
from lowerbound.auditing import pareto_shape
from lowerbound.auditing.draws import heavy_tails
from lowerbound.errors import InputError
from lowerbound.tails import MOST_RELIABLE, heavier_tail, mean_of_draws, upper_tail


@pytest.mark.parametrize("shape", [0.1, 0.5, 0.7, 1.0, 1.5])
def test_of_generalised_pareto_draws(shape):
    found = [pareto_shape(genpareto.rvs(shape, size=20_000, random_state=seed)) for seed in range(20)]
    assert abs(np.mean(found) - shape) < 0.07
    assert np.std(found) < 0.12


def test_of_bounded_draws_it_is_negative_and_of_equal_ones_minus_infinity():
    assert pareto_shape(np.random.default_rng(0).uniform(size=5000)) < -0.5
    assert pareto_shape(np.ones(1000)) == -np.inf


LAWS = {  # and the shape of their tail
    "Pareto": (lambda rng, num: rng.pareto(1, num), 1.0),
    "Pareto with a variance": (lambda rng, num: rng.pareto(4, num), 0.25),
    "Cauchy": (lambda rng, num: rng.standard_t(1, num), 1.0),
    "Student's t": (lambda rng, num: rng.standard_t(5, num), 0.2),
    "exponential": (lambda rng, num: rng.exponential(size=num), 0.0),
    "uniform": (lambda rng, num: rng.uniform(size=num), -1.0),
    "one in ten is exponential": (lambda rng, num: rng.exponential(size=num) * (rng.random(num) < 0.1), 0.0),
}


@pytest.mark.parametrize("law", LAWS)
def test_of_laws_whose_tail_is_known(law):
    """To the standard error, 1 + k over the root of the 300 draws, the prior, and what the law is from its limit."""
    draw, shape = LAWS[law]
    tails = [upper_tail(draw(np.random.default_rng(seed), 10_000)) for seed in range(20)]
    assert sum(tail.is_pareto for tail in tails) >= 18
    assert abs(np.mean([tail.shape for tail in tails]) - shape) < 0.2
    assert (
        all((tail.shape > MOST_RELIABLE) == (shape > MOST_RELIABLE) for tail in tails if tail.is_pareto) or shape == 1
    )
    if shape == 1:
        assert sum(tail.shape > MOST_RELIABLE for tail in tails) >= 17


@pytest.mark.parametrize("num", [200, 1000, 10_000])
def test_whole_numbers_have_a_shape_and_no_pareto_tail(num):
    """Where a fit meets the exponential law exactly it was no number."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        for draws in (rng.poisson(3, num), np.floor(rng.pareto(3, num)), rng.random(num) < 0.05):
            shape = heavier_tail(draws.astype(float)).shape
            # of 200 draws so few are beyond the threshold that nothing is known
            assert shape <= MOST_RELIABLE or (num == 200 and shape == np.inf)


def test_it_is_that_of_arviz():
    arviz = pytest.importorskip("arviz_stats.base").array_stats
    for law, (draw, _) in LAWS.items():
        draws = draw(np.random.default_rng(0), 10_000)
        theirs = float(arviz.pareto_khat(draws[None], r_eff=1.0, tail="right"))
        assert pareto_shape(draws) == pytest.approx(theirs, abs=1e-9), law


def draws_of_an_entropy(num, seed, *, uniform):
    """Of the integral for the entropy of 256 levels (docs/heavy_tails.md): by uniform u, whose weights have no variance, or
    evenly over the log of snr, where they are bounded."""
    schedule = lb.LinearGamma(-14.0, 14.0, lb.schedule.VARIANCE_EXPLODING)
    levels, noise = torch.linspace(-1, 1, 256).double()[:, None], lb.Stream(seed)
    u = noise.uniform(torch.empty(num, 1).double())[:, 0]
    snr = -u.log() if uniform else torch.exp(28 * u - 14)
    x = levels[(256 * noise.uniform(snr[:, None])[:, 0]).long()]
    level = schedule.level_at(-snr.log())
    best = lb.denoiser.Empirical(levels, schedule)(x + level.sigma[:, None] * noise.normal(x), level)
    return (best.x_var[:, 0] / 2 * (1 / u if uniform else 28 * snr)).numpy()


def test_two_estimators_of_one_integral_are_told_apart():
    found = {
        uniform: [heavy_tails(draws_of_an_entropy(4000, seed, uniform=uniform)[None]) for seed in range(5)]
        for uniform in (True, False)
    }
    assert [check.verdict for check in found[False]] == ["pass"] * 5
    assert [check.verdict for check in found[True]].count("fail") >= 3


def test_a_heap_that_hides_the_tail_is_no_failure():
    """Of a thousand draws of the right estimator so few are of the tail that nothing can be told."""
    for seed in range(10):
        check = heavy_tails(draws_of_an_entropy(1000, seed, uniform=False)[None])
        assert check.verdict != "fail", check.finding
        assert check.verdict == "pass" or "ten times as many" in check.remedy


def test_too_few_or_infinite_draws_are_refused():
    with pytest.raises(InputError, match="hundred"):
        pareto_shape(np.ones(20))
    with pytest.raises(InputError, match="not finite"):
        pareto_shape(np.append(np.ones(200), np.inf))


def test_a_mean_has_an_error_unless_its_tail_is_heavy():
    """On either side; a heap of draws at the threshold of a light tail is no heavy one."""
    rng = np.random.default_rng(0)
    heavy = [genpareto.rvs(1.2, size=2000, random_state=seed) for seed in range(20)]
    assert sum(np.isnan(mean_of_draws(sign * draws).error) for draws in heavy for sign in (1, -1)) >= 36
    heap = [
        np.concatenate([rng.normal(size=1800), 7 + 0.1 * rng.random(140), 7 + rng.exponential(6, size=60)])
        for _ in range(20)
    ]
    assert max(pareto_shape(draws) for draws in heap) > 1
    assert sum(np.isnan(mean_of_draws(draws).error) for draws in heap) == 0
    light = [rng.standard_normal(2000) ** 2 for _ in range(50)]
    assert sum(np.isnan(mean_of_draws(draws).error) for draws in light) == 0
