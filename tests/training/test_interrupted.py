"""A classifier and a student whose training is interrupted: to the bit what an unbroken one gives, and nothing lost."""

import json
import re
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from training.runs import tiny_config

from lowerbound.cli.main import run as command
from lowerbound.errors import InputError
from lowerbound.run import open_run
from lowerbound.run.history import training_columns
from lowerbound.training import stretch, train
from lowerbound.training.checkpoint import checkpoints, read_checkpoint, write_checkpoint
from lowerbound.training.folder import RunFolder
from lowerbound.training.stretch import open_workspace
from lowerbound.training.training import Training

LENGTH = 12


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A tiny conditional run."""
    folder = tmp_path_factory.mktemp("interrupted") / "digits"
    config, dataset = tiny_config(steps=1, num_pictures=0)
    config = replace(config, data=replace(config.data, conditional=True))
    train(config, dataset, folder, say=lambda line: None, show_progress=False)
    return folder


@pytest.fixture(autouse=True)
def as_in_the_foreground():
    """A shell that starts the tests in the background has Ctrl-C ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Verb:
    """A verb that trains beside a run, in a copy of it.

    Attributes:
        made: what it makes.
        log: of its training.
        place: where it is while it is trained.
    """

    def __init__(self, name, digits, folder):
        self.run = folder / "digits"
        shutil.copytree(digits, self.run)
        if name == "classifier":
            self.arguments = ["classifier", str(self.run), "--width", "8", "--steps"]
            self.made, self.log = self.run / "classifier.safetensors", self.run / "classifier.log.jsonl"
            self.place = self.run / "classifier.training"
        else:
            self.arguments = ["distill", str(self.run), "--no-compare", "--steps", "2", "--updates"]
            out = folder / "digits-2-steps"
            self.made, self.log, self.place = (
                out / "model.safetensors",
                out / "log.jsonl",
                folder / f"{out.name}.training",
            )

    def __call__(self, *more, length=LENGTH):
        return command([*self.arguments, str(length), *more])

    def steps(self):
        return [json.loads(line)["step"] for line in self.log.read_text().splitlines()]


@pytest.fixture(params=["classifier", "distill"])
def verb(request, digits, tmp_path):
    return Verb(request.param, digits, tmp_path)


def interrupted(verb, monkeypatch, step, *more, number=signal.SIGINT):
    """Call a verb and send the process a signal after a step."""
    original = Training.records

    def records(self):
        for record in original(self):
            if record.step == step:
                signal.raise_signal(number)
            yield record

    with monkeypatch.context() as patch:
        patch.setattr(Training, "records", records)
        assert verb(*more) == 128 + number


def test_it_goes_on_to_the_bit(verb, digits, tmp_path, monkeypatch, capsys):
    """Stopped twice, by Ctrl-C and by SIGTERM, with steps on both sides that need new paths and old ones."""
    unbroken = Verb(verb.arguments[0], digits, tmp_path / "unbroken")
    assert unbroken() == 0
    interrupted(verb, monkeypatch, 5)
    assert "stopped at step 5 with everything saved" in capsys.readouterr().out
    interrupted(verb, monkeypatch, 9, number=signal.SIGTERM)
    assert not verb.made.exists()
    assert not verb.log.exists()
    assert verb() == 0
    assert "after step 9" in capsys.readouterr().out
    whole, broken = load_file(unbroken.made), load_file(verb.made)
    assert all(torch.equal(broken[name], whole[name]) for name in whole)
    assert verb.steps() == list(range(1, LENGTH + 1))
    losses = [[json.loads(line)["loss"] for line in each.log.read_text().splitlines()] for each in (verb, unbroken)]
    assert losses[0] == losses[1]
    assert not verb.place.exists()


def test_once_made_it_begins_anew(verb, monkeypatch):
    assert verb(length=2) == 0
    if verb.arguments[0] == "classifier":
        assert verb(length=3) == 0
        assert verb.steps() == [1, 2, 3]
    else:  # a run that is there is not replaced
        assert verb(length=3) == 2


def test_with_other_settings_it_does_not_go_on(verb, monkeypatch, capsys):
    interrupted(verb, monkeypatch, 3)
    assert verb("--seed", "1") == 2
    assert "holds an interrupted training with other settings (seed was '0'): repeat" in capsys.readouterr().err
    assert checkpoints(verb.place / "checkpoints")
    assert verb("--seed", "1", "--restart", length=2) == 0
    assert re.search(r"what was there is in \S+ until this training is done", capsys.readouterr().out)
    assert verb.steps() == [1, 2]
    assert not verb.place.exists()


@pytest.mark.parametrize("damaged", ["weights", "noise", "state.json"])
def test_a_damaged_checkpoint_is_named(verb, monkeypatch, capsys, damaged):
    monkeypatch.setattr(stretch, "CHECKPOINT_SECONDS", -1)
    interrupted(verb, monkeypatch, 4)
    newest = checkpoints(verb.place / "checkpoints")[-1]
    (path,) = newest.glob(f"{damaged}*")
    path.write_bytes(path.read_bytes()[:-9])
    assert verb() == 2
    said = capsys.readouterr().err
    assert f"damaged checkpoint: {path}" in said
    assert "--fall-back to go on from the checkpoint before it, of step 3" in said
    assert verb("--fall-back") == 0
    assert verb.steps() == list(range(1, LENGTH + 1))


@pytest.mark.parametrize("change", ["order", "no order", "shape", "without noise", "short noise"])
def test_values_of_a_students_checkpoint_are_checked(digits, tmp_path, monkeypatch, capsys, change):
    verb = Verb("distill", digits, tmp_path)
    interrupted(verb, monkeypatch, 2)
    newest = checkpoints(verb.place / "checkpoints")[-1]
    tensors, state = read_checkpoint(newest)
    match change:
        case "order":
            state["order"]["state"] = {"state": -1, "inc": "x"}
        case "no order":
            del state["order"]
        case "shape":
            tensors["paths"]["states"] = torch.zeros(1, 2, 3)
        case "without noise":
            del tensors["noise"]
        case "short noise":
            tensors["noise"]["stream"] = torch.zeros(3, dtype=torch.uint8)
    write_checkpoint(newest.parent, state.pop("step"), tensors, state)
    assert verb() == 2
    assert "damaged checkpoint" in capsys.readouterr().err


def test_a_second_process_is_refused(tmp_path):
    with (
        open_workspace(tmp_path / "place", {}),
        pytest.raises(InputError, match="another process"),
        open_workspace(tmp_path / "place", {}),
    ):
        pass
    assert not (tmp_path / "place").exists()


def test_a_full_disk_leaves_what_was_saved(verb, monkeypatch, capsys):
    interrupted(verb, monkeypatch, 3)

    def full(*arguments):
        raise InputError("No space left on the disk")

    with monkeypatch.context() as patch:
        module = "lowerbound.run.classifier" if verb.arguments[0] == "classifier" else "lowerbound.training.distill"
        patch.setattr(f"{module}.write_file", full)
        assert verb() == 2
    assert "No space left" in capsys.readouterr().err
    assert not verb.made.exists()
    assert checkpoints(verb.place / "checkpoints")[-1].name == f"step-{LENGTH:09d}"
    assert verb() == 0
    assert verb.steps() == list(range(1, LENGTH + 1))
    assert not verb.place.exists()


def test_what_never_began_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="nothing"), open_workspace(tmp_path / "place", {}):
        raise InputError("nothing")
    assert not list(tmp_path.iterdir())


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "place").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"), open_workspace(tmp_path / "place", {}):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_log_of_a_student_is_that_of_a_run(digits, tmp_path):
    verb = Verb("distill", digits, tmp_path)
    assert verb(length=2) == 0
    records = RunFolder(verb.made.parent).read_log()
    with pytest.raises(InputError, match="mean squares"):  # which a curve would call bits/dim
        training_columns(open_run(verb.made.parent))
    assert [set(record) for record in records] == 2 * [{"step", "loss", "gradient_norm", "learning_rate", "seconds"}]
