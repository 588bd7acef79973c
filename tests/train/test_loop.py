"""The loop's pieces as functions of the step."""

import math

import pytest
import torch

from lowerbound.train.config import TrainingConfig
from lowerbound.train.loop import learning_rate, without_condition


def test_learning_rate_rises_stays_and_falls():
    training = TrainingConfig(steps=100, learning_rate=1.0, warmup_steps=10, decay_from=0.5)
    assert learning_rate(training, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(training, 9, 0.09) == 1
    assert learning_rate(training, 50, 0.5) == 1
    assert learning_rate(training, 75, 0.75) == pytest.approx(0.5)
    assert learning_rate(training, 100, 1.0) == pytest.approx(0, abs=1e-12)
    assert learning_rate(training, 120, 1.2) == pytest.approx(0, abs=1e-12)


def test_left_out_conditions():
    dropped = torch.tensor([True, False])
    assert without_condition(torch.tensor([4, 5]), dropped).tolist() == [-1, 5]
    vectors = without_condition(torch.ones(2, 3), dropped)
    assert vectors[0].isnan().all()
    assert math.isclose(vectors[1].sum().item(), 3)
