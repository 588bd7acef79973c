"""The shape of a tail, against draws whose shape is known."""

import numpy as np
import pytest
from scipy.stats import genpareto

from lowerbound.auditing import pareto_shape
from lowerbound.errors import InputError


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
