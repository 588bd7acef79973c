"""A coarse network stands upon a mixture of principal components, fitted before its first step."""

import dataclasses

import numpy as np
import pytest
import torch
from training.runs import whole_and_stopped

import lowerbound as lb
from lowerbound.data.dataset import assemble
from lowerbound.denoiser import SubspaceDenoiser
from lowerbound.errors import InputError
from lowerbound.training import recipe
from lowerbound.training.config import CoarseConfig, Config, DataConfig, NetworkConfig, ScheduleConfig, TrainingConfig
from lowerbound.training.recipes import COARSE_COMPONENTS, FEW_EXAMPLES, FURTHER_AXES
from lowerbound.training.subspaces import fit_subspace
from lowerbound.training.trainer import Trainer


def two_kinds(num=1600) -> np.ndarray:
    """Images of 8 x 8 that are one of two blobs of varying strength, under little noise."""
    rng = np.random.default_rng(0)
    places = np.arange(8) - 3.5
    bump = np.exp(-(places**2) / 4)
    blobs = np.stack([np.outer(np.roll(bump, -2), bump), np.outer(np.roll(bump, 2), bump)])
    strength = rng.uniform(0.5, 1.0, (num, 1, 1))
    return (230 * strength * blobs[rng.integers(0, 2, num)] + rng.normal(0, 4, (num, 8, 8)).clip(-8, 8) + 10).round()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A small configuration of two networks, and its data."""
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, two_kinds().astype(np.uint8))
    data = DataConfig(str(path))
    config = Config(
        data,
        schedule=ScheduleConfig("linear-gamma", gamma_min=-13.3, gamma_max=8.0),
        network=NetworkConfig("unet", width=4, multipliers=(1,), blocks_per_level=1, attention_levels=0),
        coarse=CoarseConfig(
            split=-3.0, width=4, multipliers=(1,), attention_levels=0, components=4, axes=6, further_axes=8
        ),
        training=TrainingConfig(steps=8, batch_size=8, objective="balanced", warmup_steps=2, num_pictures=0),
    )
    return config, lb.open_dataset(data)


def test_it_denoises_far_better_than_gaussians_of_single_entries(prepared):
    config, dataset = prepared
    trainer = Trainer(config, dataset)
    trainer.fit_below()
    assert trainer.seconds > 0
    train, x, noise = dataset.encoded(dataset.train), dataset.encoded(dataset.test), np.exp(1.0)
    level = trainer.model.trained.schedule.level_at(1.0)
    y = x + noise**0.5 * lb.Stream(1).normal(x)
    apart = train.mean(0) + train.var(0) / (train.var(0) + noise) * (y - train.mean(0))
    with torch.no_grad():
        found, whole = trainer.subspace.x(level.alpha * y, level), trainer.model.trained(level.alpha * y, level).x
    assert (found - x).square().mean() < 0.4 * (apart - x).square().mean()
    # the network is silent
    torch.testing.assert_close(whole, torch.sigmoid(torch.tensor(1.0)) * found)


def test_components_are_found(prepared):
    """The two blobs are two groups of components along the first axes, and what is left is the noise."""
    _, dataset = prepared
    found = fit_subspace(dataset, 6, 2, 0, 0)
    torch.testing.assert_close(found.axes.T @ found.axes, torch.eye(6).double(), rtol=0, atol=1e-5)
    assert found.weights.tolist() == pytest.approx([0.5, 0.5], abs=0.07)
    separation = (found.means[0] - found.means[1]).square().sum().sqrt()
    assert separation > 4 * found.covariances.diagonal(dim1=1, dim2=2).sum(1).sqrt().max()
    # of a normal distribution cut at two standard deviations, in the model's units
    assert found.rest == pytest.approx(0.92 * (4 / 127.5) ** 2, rel=0.1)
    assert len(fit_subspace(dataset, 6, 64, 0, 0).weights) == len(dataset.train) // 500


def test_further_axes_have_their_variances(prepared):
    """The data's along each of them, as many as there are."""
    _, dataset = prepared
    x = dataset.encoded(dataset.train).flatten(1).double()
    for asked, num in ((5, 5), (1000, 61)):
        found = fit_subspace(dataset, 3, 2, asked, 0)
        assert found.axes.shape == (64, 3 + num)
        assert found.means.shape[1] == 3
        torch.testing.assert_close(found.variances, (x @ found.axes[:, 3:]).var(0), rtol=1e-3, atol=0)


def test_a_run_keeps_it_and_goes_on_upon_it(prepared, tmp_path, monkeypatch):
    config, dataset = prepared
    runs = whole_and_stopped(config, dataset, tmp_path, monkeypatch)
    whole, stopped = (dict(run.model.trained.named_parameters()) for run in runs)
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert isinstance(runs[0].denoiser.coarse, SubspaceDenoiser)
    expected = fit_subspace(dataset, 6, 4, 8, config.training.seed)
    torch.testing.assert_close(runs[0].denoiser.coarse.subspace.axes.detach(), expected.axes)
    assert np.isfinite(lb.score(runs[0], dataset.examples[:4], lb.Effort(4)).bits_per_dim).all()
    assert lb.generate(runs[0], 2).shape == (2, 1, 8, 8)


def test_the_recipe_has_it_where_examples_are_many(monkeypatch):
    def advised(num, size=17, minutes=10.0):
        images = np.random.default_rng(0).integers(0, 256, (num, 1, size), np.uint8)
        return recipe(assemble("signals", images, layout="NCL", num_levels=256), minutes=minutes).coarse

    many = int(1.3 * FEW_EXAMPLES)
    assert advised(many).components == advised(many, minutes=4.0).components == COARSE_COMPONENTS
    assert advised(many, minutes=1.0).components < COARSE_COMPONENTS
    assert advised(many, minutes=1e-3).components == 1
    assert advised(FEW_EXAMPLES).components == 0
    assert advised(many).further_axes == FURTHER_AXES
    for most, num in ((17 * 100, 100 - CoarseConfig.axes), (17, 0)):
        monkeypatch.setattr("lowerbound.training.recipes.MOST_OF_AXES", most)
        assert advised(many).further_axes == num
    monkeypatch.setattr("lowerbound.training.recipes.WIDEST_SUBSPACE", 16)
    assert advised(many).components == 0


def test_what_does_not_go_with_it_is_refused(prepared):
    config, dataset = prepared

    def changed(**settings):
        return dataclasses.replace(config, coarse=dataclasses.replace(config.coarse, **settings))

    with pytest.raises(InputError, match=r"--coarse\.target v has no effect on a network that stands upon"):
        Trainer(changed(target="v"), dataset)
    few = dataclasses.replace(dataset, train=dataset.train[:5])
    with pytest.raises(InputError, match=r"--coarse\.axes is 6, .* in 5 training examples: give no more than that"):
        Trainer(config, few)
    for settings in ({"components": -1}, {"axes": 0}, {"further_axes": -1}):
        with pytest.raises(InputError, match=r"give 0 components or more, 1 axis or more, and 0 further ones or more"):
            changed(**settings)
