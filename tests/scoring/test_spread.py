"""What an error from few draws covers, over many repeats of draws that are known."""

import numpy as np
import pytest

from lowerbound.scoring.spread import error_of_mean, half_interval

REPEATS = 20_000


def draws(num_draws, slope, kind="normal"):
    """Draws around a straight trend, from all parts of it alike, and the mean that they estimate."""
    random = np.random.default_rng(0)
    noise = (
        random.normal(size=(REPEATS, num_draws)) if kind == "normal" else random.exponential(1, (REPEATS, num_draws))
    )
    return noise + slope * np.arange(num_draws), (kind != "normal") + slope * (num_draws - 1) / 2


@pytest.mark.parametrize("slope", [0.0, 3.0])
@pytest.mark.parametrize("num_draws", [3, 4, 10, 64])
def test_intervals_cover_what_they_say(num_draws, slope):
    values, mean = draws(num_draws, slope)
    error, half = error_of_mean(values)
    # the variance is the noise's own, whatever the trend
    assert (error**2).mean() == pytest.approx(1 / num_draws, rel=0.05)
    covered = (np.abs(values.mean(1) - mean) <= half).mean()
    assert 0.92 < covered < 0.99, covered
    if num_draws <= 4:
        assert (np.abs(values.mean(1) - mean) <= 2 * error).mean() < 0.87, "twice the error does not"


def test_two_draws_have_the_interval_of_one_degree_of_freedom():
    values, mean = draws(2, 0.0)
    error, half = error_of_mean(values)
    assert half == pytest.approx(12.706 * error, rel=1e-4)
    assert (np.abs(values.mean(1) - mean) <= half).mean() == pytest.approx(0.95, abs=0.01)
    assert half_interval(np.ones(1), 10_000)[0] == pytest.approx(1.96, abs=1e-3)


def test_skewed_draws_are_covered_less_but_better_than_by_two_errors():
    values, mean = draws(6, 0.0, "skewed")
    error, half = error_of_mean(values)
    off = np.abs(values.mean(1) - mean)
    assert (off <= half).mean() > 0.9 > (off <= 2 * error).mean()


def test_a_single_draw_says_nothing():
    for figures in error_of_mean(np.ones((3, 1))):
        assert np.isnan(figures).all()
