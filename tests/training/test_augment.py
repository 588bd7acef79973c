"""Changed examples: what is done to them, how a network is told, and that what is asked later is of examples as they are."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from training.runs import tiny_config, train_until

from lowerbound.data import open_dataset
from lowerbound.errors import InputError
from lowerbound.nn.embeddings import with_changes
from lowerbound.rng import PerSample
from lowerbound.run import open_run
from lowerbound.scoring import score
from lowerbound.training import recipe, train
from lowerbound.training.augment import augmented, num_changes
from lowerbound.training.config import CoarseConfig
from lowerbound.training.trainer import Trainer

SHAPES = [(2, 9), (1, 8, 8), (3, 17, 6), (1, 4, 5, 16)]


def redone(x, changes):
    """One example, (C, *spatial), changed as is told of it, along one axis after the other."""
    spatial = x.shape[1:]
    told = changes.tolist()
    for axis in range(1, x.ndim):
        if told.pop(0):
            x = x.flip(axis)
    if len(spatial) == 2 and spatial[0] == spatial[1] and told.pop(0):
        x = x.transpose(1, 2)
    for axis, size in enumerate(spatial, 1):
        by = round(told.pop(0) * max(1, size // 8))
        x = torch.stack([x.select(axis, min(max(place - by, 0), size - 1)) for place in range(size)], axis)
    assert not told
    return x


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_told_is_what_was_done(shape):
    x = torch.randn(400, *shape, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0] = torch.nan
    changed, changes = augmented(x, 0.8, PerSample(torch.arange(400)))
    assert changes.shape == (400, num_changes(shape))
    for before, after, told in zip(x, changed, changes, strict=True):
        assert torch.equal(redone(before, told).nan_to_num(9), after.nan_to_num(9))
    assert (changes[:, : len(shape) - 1].mean(0) - 0.4).abs().max() < 4 * (0.24 / 400) ** 0.5
    assert set(changes[:, -1].unique().tolist()) == {-1, 0, 1} if shape[-1] < 16 else {-1, -0.5, 0, 0.5, 1}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_many_examples_are_changed_and_the_others_are_as_they_were(share):
    x = torch.randn(2000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    changed, changes = augmented(x, share, PerSample(torch.arange(2000)))
    same = (changes == 0).all(1)
    assert torch.equal((changed == x).flatten(1).all(1), same)
    # of those that are chosen one in 8 x 9 comes out as it was
    expected = share * (1 - 1 / 72)
    assert abs((~same).double().mean() - expected) <= 4 * (expected * (1 - expected) / 2000) ** 0.5


def batches_seen(trainer, num_steps, monkeypatch):
    """What the model is shown and told in each step."""
    seen, told, kind = [], [], type(trainer.model)
    loss, given = kind.loss, kind.given

    def noted(model, x, draw):
        seen.append(x.clone())
        return loss(model, x, draw)

    def bound(model, cond=None, observed=None):
        told.append(cond)
        return given(model, cond, observed)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "loss", noted)
        patch.setattr(kind, "given", bound)
        for _, _ in zip(range(num_steps), trainer.records(), strict=False):
            pass
    return torch.cat(seen), [each for each in told if each is not None]


@pytest.mark.parametrize("conditional", [False, True])
def test_a_training_tells_its_network_of_each_example(conditional, monkeypatch):
    config, dataset = tiny_config(steps=10)
    config = replace(config, data=replace(config.data, conditional=conditional))
    plain, labels = batches_seen(Trainer(config, dataset), 10, monkeypatch)
    config = replace(config, training=replace(config.training, augment=0.5))
    changed, told = batches_seen(Trainer(config, dataset), 10, monkeypatch)
    told = torch.cat(told)
    if conditional:
        assert torch.equal(told[:, 0].long(), torch.cat(labels))
        told = told[:, 1:]
    for before, after, changes in zip(plain, changed, told, strict=True):
        assert torch.equal(redone(before, changes), after)
    assert 0 < (told != 0).any(1).double().mean() < 1


def trained(config, steps=3):
    """A trainer after some steps, with weights that are not those of its beginning."""
    trainer = Trainer(*config)
    for _, _ in zip(range(steps), trainer.records(), strict=False):
        pass
    return trainer


@pytest.mark.parametrize("pieces", [1, 2])
def test_nothing_told_is_nothing_changed(pieces):
    config, dataset = tiny_config(steps=3, augment=0.5)
    if pieces == 2:
        config = replace(config, coarse=CoarseConfig(split=0.0, width=8, multipliers=(1,), blocks_per_level=1))
    denoiser = trained((config, dataset)).model.denoiser.eval()
    x = torch.randn(6, *dataset.shape, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.1, 0.9, 6)
    changes = torch.zeros(6, num_changes(dataset.shape))
    alone = denoiser(x, t).x
    assert torch.equal(denoiser(x, t, changes).x, alone)
    changes[:, 0] = 1
    assert ((denoiser(x, t, changes).x - alone).flatten(1).abs().amax(1) > 0).all()


def test_of_two_networks_each_is_told_of_its_own_examples():
    config, dataset = tiny_config(steps=3, augment=0.5)
    config = replace(config, coarse=CoarseConfig(split=0.0, width=8, multipliers=(1,), blocks_per_level=1))
    denoiser = trained((config, dataset)).model.denoiser.eval()
    x, t = torch.randn(6, *dataset.shape, generator=torch.Generator().manual_seed(0)), torch.linspace(0.1, 0.9, 6)
    changes = torch.rand(6, num_changes(dataset.shape), generator=torch.Generator().manual_seed(1)).round()
    together = denoiser.given(changes)(x, t).x
    apart = [denoiser.given(changes[row : row + 1])(x[row : row + 1], t[row : row + 1]).x for row in range(6)]
    assert (together - torch.cat(apart)).abs().max() < 1e-5


def test_a_condition_may_be_given_with_and_without_changes():
    config, dataset = tiny_config(steps=3, augment=0.5)
    config = replace(config, data=replace(config.data, conditional=True))
    denoiser = trained((config, dataset)).model.denoiser.eval()
    x, t = torch.randn(3, *dataset.shape, generator=torch.Generator().manual_seed(0)), torch.full((3,), 0.5)
    labels, nothing = torch.tensor([-1, 0, 9]), torch.zeros(3, num_changes(dataset.shape))
    assert torch.equal(denoiser(x, t, labels).x, denoiser(x, t, with_changes(labels, nothing)).x)
    vectors = torch.randn(3, 2)
    assert torch.equal(with_changes(vectors, nothing)[:, :2], vectors)


def test_a_resumed_run_is_the_unbroken_one_and_is_scored_as_any(tmp_path, monkeypatch):
    config, dataset = tiny_config(augment=0.5)
    train(config, dataset, tmp_path / "whole", say=lambda line: None, show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        train_until(5, config, dataset, tmp_path / "broken", monkeypatch, say=lambda line: None)
    with pytest.raises(InputError, match=r"other settings \(--augment: 0.5 against 0.0\)"):
        train(replace(config, training=replace(config.training, augment=0.0)), dataset, tmp_path / "broken")
    train(config, dataset, tmp_path / "broken", say=lambda line: None, show_progress=False)
    whole, broken = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())
    scores = score(open_run(tmp_path / "whole"), dataset.examples[dataset.test][:2])
    assert (scores.bits_per_dim < 5).all()


@pytest.mark.parametrize(
    ("source", "model", "message"),
    [
        ("moons", "diffusion", r"examples of shape \(2,\) and layout ND"),
        ("digits", "vae", r"the model vae, which cannot be told"),
        ("digits", "energy", r"the model energy, which cannot be told"),
    ],
)
def test_what_cannot_be_changed_or_told_is_refused(source, model, message):
    dataset = open_dataset(source)
    config = recipe(dataset, model=model)
    config = replace(config, training=replace(config.training, augment=0.5))
    with pytest.raises(InputError, match=f"--augment has no effect on {message}"):
        Trainer(config, dataset)
