"""Mirrored examples: half of those of each step, by seed, step and place alone, and none that are held out."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from training.runs import tiny_config, train_until

from lowerbound.denoiser.exact import GaussianMixture
from lowerbound.errors import InputError
from lowerbound.schedule import LinearGamma
from lowerbound.training import train
from lowerbound.training.trainer import Trainer, mirrored


def test_the_chosen_are_mirrored_left_to_right():
    x = torch.arange(2 * 1 * 2 * 3.0).reshape(2, 1, 2, 3)
    y = mirrored(x, torch.tensor([True, False]))
    assert y[0].tolist() == [[[2, 1, 0], [5, 4, 3]]]
    assert torch.equal(y[1], x[1])


def seen(trainer, num_steps, monkeypatch):
    """What the model is shown in each step."""
    batches, loss = [], type(trainer.model).loss

    def noted(model, x, draw):
        batches.append(x.clone())
        return loss(model, x, draw)

    with monkeypatch.context() as patch:
        patch.setattr(type(trainer.model), "loss", noted)
        for _, _ in zip(range(num_steps), trainer.records(), strict=False):
            pass
    return torch.cat(batches)


def test_half_of_the_examples_are_mirrored(monkeypatch):
    config, dataset = tiny_config(steps=40)
    plain = seen(Trainer(config, dataset), 40, monkeypatch)
    config = replace(config, training=replace(config.training, flip=True))
    flipped = seen(Trainer(config, dataset), 40, monkeypatch)
    same, other = (flipped == plain).all((1, 2, 3)), (flipped == plain.flip(3)).all((1, 2, 3))
    assert (same | other).all()
    assert abs(other.double().mean() - 0.5) < 4 * (0.25 / len(other)) ** 0.5
    pieces = replace(config, training=replace(config.training, micro_batch_size=3))
    assert torch.equal(seen(Trainer(pieces, dataset), 10, monkeypatch), flipped[: 10 * config.training.batch_size])


def test_a_resumed_run_is_the_unbroken_one(tmp_path, monkeypatch):
    config, dataset = tiny_config(flip=True)
    train(config, dataset, tmp_path / "whole", say=lambda line: None, show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        train_until(5, config, dataset, tmp_path / "broken", monkeypatch, say=lambda line: None)
    train(config, dataset, tmp_path / "broken", say=lambda line: None, show_progress=False)
    whole, broken = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())


def test_vectors_are_not_mirrored():
    config, dataset = tiny_config("moons", flip=True)
    with pytest.raises(InputError, match=r"--flip has no effect on examples of shape \(2,\)"):
        Trainer(config, dataset)


@pytest.mark.parametrize(("mean", "lost"), [((3.0, -3.0), math.log(2)), ((3.0, 3.0), 0.0)])
def test_the_mixture_with_mirror_images_costs_at_most_log_2(mean, lost):
    """The density of data under what --flip teaches, a mixture of them and their mirror images, in closed form."""
    mean, variance = torch.tensor([mean], dtype=torch.float64), 0.1 * torch.eye(2, dtype=torch.float64)
    means, weights, schedule = (
        torch.cat([mean, mean.flip(1)]),
        torch.ones(2, dtype=torch.float64) / 2,
        LinearGamma(-13.0, 5.0),
    )
    own = GaussianMixture(weights[:1] * 2, mean, variance[None], schedule)
    both = GaussianMixture(weights, means, variance.expand(2, 2, 2), schedule)
    x = mean + 0.1 * torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (own.log_prob(x) - both.log_prob(x) - lost).abs().max() < 1e-9
