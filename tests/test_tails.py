"""The shape of a tail, against draws whose shape is known."""

import numpy as np
import pytest
from scipy.stats import genpareto

from lowerbound.auditing import pareto_shape
from lowerbound.errors import InputError
from lowerbound.tails import mean_of_draws


@pytest.mark.parametrize("shape", [0.1, 0.5, 0.7, 1.0, 1.5])
def test_of_generalised_pareto_draws(shape):
    found = [pareto_shape(genpareto.rvs(shape, size=20_000, random_state=seed)) for seed in range(20)]
    assert abs(np.mean(found) - shape) < 0.07
    assert np.std(found) < 0.12


def test_of_bounded_draws_it_is_negative_and_of_equal_ones_minus_infinity():
    assert pareto_shape(np.random.default_rng(0).uniform(size=5000)) < -0.5
    assert pareto_shape(np.ones(1000)) == -np.inf


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
