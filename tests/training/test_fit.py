"""A recipe that is made smaller until its steps fit, on machines whose speed is invented."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from training.runs import made, tiny_config

from lowerbound.data import open_dataset
from lowerbound.training import fit, recipe
from lowerbound.training.config import DataConfig
from lowerbound.training.cost import StepCost
from lowerbound.training.fit import ENOUGH_STEPS, fitted
from lowerbound.training.trainer import TRAINING_SHARE, Trainer

FAST, SLOW = StepCost({1: 0.0}, 0.0), StepCost({1: math.inf}, 0.0)


def machine(monkeypatch, seconds_per_unit):
    """A step costs in proportion to its batch and the square of its width."""

    def cost(config, dataset, device):
        return StepCost({1: config.network.width**2 * seconds_per_unit}, 0.0)

    monkeypatch.setattr(fit, "_cost", cost)


WIDTH_FOR_FEW = {8: 8, 16: 24, 24: 32, 32: 40}
"""Widths a third larger, as near to it as a multiple of eight comes."""


def for_few(config):
    """The configuration as few images have it that are seen very often, and no wider or deeper for another reason."""
    coarse = config.coarse
    if coarse.split is not None:
        coarse = dataclasses.replace(coarse, width=WIDTH_FOR_FEW[coarse.width])
    return dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, width=WIDTH_FOR_FEW[config.network.width]),
        coarse=coarse,
        training=dataclasses.replace(config.training, augment=fit.MOSTLY_CHANGED),
    )


@pytest.mark.parametrize("source", ["digits", "moons"])
def test_steps_fit_on_machines_of_every_speed(source, monkeypatch):
    dataset = open_dataset(source)
    advised = recipe(dataset, DataConfig(source), minutes=3.0)
    cost = advised.training.batch_size * advised.network.width**2
    allowed = 180 * TRAINING_SHARE / ENOUGH_STEPS
    sizes = []
    for slowness in (0.5, 1.5, 3.0, 10.0):
        machine(monkeypatch, slowness * allowed / cost)
        found = fitted(advised, dataset)
        size = found.training.batch_size * found.network.width**2
        assert size * slowness <= cost
        sizes.append(size)
        if slowness < 1:
            assert found == advised
    assert sizes == sorted(sizes, reverse=True)
    machine(monkeypatch, 1e9)
    smallest = fitted(advised, dataset)
    assert smallest.training.batch_size < 2 * fit.SMALLEST_BATCH
    assert smallest.network.width < 2 * fit.SMALLEST_WIDTH


def test_a_run_of_given_steps_stays_as_it_is(monkeypatch):
    config, dataset = tiny_config()
    machine(monkeypatch, 1e9)
    assert fitted(config, dataset) == config


def test_it_measures_real_steps():
    config, dataset = tiny_config(steps=None, minutes=1000.0)
    assert fitted(config, dataset) == for_few(config)
    hurried = dataclasses.replace(config, training=dataclasses.replace(config.training, minutes=1e-6))
    found = fitted(hurried, dataset)
    assert found.training.batch_size == fit.SMALLEST_BATCH
    assert Trainer(found, dataset).gradient()[0] > 0


def test_a_relative_keeps_its_own_width(monkeypatch):
    dataset = open_dataset("digits")
    monkeypatch.setattr(fit, "_cost", lambda *_: SLOW)
    advised = recipe(dataset, DataConfig("digits"), minutes=1.0, model="vae")
    found = fitted(advised, dataset)
    assert found == dataclasses.replace(
        advised, training=dataclasses.replace(advised.training, batch_size=fit.SMALLEST_BATCH)
    )


@pytest.mark.parametrize(("has_units", "precision"), [(True, "bf16"), (False, "float32")])
def test_images_have_a_larger_network_on_a_gpu(has_units, precision, monkeypatch):
    monkeypatch.setattr(fit, "can_bfloat16", lambda: has_units)
    monkeypatch.setattr(fit, "_cost", lambda *_: FAST)
    dataset, points = open_dataset("digits"), open_dataset("moons")
    monkeypatch.setattr(fit, "FEW_EXAMPLES", len(dataset.train))
    advised = recipe(dataset, minutes=10.0)
    found = fitted(advised, dataset, "cuda")
    assert found.network.width == 4 * advised.network.width
    assert found.training == dataclasses.replace(advised.training, batch_size=8 * 128, precision=precision)
    assert fitted(advised, dataset, "cpu") == advised
    vectors = recipe(points, minutes=10.0)
    assert fitted(vectors, points, "cuda") == vectors


@pytest.mark.parametrize("wide", [0.9, 1.1])
def test_a_long_run_has_wider_networks_where_two_share_the_noise(wide, monkeypatch):
    """And a coarse one deeper by a block, where many steps of them fit: 1.1 times as many minutes as they take, not 0.9."""
    dataset = made((1, 20, 20), 256)
    monkeypatch.setattr(fit, "FEW_EXAMPLES", len(dataset.train))
    advised = recipe(dataset, minutes=60.0)
    assert (advised.network.width, advised.coarse.width) == (16, 32)
    machine(monkeypatch, wide * 3600 * TRAINING_SHARE / fit.LONG_STEPS / advised.training.batch_size / 24**2)
    found = fitted(advised, dataset)
    coarse = advised.coarse.blocks_per_level
    sizes = found.network.width, found.coarse.width, found.coarse.blocks_per_level
    assert sizes == ((24, 48, coarse + 1) if wide < 1 else (16, 32, coarse))
    assert found.training == advised.training
    monkeypatch.setattr(fit, "FEW_EXAMPLES", len(dataset.train) + 1)
    assert fitted(advised, dataset) == for_few(advised)


def test_a_slow_gpu_has_the_recipe_as_it_is(monkeypatch):
    dataset = open_dataset("digits")
    advised = recipe(dataset, minutes=10.0)
    monkeypatch.setattr(fit, "can_bfloat16", lambda: True)
    monkeypatch.setattr(fit, "FEW_EXAMPLES", 1)
    monkeypatch.setattr(fit, "_cost", lambda config, *_: FAST if config == advised else SLOW)
    assert fitted(advised, dataset, "cuda") == advised
    monkeypatch.setattr(fit, "FEW_EXAMPLES", 10**6)
    monkeypatch.setattr(fit, "_cost", lambda *_: FAST)
    assert fitted(advised, dataset, "cuda") == for_few(advised)


@pytest.mark.parametrize(("source", "model"), [("digits", "diffusion"), ("digits", "vae"), ("moons", "diffusion")])
def test_few_images_that_are_seen_often_are_changed(source, model, monkeypatch):
    """Most of them for a wider network that sees them very often, half of them for one that sees them often."""
    dataset = open_dataset(source)
    advised = recipe(dataset, minutes=10.0, model=model)
    passes = 600 * TRAINING_SHARE / len(dataset.train)
    can_change = (source, model) == ("digits", "diffusion")
    wider = WIDTH_FOR_FEW[advised.network.width] if can_change else None
    for num_passes, share, width in (
        (0.9 * fit.MANY_PASSES, 0.0, None),
        (1.1 * fit.MANY_PASSES, fit.CHANGED, None),
        (0.9 * fit.VERY_MANY_PASSES, fit.CHANGED, None),
        (1.1 * fit.VERY_MANY_PASSES, fit.MOSTLY_CHANGED, wider),
    ):
        monkeypatch.setattr(fit, "_cost", lambda *_, seconds=passes / num_passes: StepCost({1: seconds}, 0.0))
        found = fitted(advised, dataset)
        assert found.training.augment == (share if can_change else 0.0)
        assert found.network.width == (width or advised.network.width)
    monkeypatch.setattr(fit, "FEW_EXAMPLES", len(dataset.train))
    assert fitted(advised, dataset).training.augment == 0.0


def test_a_step_without_memory_for_it_is_none(monkeypatch):
    dataset = open_dataset("digits")
    advised = recipe(dataset, minutes=10.0)

    def step_cost(trainer):
        if trainer.config != advised:
            raise torch.OutOfMemoryError
        return FAST

    monkeypatch.setattr(fit, "step_cost", step_cost)
    monkeypatch.setattr(fit, "can_bfloat16", lambda: True)
    monkeypatch.setattr(fit, "FEW_EXAMPLES", 1)
    monkeypatch.setattr(fit, "Trainer", lambda config, *_: SimpleNamespace(config=config))
    assert fitted(advised, dataset, "cuda") == advised
