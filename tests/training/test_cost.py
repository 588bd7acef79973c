"""What a step costs, told by few examples, on processors whose speed is invented."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from training.runs import tiny_config

from lowerbound.data import open_dataset
from lowerbound.models import RELATIVES
from lowerbound.training import cost, recipe
from lowerbound.training.cost import FEWEST, LONG_STEP, StepCost, step_cost
from lowerbound.training.trainer import Trainer


class Machine(Trainer):
    """A clock that only the steps of an invented trainer move; what its batches were is kept."""

    def __init__(self, fixed, per_example, optimizer=0.0, set_up=0.0, device="cpu", batch_size=32):
        self.now, self.batches, self.left = 0.0, [], set_up
        self.fixed, self.per_example, self.moving = fixed, per_example, optimizer
        self.training = dataclasses.replace(tiny_config()[0].training, batch_size=batch_size)
        self.device = torch.device(device)
        self.optimizer = SimpleNamespace(step=self.move)

    def gradient(self):
        self.batches.append(self.training.batch_size)
        self.now += self.left + self.fixed + self.per_example * self.training.batch_size
        self.left = 0.0
        return 0.0, 0.0

    def move(self, rate):
        assert rate == 0.0
        self.now += self.moving


@pytest.fixture
def measured(monkeypatch):
    def of(machine):
        monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: machine.now))
        monkeypatch.setattr(cost, "finish", lambda device: None)
        return step_cost(machine)

    return of


def test_small_examples_are_measured_in_whole_batches(measured):
    machine = Machine(fixed=0.004, per_example=0.001, optimizer=0.002, set_up=0.5)
    found = measured(machine)
    assert machine.batches == [2, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32]
    for size in (2, 4, 8, 16, 32):
        assert found.of(size) == pytest.approx(0.006 + 0.001 * size)


@pytest.mark.parametrize(
    ("per_example", "batches"), [(0.3, [2, 2, 2]), (0.1, [2, 2, 2, 4, 4, 4, 8, 8, 8]), (0.6, [2, 2]), (90.0, [2])]
)
def test_large_examples_are_counted_on_few(per_example, batches, measured):
    machine = Machine(fixed=0.0, per_example=per_example, optimizer=0.3)
    found = measured(machine)
    assert machine.batches == batches
    assert found.of(32) == pytest.approx(0.3 + 32 * per_example)
    # the time and memory of many are never taken
    assert max(machine.batches) * per_example < max(2 * LONG_STEP, FEWEST * per_example + 1e-9)


def test_the_time_of_setting_up_does_not_count(measured):
    assert measured(Machine(fixed=0.1, per_example=0.01, set_up=1.5)).of(32) == pytest.approx(0.42)


def test_an_accelerator_has_the_whole_batch_at_once(measured):
    machine = Machine(fixed=0.02, per_example=0.0, device="cuda", batch_size=256)
    found = measured(machine)
    assert set(machine.batches) == {256}
    assert found.of(256) == pytest.approx(0.02)


@pytest.mark.parametrize(("whole", "sizes"), [(1, [1]), (2, [2]), (3, [3]), (5, [2, 5]), (24, [3, 6, 12, 24])])
def test_every_batch_is_come_to(whole, sizes, measured):
    machine = Machine(fixed=0.0, per_example=0.001, batch_size=whole)
    assert list(measured(machine).gradients) == sizes


def test_between_two_sizes_the_larger_counts():
    known = StepCost({2: 0.2, 8: 0.5}, 0.1)
    assert [known.of(size) for size in (1, 2, 5, 8, 16)] == pytest.approx([0.3, 0.3, 0.6, 0.6, 1.1])


@pytest.mark.parametrize("model", ["diffusion", "score", "energy", *RELATIVES])
def test_every_model_takes_steps_of_few_examples(model):
    dataset = open_dataset("digits")
    config = recipe(dataset, minutes=1.0, model=model)
    network = dataclasses.replace(config.network, width=8) if config.model.is_denoiser else config.network
    training = dataclasses.replace(config.training, batch_size=FEWEST)
    found = step_cost(Trainer(dataclasses.replace(config, network=network, training=training), dataset))
    assert 0 < found.of(FEWEST) < float("inf")
