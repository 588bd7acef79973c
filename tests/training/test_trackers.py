"""What goes to TensorBoard, MLflow and Weights & Biases, by the few functions of them that are used; and what it cost."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from training.runs import tiny_config

from lowerbound.errors import InputError
from lowerbound.training import train
from lowerbound.training.folder import CLOCKS
from lowerbound.training.trackers import Following


def without_mixture():
    """A run whose first figure is of its first steps, not of a mixture before them."""
    config, dataset = tiny_config("moons", steps=6, num_evaluations=2)
    return replace(config, denoiser=replace(config.denoiser, components=0)), dataset


def tracked(tmp_path, monkeypatch, name, module, library):
    monkeypatch.setitem(sys.modules, module, library)
    config, dataset = without_mixture()
    folder = train(config, dataset, tmp_path / "moons", say=lambda line: None, show_progress=False, track=name)
    return folder, config


def check(told, folder):
    """All figures of evaluations, and the first step's, as others follow within a second."""
    records = folder.read_log()
    evaluations = [record for record in records if "held_out_bits_per_dim" in record]
    assert len(evaluations) == 2
    for record in (records[0], *evaluations):
        figures = {name: value for name, value in record.items() if name != "step" and not isinstance(value, str)}
        assert (record["step"], figures) in told
    assert len(told) < len(records)


def test_tensorboard(tmp_path, monkeypatch):
    told = {}

    class SummaryWriter:
        def __init__(self, folder):
            assert folder == str(tmp_path / "moons" / "tensorboard")

        def add_scalar(self, name, figure, step):
            told.setdefault(step, []).append((name, figure))

    folder, _ = tracked(
        tmp_path, monkeypatch, "tensorboard", "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter)
    )
    (last,) = [record for record in folder.read_log() if "baseline" in record and record["step"] == 6]
    for name in ("held_out_bits_per_dim", *CLOCKS):
        assert (name, last[name]) in told[6]


def test_mlflow(tmp_path, monkeypatch):
    told, begun = [], []
    library = SimpleNamespace(
        start_run=lambda **settings: begun.append(settings),
        log_dict=lambda config, name: begun.append((config, name)),
        log_metrics=lambda figures, step: told.append((step, figures)),
    )
    folder, config = tracked(tmp_path, monkeypatch, "mlflow", "mlflow", library)
    assert begun == [{"run_name": "moons"}, (config.to_dict(), "config.json")]
    check(told, folder)


def test_wandb(tmp_path, monkeypatch):
    told, begun = [], []

    def init(**settings):
        begun.append(settings)
        return SimpleNamespace(log=lambda figures, step: told.append((step, figures)))

    folder, config = tracked(tmp_path, monkeypatch, "wandb", "wandb", SimpleNamespace(init=init))
    assert begun == [{"project": "lowerbound", "name": "moons", "dir": str(folder.path), "config": config.to_dict()}]
    check(told, folder)


def test_what_is_not_installed_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"--track wandb needs wandb, .* pip install 'lowerbound\[track\]'"):
        tracked(tmp_path, monkeypatch, "wandb", "wandb", None)


def test_steps_are_told_once_a_second_and_evaluations_always(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr("lowerbound.training.trackers.time.monotonic", lambda: now[0])
    follow = Following(lambda step, figures: told.append(step))
    for step in range(10):
        now[0] = 0.25 * step
        follow({"step": step, "loss": 1.0})
    assert told == [0, 4, 8]
    follow({"step": 9, "held_out_bits_per_dim": 1.0})
    assert told == [0, 4, 8, 9]


def test_the_log_tells_what_training_costs(tmp_path):
    config, dataset = without_mixture()
    folder = train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    records = [record for record in folder.read_log() if "held_out_bits_per_dim" in record]
    for record in records:
        assert record["examples_per_second"] == pytest.approx(8 * record["step"] / record["seconds"])
        assert 1e7 < record["peak_memory_bytes"] < 1e12
        assert 0 < record["data_share"] < 1
