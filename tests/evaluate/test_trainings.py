"""Claims over trainings, on simulated bits of known spreads: intervals hold the truth as often as they say, and no more
than one difference in twenty is found where there is none."""

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.evaluate.trainings import (
    difference_of_figures,
    difference_over_trainings,
    figure_over_trainings,
    mean_over_trainings,
)
from lowerbound.files.records import Measured

REPEATS = 1000
BINOMIAL = 4 * (0.05 * 0.95 / REPEATS) ** 0.5
"""Four standard errors of a share of 5 % in so many repeats."""
SPREADS = [(0.05, 1.0, 0.1), (0.05, 0.05, 0.3), (0.001, 0.3, 0.2)]
"""Standard deviations of trainings, of examples, and of the rest."""


def simulated(rng, num_trainings, spreads, hard, mean=2.0):
    """Bits of trainings on examples that are hard by the same amounts for all."""
    training, _, rest = spreads
    luck = training * rng.standard_normal((num_trainings, 1))
    return mean + luck + hard + rest * rng.standard_normal((num_trainings, len(hard)))


@pytest.mark.parametrize("spreads", SPREADS)
@pytest.mark.parametrize("num_trainings", [2, 3])
def test_intervals_hold_the_mean_as_often_as_they_say(spreads, num_trainings):
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(REPEATS):
        found = mean_over_trainings(simulated(rng, num_trainings, spreads, spreads[1] * rng.standard_normal(40)))
        missed += abs(found.value - 2) > found.half_interval
    # with two trainings, Satterthwaite's freedom is itself estimated from one difference
    assert missed / REPEATS <= 0.05 + BINOMIAL + 0.02 * (num_trainings == 2)


@pytest.mark.parametrize("spreads", SPREADS)
@pytest.mark.parametrize("nums", [(2, 2), (3, 5)])
def test_equal_models_are_called_better_no_more_often_than_the_level_says(spreads, nums):
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(REPEATS):
        hard = spreads[1] * rng.standard_normal(40)
        ours, theirs = (simulated(rng, num, spreads, hard) for num in nums)
        found += difference_over_trainings(ours, theirs).sign != 0
    assert found / REPEATS <= 0.05 + BINOMIAL + 0.02 * (nums == (2, 2))


def test_one_training_of_each_finds_differences_that_are_luck():
    """What several trainings are for: the error over examples alone says nothing of a second training."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(REPEATS):
        hard = rng.standard_normal(400)
        ours, theirs = (simulated(rng, 1, (0.05, 1.0, 0.1), hard) for _ in range(2))
        found = difference_over_trainings(ours, theirs)
        assert found.num_trainings == 1
        wrong += found.sign != 0
    assert wrong / REPEATS > 0.5


def test_a_difference_is_found_and_pairs_take_out_what_is_hard_for_both():
    rng = np.random.default_rng(3)
    hard = 3 * rng.standard_normal(400)
    ours, theirs = (simulated(rng, 3, (0.01, 3.0, 0.1), hard, mean) for mean in (2.0, 2.2))
    found = difference_over_trainings(ours, theirs)
    assert found.sign == -1
    assert found.value == pytest.approx(-0.2, abs=0.05)
    assert found.error < 0.1 * mean_over_trainings(ours).error


@pytest.mark.parametrize("training", [0.0, 0.3])
def test_figures_of_equal_models_are_told_apart_no_more_often_than_the_level_says(training):
    """Each training's figure errs on its own, and all by the same references."""
    rng = np.random.default_rng(4)
    found = missed = 0
    for _ in range(REPEATS):
        references = 0.1 * rng.standard_normal()
        models = [
            [Measured(1 + references + each, 0.2**0.5 / 2) for each in rng.normal(0, np.hypot(training, 0.2), 3)]
            for _ in range(2)
        ]
        found += difference_of_figures(*models).sign != 0
        mean = figure_over_trainings(models[0])
        missed += abs(mean.value - 1) > mean.half_interval
    assert max(found, missed) / REPEATS <= 0.05 + BINOMIAL


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="the same ones"):
        difference_over_trainings(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(InputError, match="no figures"):
        mean_over_trainings(np.zeros((0, 3)))
