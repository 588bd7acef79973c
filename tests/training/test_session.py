"""What a run folder holds, and what is refused."""

import dataclasses
import fcntl
import io
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tqdm import tqdm
from training.runs import tiny_config, tiny_run

from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.training import train
from lowerbound.training.checkpoint import checkpoints, read_checkpoint
from lowerbound.training.config import DenoiserConfig
from lowerbound.training.folder import RunFolder
from lowerbound.training.session import Session
from lowerbound.training.stretch import BAR
from lowerbound.training.trainer import Trainer


def test_run_folder_holds_what_it_should(tmp_path):
    folder = tiny_run(tmp_path / "run with a space é", num_pictures=1)
    assert len(list(folder.samples.glob("*.png"))) == 1
    assert len(checkpoints(folder.checkpoints)) == 2
    values = json.loads(folder.config.read_text())
    assert values["schema_version"] == 2
    assert values["training"]["steps"] == 12
    held_out = [r for r in folder.read_log() if "held_out_bits_per_dim" in r]
    assert [r["step"] for r in held_out] == [4, 8, 12]
    with safe_open(folder.model, "pt") as file:
        assert file.metadata()["weights"] == "averaged"
        best = min(r["held_out_bits_per_dim"] for r in held_out)
        assert float(file.metadata()["held_out_bits_per_dim"]) == best
        assert file.metadata()["num_examples"] == "179", "all held-out digits, which are fewer than would say enough"


def test_model_holds_the_averaged_weights(tmp_path):
    folder = tiny_run(tmp_path / "run", num_evaluations=1)
    tensors, state = read_checkpoint(checkpoints(folder.checkpoints)[-1])
    run = open_run(folder.path)
    assert state["average_count"] == 12
    for name, parameter in run.denoiser.named_parameters():
        assert torch.equal(parameter, tensors["average"][name])
    assert any(not torch.equal(tensors["average"][k], tensors["weights"][k]) for k in tensors["weights"])


def test_training_learns_moons(tmp_path):
    config, dataset = tiny_config("moons", steps=150, batch_size=128, learning_rate=3e-3, num_evaluations=2)
    alone = dataclasses.replace(config, denoiser=dataclasses.replace(config.denoiser, components=0))
    folder = train(alone, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    held_out = [r["held_out_bits_per_dim"] for r in folder.read_log() if "held_out_bits_per_dim" in r]
    assert held_out[-1] < held_out[0] - 0.2


def test_other_settings_are_refused_and_training_settings_may_change(tmp_path):
    config, dataset = tiny_config(steps=2)
    said = []
    train(config, dataset, tmp_path / "run", say=said.append, show_progress=False)
    other = dataclasses.replace(config, denoiser=DenoiserConfig(target="v"))
    with pytest.raises(InputError, match=r"--denoiser.target: levels against v.*--out"):
        train(other, dataset, tmp_path / "run", say=said.append, show_progress=False)
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, optimizer="adamw"))
    with pytest.raises(InputError, match=r"--optimizer: muon against adamw"):
        train(other, dataset, tmp_path / "run", say=said.append, show_progress=False)
    changed = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=4, learning_rate=1e-4))
    train(changed, dataset, tmp_path / "run", say=said.append, show_progress=False)
    assert any("--learning-rate" in line for line in said)


def test_other_data_are_refused(tmp_path):
    config, dataset = tiny_config(steps=2)
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    changed = dataclasses.replace(dataset, examples=16 - dataset.examples)
    with pytest.raises(InputError, match="other data"):
        train(config, changed, tmp_path / "run", say=lambda line: None, show_progress=False)


@pytest.mark.parametrize("changed", ["splits", "labels"])
def test_other_splits_and_labels_are_refused(tmp_path, changed):
    config, dataset = tiny_config(steps=2)
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    taken = dataset.test[:100]
    if changed == "splits":
        other = dataclasses.replace(dataset, train=np.concatenate([dataset.train, taken]), test=dataset.test[100:])
    else:
        other = dataclasses.replace(dataset, labels=np.roll(dataset.labels, 1))
    with pytest.raises(InputError, match="other data"):
        train(config, other, folder.path, say=lambda line: None, show_progress=False)


def test_a_run_of_before_labels_and_splits_were_known_goes_on(tmp_path):
    config, dataset = tiny_config(steps=2)
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    values = json.loads(folder.config.read_text())
    old = dataset._hash_values().hexdigest()[:16]
    longer, _ = tiny_config(steps=3)
    values["data_facts"]["fingerprint"] = old
    folder.config.write_text(json.dumps(values))
    with pytest.warns(UserWarning, match="splits"):
        train(longer, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert folder.read_config()[1].fingerprint == dataset.fingerprint() != old


def test_two_processes_on_one_run(tmp_path):
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            tiny_run(tmp_path / "run")


def test_batch_larger_than_the_data(tmp_path):
    config, dataset = tiny_config(batch_size=2000)
    with pytest.raises(InputError, match="only 1439 training examples"):
        train(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_conditional_run_learns_labels_and_none(tmp_path):
    config, dataset = tiny_config(steps=4)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, conditional=True))
    train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    run = open_run(tmp_path / "run")
    x, t = torch.zeros(2, *run.spec.shape), torch.full((2,), 0.5)
    labels = run.labels(["3", "7"])
    assert labels.tolist() == [3, 7]
    with pytest.raises(InputError, match="no label 'x'"):
        run.labels(["x"])
    null = run.denoiser(x, t, torch.tensor([-1, -1])).x
    assert torch.equal(null, run.denoiser(x, t).x)
    assert not torch.equal(run.denoiser(x, t, labels).x, null)


def test_unlabelled_data_cannot_be_conditional(tmp_path):
    config, dataset = tiny_config("checkerboard")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, conditional=True))
    with pytest.raises(InputError, match="neither labels nor condition vectors"):
        train(config, dataset, tmp_path / "run")


def test_progress_fits_eighty_columns(tmp_path):
    trainer = Trainer(*tiny_config(steps=100_000))
    session = Session(trainer, RunFolder(tmp_path), print, show_progress=False)
    session.first, session.began, session.best = 0, 0.0, 1.23456
    trainer.step, trainer.seconds = 54_321, 900.0
    bar = tqdm(total=100.0, initial=54.0, bar_format=BAR, desc=session.describe(1.34567), ncols=80, file=io.StringIO())
    shown = str(bar)
    bar.close()
    assert len(shown) <= 80
    assert "step 54321, loss 1.3457, held-out 1.2346 bits/dim, 12:37 left" in shown
