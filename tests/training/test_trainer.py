"""The trainer's pieces as functions of the step."""

import math

import pytest
import torch
from training.runs import tiny_config

from lowerbound.training import training as module
from lowerbound.training.config import TrainingConfig
from lowerbound.training.trainer import Trainer, learning_rate, without_condition


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


def test_a_short_run_warms_up_in_a_tenth_of_it():
    training = TrainingConfig(steps=50, learning_rate=1.0, warmup_steps=100)
    assert learning_rate(training, 0, 0.0) == pytest.approx(0.01)
    assert learning_rate(training, 2, 0.05) == pytest.approx(0.5)
    assert learning_rate(training, 5, 0.1) == 1


class Clock:
    """A clock that moves when it is told to, and a tick each time that it is read."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def perf_counter(self):
        self.now += self.tick
        return self.now


def test_what_is_done_between_two_steps_moves_no_learning_rate(monkeypatch):
    """A measurement of a minute in a run of two: the rate still falls to zero by the steps."""
    config, dataset = tiny_config(steps=None, minutes=2.0, decay_from=0.0)
    clock = Clock(tick=2.71)  # 40 steps of it are nine tenths of two minutes
    monkeypatch.setattr(module, "time", clock)
    rates = []
    for record in Trainer(config, dataset).records():
        rates.append(record.learning_rate)
        clock.now += 60.0 if record.step == 30 else 0.0
    assert len(rates) == 40
    assert rates[-1] < 0.01 * max(rates)
