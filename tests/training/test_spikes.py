"""Levels that are far more frequent than those around them, what an entry's neighbours leave open of it, and whether entries
are equal along rows and columns are found, and known to the network."""

import dataclasses
import math
from statistics import NormalDist

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
from lowerbound.nn.agreement import LineFeatures, SpikeFeatures
from lowerbound.training.build import build_denoiser, build_model, build_network
from lowerbound.training.config import CoarseConfig, DenoiserConfig
from lowerbound.training.histograms import fit_histograms
from lowerbound.training.reasons import reasons
from lowerbound.training.recipes import (
    LEAST_SPREAD,
    TABLES_OF_ODDS,
    recipe,
    repeat_along_lines,
    some_levels,
    spikes,
    spread,
)
from lowerbound.training.trainer import Trainer


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
    assert spikes(some_levels(images(tmp_path, values, num_levels)), num_levels) == (0, 100, num_levels - 1)


@pytest.mark.parametrize("num_levels", [256, 65_536])
def test_levels_that_are_as_frequent_as_those_around_them_are_none(tmp_path, num_levels):
    generator = np.random.default_rng(0)
    smooth = np.round((num_levels - 1) * generator.beta(2, 3, (500, 8, 8)))
    even = generator.integers(0, num_levels, (500, 8, 8))
    for values in (smooth, even):
        values[0, 0, :2] = 0, num_levels - 1
        assert spikes(some_levels(images(tmp_path, values, num_levels)), num_levels) == ()


def walks(sigma, shape=(500, 40, 1)):
    """Images whose columns are walks of independent normal steps."""
    steps = np.random.default_rng(0).normal(0, sigma, shape)
    return np.round(128 + steps.cumsum(1)).clip(0, 255)


@pytest.mark.parametrize("sigma", [4.0, 9.0])
def test_the_spread_of_a_walk_is_that_of_an_entry_between_its_neighbours(tmp_path, sigma):
    """(x_1 + x_3) / 2 leaves half of a step's variance open."""
    found = spread(some_levels(images(tmp_path, walks(sigma), 256)))
    assert found == pytest.approx(sigma / math.sqrt(2), rel=0.1)


def test_the_spread_of_independent_entries_is_their_own(tmp_path):
    values = np.random.default_rng(0).normal(128, 20, (500, 8, 8)).round().clip(0, 255)
    assert spread(some_levels(images(tmp_path, values, 256))) == pytest.approx(20, rel=0.05)


def test_the_spread_of_a_background_does_not_count(tmp_path):
    """Nine in ten rows are empty: without knowing of it, half of all differences would be zero."""
    values = np.random.default_rng(0).normal(128, 20, (500, 20, 8)).round().clip(1, 255)
    values[:, 2:] = 0
    levels = some_levels(images(tmp_path, values, 256))
    assert spread(levels) == LEAST_SPREAD
    # of 30 differences 8 are to the background, so that the median of all is where 15 of the other 22 are smaller
    sigma = 20 * math.sqrt(2)
    assert spread(levels, (0,)) == pytest.approx(
        1.48 / math.sqrt(2) * sigma * NormalDist().inv_cdf(0.5 + 15 / 44), rel=0.05
    )


def test_nothing_beside_anything_has_no_spread(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (500, 1, 1))
    assert spread(some_levels(images(tmp_path, values, 256))) is None


def drawings(shape=(500, 28, 20)):
    """Images each of whose rows has one grey, or the background."""
    generator = np.random.default_rng(0)
    greys = generator.integers(1, 256, (*shape[:2], 1))
    return np.where(generator.random(shape) < 0.3, greys, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_greys_of_drawings_repeat_along_rows_or_columns(tmp_path, turned):
    values = drawings()
    levels = some_levels(images(tmp_path, values.swapaxes(1, 2) if turned else values, 256))
    assert repeat_along_lines(levels, (0,))


@pytest.mark.parametrize(
    "values",
    [walks(9.0), walks(2.0), np.random.default_rng(0).integers(0, 256, (500, 9, 8))],
    ids=["walk", "walk of small steps", "independent"],
)
def test_those_of_what_is_smooth_or_independent_do_not(tmp_path, values):
    assert not repeat_along_lines(some_levels(images(tmp_path, values, 256)))


def test_a_background_does_not_count_as_repeated(tmp_path):
    values = np.random.default_rng(0).integers(1, 256, (500, 28, 20))
    values[:, ::2] = 0
    assert not repeat_along_lines(some_levels(images(tmp_path, values, 256)), (0,))


def test_the_recipe_compares_entries_along_lines_that_repeat_and_are_not_long(tmp_path):
    config = recipe(images(tmp_path, drawings(), 256))
    assert config.network.lines
    shown = "1 frequent level apart, entries compared along each axis and odds of the levels that an example's kind has"
    assert f"with {shown} for noise" in reasons(config)[0]
    assert not recipe(images(tmp_path, drawings((500, 65, 20)), 256)).network.lines
    assert not recipe(images(tmp_path, walks(9.0), 256)).network.lines


def test_where_entries_repeat_the_recipe_gives_levels_odds_of_a_whole_example(tmp_path):
    config = recipe(images(tmp_path, drawings((500, 65, 20)), 256))
    assert config.network.values
    assert config.denoiser.odds == TABLES_OF_ODDS
    walking = recipe(images(tmp_path, walks(9.0), 256))
    assert (walking.network.values, walking.denoiser.odds) == (False, 0)


def test_the_autoregressive_model_of_such_images_has_odds_of_what_came_before(tmp_path):
    config = recipe(images(tmp_path, drawings(), 256), model="autoregressive")
    assert config.model.odds == TABLES_OF_ODDS
    assert "levels with odds by how often they came before" in reasons(config)[0]
    too_many = drawings((500, 66, 66))
    outlines = drawings() > 0
    for values, num_levels in ((walks(9.0, (500, 20, 8)), 256), (drawings(), 65_536), (too_many, 256), (outlines, 256)):
        other = recipe(images(tmp_path, values, num_levels), model="autoregressive")
        assert (other.model.odds, other.model.decoder) == (None, "discretized-logistic")
        assert "odds" not in reasons(other)[0]


def test_lines_are_compared_in_the_scaling_of_the_denoiser():
    config, dataset = tiny_config("digits")
    config = dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, lines=True),
        denoiser=dataclasses.replace(config.denoiser, sigma_data=0.3),
    )
    assert "with entries compared along each axis" in reasons(config)[0]
    (lines,) = (piece for piece in build_denoiser(config, dataset.spec).modules() if isinstance(piece, LineFeatures))
    assert (lines.num_dims, lines.sigma_data) == (2, 0.3)


def test_the_recipe_tells_the_network_of_the_spread(tmp_path):
    config = recipe(images(tmp_path, walks(9.0), 256))
    assert config.denoiser.spread == pytest.approx(9 / math.sqrt(2), rel=0.1)
    denoiser = build_denoiser(config, open_dataset(str(tmp_path / "images.npz")).spec)
    assert [piece.spread for piece in denoiser.modules() if isinstance(piece, LevelDenoiser)] == [
        config.denoiser.spread
    ]


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


def test_gradients_reach_the_odds_of_levels_at_once_and_are_finite_at_every_noise():
    config, dataset = tiny_config("digits")
    config = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, odds=2))
    denoiser = build_denoiser(config, dataset.spec)
    x = dataset.encoded(dataset.some("train", 40))
    t = torch.linspace(0, 1, 40)
    alpha, sigma = (coefficient.view(-1, 1, 1, 1) for coefficient in denoiser.schedule(t))
    denoiser(alpha * x + sigma * torch.randn(x.shape), t).eps.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in denoiser.parameters() if parameter.grad is not None)
    assert denoiser.odds.by_kind.weight.grad.abs().max() > 0


@pytest.mark.parametrize("split", [None, -3.0])
def test_kinds_are_found_before_the_first_step(split):
    """And are in the average of the weights too."""
    config, dataset = tiny_config("digits")
    config = dataclasses.replace(
        config,
        denoiser=dataclasses.replace(config.denoiser, odds=2, kinds=5),
        coarse=CoarseConfig() if split is None else CoarseConfig(split=split, width=8, multipliers=(1,)),
    )
    trainer = Trainer(config, dataset)
    trainer.fit_below()
    assert trainer.seconds > 0
    expected = fit_histograms(dataset, 5)
    assert len(expected.weights) == 5
    for _ in range(2):
        torch.testing.assert_close(trainer.histograms.weights, expected.weights)
        torch.testing.assert_close(trainer.histograms.chances, expected.chances)
        trainer.average.swap()


def test_odds_are_told_of_and_refused_elsewhere():
    config, dataset = tiny_config("digits")
    with_odds = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, odds=2))
    assert "odds of the levels that an example's kind has" in reasons(with_odds)[0]
    for settings, message in (
        ({"odds": -1}, "--denoiser.odds is -1: give 0 or more"),
        ({"odds": 1, "target": "v"}, "--denoiser.odds has no effect on targets other than"),
        ({"odds": 1, "kinds": 0}, "--denoiser.kinds is 0: give 1 or more"),
        ({"kinds": 3}, "--denoiser.kinds has no effect without --denoiser.odds"),
    ):
        refused = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, **settings))
        with pytest.raises(InputError, match=message):
            build_denoiser(refused, dataset.spec)
