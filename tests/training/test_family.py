"""Every model of the family trains in the same way: same folder, same resuming, bits that say what they are."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training.runs import tiny_config, train_until

from lowerbound.data import DataSpec, Levels, open_dataset
from lowerbound.errors import InputError
from lowerbound.langevin import EnergyDenoiser
from lowerbound.models import RELATIVES
from lowerbound.run import Run, open_denoiser, open_run
from lowerbound.run.generate import generate
from lowerbound.scoring import score
from lowerbound.training import Config, recipe, train
from lowerbound.training.build import build_relative
from lowerbound.training.checkpoint import checkpoints, read_checkpoint
from lowerbound.training.config import (
    DataConfig,
    DecoderConfig,
    DenoiserConfig,
    ModelConfig,
    ScheduleConfig,
    TrainingConfig,
)
from lowerbound.training.folder import RunFolder
from lowerbound.training.trainer import Trainer

SMALL = {
    "vae": {"width": 8, "latent_dims": 4},
    "hierarchical-vae": {"width": 8, "latent_dims": 4, "num_latents": 2},
    "ladder-vae": {"width": 8, "latent_dims": 2},
    "autoregressive": {"width": 8, "depth": 1},
    "flow": {"width": 8, "transforms": 2, "depth": 1},
    "gan": {"width": 8, "latent_dims": 4},
}
NAMES = sorted(RELATIVES)


def small(name: str, source: str = "digits", **training):
    """A configuration of a relative whose steps take milliseconds, and its data."""
    if name == "flow":
        pytest.importorskip("zuko")
    dataset = open_dataset(source)
    config = recipe(dataset, DataConfig(source), model=name)
    settings = {"minutes": None, "steps": 6, "batch_size": 8, "num_evaluations": 2, "num_pictures": 1, **training}
    return replace(
        config, model=ModelConfig(name, **SMALL[name]), training=replace(config.training, **settings)
    ), dataset


def quietly(config, dataset, out):
    return train(config, dataset, out, say=lambda line: None, show_progress=False)


@pytest.fixture(scope="module")
def of_digits(tmp_path_factory):
    """A run of a relative on digits, trained once."""
    folder = tmp_path_factory.mktemp("digits")

    def run(name):
        if not (folder / name).exists():
            quietly(*small(name), folder / name)
        return RunFolder(folder / name)

    return run


def test_every_relative_has_a_small_form_here():
    assert set(SMALL) == set(RELATIVES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", ["digits", "points"])
def test_a_relative_trains_scores_and_samples(name, source, of_digits, tmp_path):
    if source == "points":
        source = str(tmp_path / "points.npy")
        np.save(source, np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32))
    config, dataset = small(name, source)
    folder = of_digits(name) if source == "digits" else quietly(config, dataset, tmp_path / "run")
    run = open_run(folder.path)
    assert not run.is_denoiser
    assert run.config == config
    samples = generate(run, 5, seed=1)
    assert samples.shape == (5, *dataset.shape)
    assert samples.dtype == dataset.examples.dtype
    assert np.allclose(generate(run, 5, seed=1, batch_size=2), samples, atol=1e-5)
    records = [record for record in folder.read_log() if "held_out_bits_per_dim" in record]
    raw = dataset.examples[dataset.test[:6]]
    if run.model.likelihood == "none":
        assert not records
        with pytest.raises(InputError, match=r"no likelihood: .*GAN"):
            score(run, raw)
        return
    assert len(records) == 2
    scores = score(run, raw)
    assert scores.kind.startswith(run.model.likelihood)
    total = scores.reconstruction + scores.prior + scores.diffusion + scores.normalisation
    assert abs(total - scores.bits_per_dim).max() < 1e-9
    assert all(math.isfinite(bits) for bits in scores.bits_per_dim)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_relative_equals_an_unbroken_one(name, of_digits, tmp_path, monkeypatch):
    config, dataset = small(name)
    with pytest.raises(KeyboardInterrupt):
        train_until(3, config, dataset, tmp_path / "broken", monkeypatch, say=lambda line: None)
    quietly(config, dataset, tmp_path / "broken")
    ours, theirs = (open_run(path).model.state_dict() for path in (of_digits(name).path, tmp_path / "broken"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_open_run_says_that_a_relative_is_no_denoiser(tmp_path):
    quietly(*small("vae"), tmp_path / "run")
    with pytest.raises(InputError, match="kind vae, which is no denoiser"):
        open_denoiser(tmp_path / "run")


@pytest.mark.parametrize("name", ["score", "energy"])
def test_scores_and_energies_are_runs_of_a_denoiser(name, tmp_path):
    _, dataset = tiny_config()
    tiny, _ = tiny_config()
    advised = recipe(dataset, DataConfig("digits"), model=name)
    config = replace(
        advised, network=tiny.network, training=replace(tiny.training, objective=advised.training.objective)
    )
    quietly(config, dataset, tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert isinstance(run, Run)
    assert isinstance(run.denoiser, EnergyDenoiser) == (name == "energy")


@pytest.mark.parametrize(
    "objective", ["sliced", "explicit", "contrastive-divergence", "persistent-contrastive-divergence"]
)
def test_an_energy_trains_by_every_objective(objective, tmp_path):
    tiny, dataset = tiny_config("moons", objective=objective, steps=4)
    advised = recipe(dataset, DataConfig("moons"), model="energy")
    config = replace(advised, network=tiny.network, training=tiny.training)
    trainer = Trainer(config, dataset)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    losses = [record.loss for record in trainer.records()]
    assert all(math.isfinite(loss) for loss in losses)
    assert any((p != q).any() for p, q in zip(trainer.model.parameters(), before, strict=True))


@pytest.mark.slow
def test_persistent_chains_are_part_of_a_checkpoint(tmp_path):
    tiny, dataset = tiny_config("moons", objective="persistent-contrastive-divergence", steps=4)
    advised = recipe(dataset, DataConfig("moons"), model="energy")
    config = replace(advised, network=tiny.network, training=tiny.training)
    folder = quietly(config, dataset, tmp_path / "run")
    tensors, state = read_checkpoint(checkpoints(folder.checkpoints)[-1])
    kept = tensors["buffers"]["contrastive.states"]
    again = Trainer(config, dataset)
    assert not torch.equal(again.model.contrastive.states, kept)
    again.restore(tensors, state)
    assert torch.equal(again.model.contrastive.states, kept)


def test_sliced_and_explicit_losses_are_the_bound_in_expectation():
    """On the same weights, the mean loss of many examples is that of the objective elbo."""
    means = []
    for objective in ("elbo", "sliced", "explicit"):
        tiny, dataset = tiny_config("moons", objective=objective, steps=1, batch_size=4000, seed=3)
        advised = recipe(dataset, DataConfig("moons"), model="energy")
        # above the smallest noise, where estimates are as noisy as the data's last digit
        schedule = replace(advised.schedule, gamma_min=-2.0)
        config = replace(advised, network=tiny.network, schedule=schedule, training=tiny.training)
        means.append(next(Trainer(config, dataset).records()).loss)
    assert max(means) - min(means) < 0.04 * abs(means[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ModelConfig("vae", r1=1.0)}, "model.r1 has no effect on the model vae, whose settings are"),
        ({"model": ModelConfig("gan", free_bits=1.0)}, "--model.free-bits has no effect on the model gan"),
        ({"model": ModelConfig("vae", decoder="bernoulli")}, "two levels, but the data have 17"),
    ],
)
def test_what_a_relative_does_not_have_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        build_relative(settings["model"], DataSpec("made", (1, 8, 8), Levels(17)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": ScheduleConfig("cosine")}, "--schedule.name has no effect on the model vae"),
        ({"decoder": DecoderConfig("none")}, "decoder.name has no effect on the model vae"),
        ({"training": TrainingConfig(steps=1, objective="simple")}, "an objective of its own"),
        ({"data": DataConfig("digits", conditional=True)}, "takes no condition"),
        ({"model": ModelConfig(width=3)}, "model.width has no effect on the model diffusion"),
    ],
)
def test_what_a_model_ignores_is_refused(settings, message):
    given = {"data": DataConfig("digits"), "training": TrainingConfig(steps=1), "model": ModelConfig("vae"), **settings}
    with pytest.raises(InputError, match=message):
        Config(**given)


def test_an_energy_has_no_target_and_contrastive_divergence_needs_one():
    dataset = open_dataset("moons")
    config = recipe(dataset, DataConfig("moons"), model="energy")
    with pytest.raises(InputError, match="no target but its gradient"):
        Trainer(replace(config, denoiser=DenoiserConfig(target="x")), dataset)
    plain = recipe(dataset, DataConfig("moons"))
    training = replace(plain.training, objective="contrastive-divergence")
    with pytest.raises(InputError, match="needs an energy"):
        Trainer(replace(plain, training=training), dataset)
