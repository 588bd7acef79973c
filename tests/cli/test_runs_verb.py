"""`lowerbound runs` as a user meets it."""

import dataclasses
import fcntl
import json
import os
import shutil
import time

import pytest
from training.runs import tiny_run

from lowerbound.cli.main import run
from lowerbound.training.folder import RunFolder

DAMAGES = {
    "no JSON": ("config.json", b'{"data_facts": ', "config.json is damaged"),
    "a newer schema": ("config.json", b'{"schema_version": 99, "data_facts": {}}', "has the schema version 99"),
    "a log of something else": ("log.jsonl", b"5\n[1]\n", "its last lines are no records"),
    "a lost configuration": ("config.json", None, "there is no run in"),
}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("one") / "a", "moons", steps=2, num_evaluations=1).path


def listed(folder, capsys) -> list[dict]:
    assert run(["runs", str(folder), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_run_with_what_it_has_come_to(one, capsys):
    (found,) = listed(one.parent, capsys)
    metadata = RunFolder(one).read_metadata()
    assert (found["path"], found["state"], found["data"], found["model"]) == (
        str(one),
        "complete",
        "moons",
        "diffusion",
    )
    assert found["step"] == 2
    assert found["held_out_bits_per_dim"] == float(metadata["held_out_bits_per_dim"])
    assert found["standard_error"] == float(metadata["standard_error"])
    assert found["bytes"] == sum(file.stat().st_size for file in one.rglob("*") if file.is_file())
    assert run(["runs", str(one.parent)]) == 0
    title, row = capsys.readouterr().out.splitlines()
    assert title.split()[:4] == ["run", "model", "data", "state"]
    assert row.split()[:5] == [str(one), "diffusion", "moons", "complete", "2"]


def test_one_that_trains_and_one_that_was_interrupted(one, tmp_path, capsys):
    shutil.copytree(one, tmp_path / "deep" / "b")
    folder = RunFolder(tmp_path / "deep" / "b")
    config, spec = folder.read_config()
    folder.write_config(dataclasses.replace(config, training=dataclasses.replace(config.training, steps=5)), spec)
    with folder.log.open("a") as log:
        log.write('{"step": 3, "secon')  # as it is being written
    assert [(found["state"], found["step"]) for found in listed(tmp_path, capsys)] == [("interrupted", 2)]
    with folder.locked():
        assert listed(tmp_path, capsys)[0]["state"] == "training"
    assert listed(tmp_path, capsys)[0]["state"] == "interrupted"


def test_one_that_diverged_at_its_last_step_is_not_complete(one, tmp_path, capsys):
    shutil.copytree(one, tmp_path / "b")
    folder = RunFolder(tmp_path / "b")
    config, spec = folder.read_config()
    folder.write_config(dataclasses.replace(config, training=dataclasses.replace(config.training, steps=3)), spec)
    with folder.log.open("a") as log:
        log.write('{"step": 3, "seconds": 1.0, "loss": 1e30}\n')  # after which nothing was saved
    assert [(found["state"], found["step"]) for found in listed(tmp_path, capsys)] == [("interrupted", 3)]


def test_the_newest_comes_first_and_other_folders_are_none(one, tmp_path, capsys):
    for name, changed in (("old", 1e9), ("new", 3e9), ("middle", 2e9)):
        shutil.copytree(one, tmp_path / name)
        for file in ("config.json", "log.jsonl"):
            os.utime(tmp_path / name / file, (changed, changed))
    for name in ("foreign", "pipe"):
        (tmp_path / name).mkdir()
    (tmp_path / "foreign" / "config.json").write_text('{"model_type": "bert"}')
    os.mkfifo(tmp_path / "pipe" / "config.json")
    assert [os.path.basename(found["path"]) for found in listed(tmp_path, capsys)] == ["new", "middle", "old"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_listed_with_its_reason(one, tmp_path, capsys, damage):
    name, content, reason = DAMAGES[damage]
    shutil.copytree(one, tmp_path / "a")
    shutil.copytree(one, tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    if content is not None:
        (tmp_path / "b" / name).write_bytes(content)
    states = {os.path.basename(found["path"]): found for found in listed(tmp_path, capsys)}
    assert states["a"]["state"] == "complete"
    assert states["b"]["state"] == "damaged"
    assert reason in states["b"]["reason"]
    assert run(["runs", str(tmp_path)]) == 0
    assert reason in capsys.readouterr().out


def test_what_a_run_was_exported_to_is_none(one, tmp_path, capsys):
    (tmp_path / "pipeline" / "unet").mkdir(parents=True)
    (tmp_path / "pipeline" / "unet" / "config.json").write_text(
        json.dumps({"data_facts": {}, "_class_name": "DenoiserModel"})
    )
    assert listed(tmp_path, capsys) == []


def test_no_runs_and_no_folder(tmp_path, capsys):
    assert run(["runs", str(tmp_path)]) == 0
    assert "no runs in" in capsys.readouterr().out
    assert run(["runs", str(tmp_path / "x")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_who_looks_at_a_lock_keeps_no_training_away(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    with folder.lock.open("a+") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(looked_at, fcntl.LOCK_UN))
        with folder.locked():
            assert folder.is_locked
