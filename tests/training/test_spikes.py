"""Levels that are far more frequent than those around them are found, and known to the network."""

import dataclasses

import numpy as np
import pytest
import torch
from training.runs import tiny_config

from lowerbound.data import open_dataset
from lowerbound.denoiser import NetworkDenoiser
from lowerbound.discrete import LevelDenoiser
from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.nn import Patched, UNet
from lowerbound.nn.embeddings import SpikeFeatures
from lowerbound.training.build import build_denoiser, build_model, build_network
from lowerbound.training.config import DenoiserConfig
from lowerbound.training.reasons import reasons
from lowerbound.training.recipes import recipe, spikes


def images(tmp_path, values, num_levels):
    kind = np.uint8 if num_levels <= 256 else np.uint16
    np.savez(tmp_path / "images.npz", train=values[:400].astype(kind), test=values[400:].astype(kind))
    return open_dataset(str(tmp_path / "images.npz"))


@pytest.mark.parametrize("num_levels", [256, 65_536])
def test_background_saturation_and_few_greys_are_found_and_nothing_else(tmp_path, num_levels):
    generator = np.random.default_rng(0)
    values = generator.integers(0, num_levels, (500, 8, 8))
    place = generator.random(values.shape)
    values[place < 0.4] = 0
    values[place > 0.9] = num_levels - 1
    values[(place > 0.4) & (place < 0.41)] = 100
    values[0, 0, :2] = 0, num_levels - 1
    assert spikes(images(tmp_path, values, num_levels)) == (0, 100, num_levels - 1)


@pytest.mark.parametrize("num_levels", [256, 65_536])
def test_levels_that_are_as_frequent_as_those_around_them_are_none(tmp_path, num_levels):
    generator = np.random.default_rng(0)
    smooth = np.round((num_levels - 1) * generator.beta(2, 3, (500, 8, 8)))
    even = generator.integers(0, num_levels, (500, 8, 8))
    for values in (smooth, even):
        values[0, 0, :2] = 0, num_levels - 1
        assert spikes(images(tmp_path, values, num_levels)) == ()


def test_the_recipe_tells_the_network_of_them(tmp_path):
    """Where there are many levels."""
    assert recipe(open_dataset("digits")).denoiser.spikes == ()
    values = np.random.default_rng(0).integers(0, 256, (500, 8, 8))
    values[:, :3] = 0
    config = recipe(images(tmp_path, values, 256))
    assert config.denoiser.spikes == (0,)
    assert "with 1 frequent level apart" in reasons(config)[0]


def test_the_network_sees_them_and_says_their_odds():
    config, dataset = tiny_config("digits")
    config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, spikes=(0, 16)))
    denoiser = build_denoiser(config, dataset.spec)
    assert isinstance(denoiser, LevelDenoiser)
    assert denoiser.spikes == (0, 16)
    assert isinstance(denoiser.network, UNet)
    assert denoiser.network.spikes is not None
    torch.testing.assert_close(denoiser.network.spikes.centres, level_centres(torch.tensor([0, 16]), 17))


def test_networks_of_other_targets_see_them_too_in_units_of_the_data():
    """As a target that is asked for takes the place of the recipe's: they are not kept without effect."""
    config, dataset = tiny_config("digits")
    config = dataclasses.replace(config, denoiser=DenoiserConfig("v", sigma_data=0.5, spikes=(16,)))
    denoiser = build_denoiser(config, dataset.spec)
    assert isinstance(denoiser, NetworkDenoiser)
    assert isinstance(denoiser.network, UNet)
    seen, features = [], denoiser.network.spikes
    assert features is not None
    features.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.full((1, 1, 8, 8), level_centres(torch.tensor(16), 17).item())
    denoiser(denoiser.schedule.level(0.3).alpha * x, 0.3)  # without noise it is one
    torch.testing.assert_close(seen[0], torch.ones_like(x), rtol=0, atol=1e-4)
    config, dataset = tiny_config("moons")
    config = dataclasses.replace(config, denoiser=DenoiserConfig("eps", spikes=(0,)))
    with pytest.raises(InputError, match="is for discrete data"):
        build_denoiser(config, dataset.spec)


def test_a_spike_that_is_no_level_is_refused():
    config, dataset = tiny_config("digits")
    config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, spikes=(17,)))
    with pytest.raises(InputError, match="give levels from 0 to 16, each once"):
        build_model(config, dataset.spec)


def test_a_u_net_takes_patches_too():
    config, dataset = tiny_config("digits")
    network = build_network(
        dataclasses.replace(config.network, patch=2, pooled=True), dataset.spec, 3, SpikeFeatures((0.0,))
    )
    assert isinstance(network, Patched)
    assert network(torch.zeros(2, 1, 8, 8), torch.zeros(2)).shape == (2, 3, 8, 8)
