"""Run folders that others made, or that were damaged: opened as they are, or refused by an InputError that says why."""

import dataclasses
import json
import os
import random
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from training.runs import tiny_config, tiny_run

from lowerbound.blocks import layout
from lowerbound.classifier import NoisyClassifier
from lowerbound.data import open_dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.folder import evaluation_folder, read_evaluation
from lowerbound.files.weights import load_weights, weights_file
from lowerbound.nn.classifier import Classifier
from lowerbound.nn.size import check_size
from lowerbound.run import Run, open_run, variance
from lowerbound.run.classifier import open_classifier, write_classifier
from lowerbound.run.history import training_columns
from lowerbound.training import recipe, train
from lowerbound.training.build import build_denoiser
from lowerbound.training.config import DataConfig
from lowerbound.training.folder import RunFolder

EVALUATION = {
    "model": "m",
    "weights": {"step": "3"},
    "data": "digits",
    "fingerprint": "2-0",
    "own": True,
    "planned": ["samples"],
    "parts": {"samples": {"key": "k", "title": "samples", "figures": None, "missing": "none were drawn", "files": []}},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with all that may lie in its folder."""
    folder = tiny_run(tmp_path_factory.mktemp("whole") / "run", steps=3, num_pictures=0)
    run = open_run(folder.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variance, "MOST_EXAMPLES", 64)
        variance.with_analytic_variance(run, say=lambda line: None)
    classifier = NoisyClassifier(Classifier(run.spec.shape, len(run.spec.class_names), width=8), -5.0, 5.0, 0.5)
    write_classifier(run, classifier, 8, {})
    evaluation_folder(run).mkdir()
    (evaluation_folder(run) / "evaluation.json").write_text(json.dumps(EVALUATION))
    assert read_evaluation(evaluation_folder(run)) is not None
    return folder.path


@pytest.fixture
def damaged(whole, tmp_path):
    """A copy of it to damage."""
    return RunFolder(shutil.copytree(whole, tmp_path / "run"))


def read_variance(run, monkeypatch):
    def measured_anew(*_):
        raise InputError("measured anew")

    monkeypatch.setattr(variance, "_measure", measured_anew)
    monkeypatch.setattr(Run, "open_dataset", lambda run: None)
    variance.with_analytic_variance(run, say=lambda line: None)


STRANGE = [
    None,
    True,
    -1,
    0,
    10**9,
    10**30,
    1e9,
    1e300,
    float("nan"),
    float("-inf"),
    "",
    "x\x1b[2J",
    [],
    [1],
    {},
    {"a": 1},
    "9" * 40,
]


def places(values, path=()):
    """The paths of all values in nested JSON."""
    yield path
    items = values.items() if isinstance(values, dict) else enumerate(values[:3]) if isinstance(values, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(values, path, value):
    if not path:
        return value
    copy = values.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def bytes_damaged(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice([1, 3])):
        place = rng.randrange(min(len(content), 4000))
        match rng.choice(["flip", "cut", "insert"]):
            case "flip":
                content[place] ^= 1 << rng.randrange(8)
            case "cut":
                del content[place : place + rng.choice([1, 8, 10**6])]
            case "insert":
                content[place:place] = rng.choice([b"\0", b"[", b'{"a":', b"\xff", b"1e999", b"\n[1]\n"])
        if not content:
            break
    return bytes(content)


def json_damaged(content, rng):
    lines = content.decode().splitlines() if content.startswith(b'{"step"') else [content.decode()]
    number = rng.randrange(len(lines))
    values = json.loads(lines[number])
    lines[number] = json.dumps(replaced(values, rng.choice(list(places(values))), rng.choice(STRANGE)))
    return "\n".join(lines).encode()


def weights_damaged(content, rng):
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"].pop("sha256", None)
    told = rng.choice([*header["__metadata__"], "times", "step"])
    if rng.random() < 0.5:
        header["__metadata__"][told] = rng.choice(
            ["x", "", "[1e999]", "[[1]]", "{}", "[0.1, 0.5]", "9" * 30, "nan", "[" * 9999]
        )
    else:
        header = replaced(header, rng.choice(list(places(header))), rng.choice(STRANGE))
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + content[8 + size :]


READERS = {
    "config.json": lambda run, _: open_run(run.folder.path),
    "log.jsonl": lambda run, _: training_columns(run),
    "variance.json": read_variance,
    "evaluation/evaluation.json": lambda run, _: read_evaluation(evaluation_folder(run)),
    "model.safetensors": lambda run, _: open_run(run.folder.path),
    "classifier.safetensors": lambda run, _: open_classifier(run),
}


@pytest.mark.parametrize("kind", ["bytes", "values"])
@pytest.mark.parametrize("name", READERS)
def test_no_damage_ends_in_another_error(damaged, name, kind, monkeypatch):
    rng, run, path = random.Random(f"{name} {kind}"), open_run(damaged.path), damaged.path / name
    damage = bytes_damaged if kind == "bytes" else weights_damaged if path.suffix == ".safetensors" else json_damaged
    content, num_refused = path.read_bytes(), 0
    READERS[name](run, monkeypatch)
    for _ in range(40):
        path.write_bytes(damage(content, rng))
        try:
            READERS[name](run, monkeypatch)
        except InputError:
            num_refused += 1
    assert num_refused > 10


def changed(folder, **settings):
    values = json.loads(folder.config.read_text())
    for path, value in settings.items():
        values = replaced(values, path.split("__"), value)
    folder.config.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("network__width", 10**9, "at most 8,192"),
        ("network__width", 1e9, "not int"),
        ("network__multipliers", [256] * 200, "parameters"),
        ("network__blocks_per_level", 10**9, "at most 256"),
        ("schedule__num_steps", 10**12, "at most 1,000,000"),
        ("data_facts__shape", [10**9, 1, 1], "parameters"),
        ("data_facts__shape", "8", "shape"),
        ("data_facts__class_names", [1], "class_names"),
        ("data_facts__encoding__dtype", "O", "type"),
        ("data_facts__fingerprint", None, "fingerprint"),
    ],
)
def test_sizes_and_types_of_a_config_are_refused_before_anything_is_made(damaged, setting, value, words):
    changed(damaged, **{setting: value})
    with pytest.raises(InputError, match=words):
        open_run(damaged.path)


@pytest.mark.parametrize("kind", ["images", "vectors", "table", "series"])
def test_a_network_is_found_too_large_whatever_it_stands_upon(kind, tmp_path):
    """Without any of its numbers, which such a network would take for ever to make."""
    path, window = tmp_path / "rows.csv", 4 if kind == "series" else None
    header, letters = ("b,a", [""] * 60) if kind == "series" else ("a,b,c", [f",{'xyz'[k % 3]}" for k in range(60)])
    path.write_text("\n".join([header, *(f"{k * k % 11},{k * k % 7 / 3}{letter}" for k, letter in enumerate(letters))]))
    data = DataConfig({"images": "digits", "vectors": "moons"}.get(kind, str(path)), window=window)
    dataset = open_dataset(data)
    config = recipe(dataset, data)
    assert kind == "images" or config.denoiser.components
    network = dataclasses.replace(config.network, width=8192, depth=256, blocks_per_level=256)
    config = dataclasses.replace(config, network=network)
    layout.cache_clear()
    with pytest.raises(InputError, match="parameters"):
        check_size(lambda: build_denoiser(config, dataset.spec), 10**9, "config.json")


def test_a_log_that_is_none_is_refused_by_training(damaged):
    damaged.log.write_text("[1]\n" + damaged.log.read_text())
    config, dataset = tiny_config(steps=5, num_pictures=0)
    with pytest.raises(InputError, match=r"log\.jsonl, line 1 is damaged"):
        train(config, dataset, damaged.path, say=lambda line: None, show_progress=False)


@pytest.mark.parametrize("name", ["config.json", "log.jsonl", "model.safetensors", "variance.json", "lock"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_never_read(damaged, name, kind):
    path = damaged.path / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=name):
        open_run(damaged.path)


@pytest.mark.parametrize("name", ["checkpoints", "samples", "evaluation", "lock"])
def test_nothing_is_written_through_a_link(damaged, name, tmp_path):
    elsewhere, path = tmp_path / "elsewhere", damaged.path / name
    if name == "lock":
        elsewhere.write_text("mine")
        path.unlink()
    else:
        elsewhere.mkdir()
        shutil.rmtree(path)
    path.symlink_to(elsewhere)
    config, dataset = tiny_config(steps=5, num_pictures=0)
    for use_it in (open_run, lambda out: train(config, dataset, out, say=lambda line: None, show_progress=False)):
        with pytest.raises(InputError, match=f"{name} is a link"):
            use_it(damaged.path)
    assert elsewhere.read_text() == "mine" if name == "lock" else not list(elsewhere.iterdir())


def test_a_hash_finds_a_changed_weight_out_and_old_files_open_without(tmp_path):
    module, path = torch.nn.Linear(3, 2), tmp_path / "w.safetensors"
    content = weights_file(dict(module.named_parameters()), {"step": "3"})
    path.write_bytes(content)
    assert load_weights(torch.nn.Linear(3, 2), path)["step"] == "3"
    for place in (-1, content.index(b'"step"') + 8):
        bad = bytearray(content)
        bad[place] ^= 1
        path.write_bytes(bytes(bad))
        with pytest.raises(InputError, match="damaged"):
            load_weights(torch.nn.Linear(3, 2), path)
    path.write_bytes(save(load(content), {"step": "3"}))
    assert load_weights(torch.nn.Linear(3, 2), path) == {"step": "3"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(damaged, value):
    tensors = load(damaged.model.read_bytes())
    name = list(tensors)[1]
    tensors[name].view(-1)[0] = value
    damaged.model.write_bytes(weights_file(tensors, {}))
    with pytest.raises(InputError, match=f"{name} holds NaN"):
        open_run(damaged.path)


def test_an_old_run_opens_its_data_with_a_warning(damaged):
    dataset = open_dataset("digits")
    changed(damaged, data_facts__fingerprint=dataset._hash_values().hexdigest()[:16])
    with pytest.warns(UserWarning, match="splits"):
        open_run(damaged.path).open_dataset()
