"""Forecasts are judged: simple ones against what they are, and those of a run of series beside them."""

import json
import math

import numpy as np
import pytest

from lowerbound.evaluate.folder import KINDS
from lowerbound.evaluate.forecasts import Forecasts, persistence, ridge, rivals, season_of, seasonal
from lowerbound.evaluate.imputation import judge
from lowerbound.files.records import read, to_json
from lowerbound.report.parts import description

HORIZON = 6


def waves(num: int, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Windows of two channels of a period of 8 steps, at phases at random, with noise on them: (num, 2, 30)."""
    rng = np.random.default_rng(seed)
    phase = rng.integers(0, 8, (num, 1, 1)) + np.array([[[0], [2]]])
    return np.sqrt(2) * np.sin(2 * np.pi * (np.arange(30) + phase) / 8) + noise * rng.normal(size=(num, 2, 30))


def test_the_season_is_found_and_repeated():
    windows = waves(20)
    assert season_of(waves(50, 0.3), 24) == 8
    assert np.abs(seasonal(windows, HORIZON, 8) - windows[..., -HORIZON:]).max() < 1e-12
    assert season_of(windows, 1) is None


def test_the_shortest_lag_of_what_goes_on_smoothly_is_no_season():
    rng = np.random.default_rng(0)
    steps, phase = np.arange(40), rng.integers(0, 12, (500, 2, 1))
    season = np.sqrt(2) * np.sin(2 * np.pi * (steps + phase) / 12)
    wandering = season + 0.4 * rng.normal(size=(500, 2, 40)).cumsum(2)
    least = [np.abs(wandering[..., lag:] - wandering[..., :-lag]).mean() for lag in (2, 12)]
    assert least[0] < least[1]
    assert season_of(wandering, 34) == 12
    assert season_of(wandering, 39) == 12
    assert season_of(np.broadcast_to(steps, (5, 2, 40)) * 1.0, 34) is None


def test_what_is_missing_is_the_last_value_that_is_known():
    windows = waves(3)
    windows[0, 0, 20:24] = np.nan
    windows[1, 1, :24] = np.nan
    ahead = persistence(windows, HORIZON)
    assert (ahead[0, 0] == windows[0, 0, 19]).all()
    assert (ahead[1, 1] == 0).all()
    assert (ahead[2] == windows[2, :, 23:24]).all()


def test_a_linear_model_finds_a_linear_law():
    """Waves are one: the weights forecast others without error."""
    weights, windows = ridge(waves(200), waves(50, seed=1), HORIZON), waves(20, seed=2)
    seen = np.concatenate([windows[..., :24].reshape(20, -1), np.ones((20, 1))], 1)
    assert np.abs((seen @ weights).reshape(20, 2, HORIZON) - windows[..., -HORIZON:]).max() < 1e-2


def test_right_draws_are_better_than_simple_forecasts_and_told_so():
    """Of noise of a known spread on waves that are known the CRPS of right draws is that over the root of pi."""
    rng, spread = np.random.default_rng(3), 0.5
    windows = waves(400, spread, 4)
    ahead = waves(400, 0, 4)[:, None, :, -HORIZON:] + spread * rng.normal(size=(400, 19, 2, HORIZON))
    windows[0, 0, -1] = np.nan
    truth = np.nan_to_num(windows[..., -HORIZON:])
    judged = judge(*(each.reshape(400, *each.shape[1:-2], -1) for each in (ahead, truth, ~np.isnan(windows[..., -6:]))))
    simple = rivals(waves(800, spread, 5), waves(200, spread, 6), windows, HORIZON, 19)
    last, season, linear = simple
    right = spread / math.sqrt(math.pi)
    assert abs(judged.crps.value - right) < 4 * judged.crps.error
    assert right < linear.crps.value < 1.15 * right  # which has to find the phase in noise
    # the difference of two noises, as a point
    assert season.crps.value == pytest.approx(math.sqrt(2) * spread * math.sqrt(2 / math.pi), rel=0.05)
    assert season.root_mean_square_error.value == pytest.approx(math.sqrt(2) * spread, rel=0.05)
    assert last.crps.value > season.crps.value
    found = Forecasts(HORIZON, 24, 400, 19, judged, simple)
    assert read(KINDS["forecasts"], json.loads(to_json(found)), "here") == found
    told = description(found)
    assert [row[0] for row in told.tables[0].rows] == ["the model", *(rival.name for rival in simple)]
    assert "Forecasts are better than simple ones" in str(told.findings[0])
    assert "No sign that forecasts spread" in str(told.findings[1])
