"""The weights of early in a run, kept once as a weaker model of the same kind."""

import pytest
import torch
from safetensors import safe_open
from training.runs import tiny_config, tiny_run, train_until

from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.training import train


def kept_at(folder):
    with safe_open(folder.early, "pt") as file:
        return int(file.metadata()["step"])


def test_early_weights_are_those_of_the_first_evaluation_past_an_eighth(tmp_path):
    folder = tiny_run(tmp_path / "run", steps=10, num_evaluations=5)
    assert kept_at(folder) == 2
    run = open_run(folder.path)
    early = run.early()
    assert not early.training
    assert not any(p.requires_grad for p in early.parameters())
    with safe_open(folder.early, "pt") as file:
        assert all(torch.equal(p, file.get_tensor(name)) for name, p in early.named_parameters())


def test_they_outlive_an_interruption_and_a_longer_run(tmp_path, monkeypatch):
    config, dataset = tiny_config(steps=10, num_evaluations=5)
    with pytest.raises(KeyboardInterrupt):
        train_until(5, config, dataset, tmp_path / "run", monkeypatch, say=lambda line: None)
    content = (tmp_path / "run" / "early.safetensors").read_bytes()
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    assert folder.early.read_bytes() == content
    assert kept_at(folder) == 2


def test_a_run_without_them_says_so(tmp_path):
    folder = tiny_run(tmp_path / "run", steps=4, num_evaluations=1)
    with pytest.raises(InputError, match=r"early\.safetensors is not there: .*--num-evaluations of 4"):
        open_run(folder.path).early()
    folder.early.write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged"):
        open_run(folder.path).early()
