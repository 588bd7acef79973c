"""What is written never takes the place of what is read, nor of a part of a run."""

import csv
import shutil

import numpy as np
import pytest
from training.runs import tiny_run

from lowerbound.cli.main import run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of digits."""
    return tiny_run(tmp_path_factory.mktemp("trained") / "run", steps=2).path


@pytest.fixture
def digits(trained, tmp_path):
    """A copy of it to which examples and a mask are given."""
    values = np.random.default_rng(0).integers(0, 17, (3, 1, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "few.npy", values)
    np.save(tmp_path / "mask.npy", np.arange(64).reshape(8, 8) % 2 == 0)
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def table(tmp_path):
    """A run of a table, and the table."""
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *np.random.default_rng(0).normal(size=(60, 2)).round(3).tolist()])
    assert run(["train", str(path), "--steps", "2", "--num-evaluations", "1", "-o", str(tmp_path / "of-rows")]) == 0
    return path


@pytest.mark.parametrize(
    ("verb", "more", "out"),
    [
        ("score", (), "few.npy"),
        ("impute", ("--mask", "mask.npy"), "few.npy"),
        ("impute", ("--mask", "mask.npy"), "mask.npy"),
        ("edit", ("--examples", "0"), "few.npy"),
        ("compress", (), "few.npy"),
    ],
)
def test_what_a_verb_reads_stays(digits, tmp_path, monkeypatch, capsys, verb, more, out):
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / out).read_bytes()
    assert run([verb, "run", "few.npy", *more, "-o", f"../{tmp_path.name}/{out}"]) == 2
    assert "is read by this command, and would be lost: give another name" in capsys.readouterr().err
    assert (tmp_path / out).read_bytes() == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "log.jsonl", "variance.json"])
def test_a_run_s_own_files_stay(digits, capsys, name):
    before = {path.name: path.read_bytes() for path in digits.iterdir() if path.is_file()}
    assert run(["audit", str(digits), "--minutes", "0.05", "-o", str(digits / name)]) == 2
    assert f"is a part of the run in {digits}: give another name" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in digits.iterdir() if path.is_file()} == before


def test_what_a_run_was_trained_on_stays(table, tmp_path, capsys):
    before = table.read_bytes()
    assert run(["sample", str(tmp_path / "of-rows"), "-n", "2", "-o", str(table)]) == 2
    assert "was trained on, which would be lost: give another name" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_what_was_written_before_is_written_anew(digits, tmp_path):
    out = tmp_path / "samples.npy"
    for num_samples in ("2", "3"):
        assert run(["sample", str(digits), "-n", num_samples, "-o", str(out)]) == 0
        assert len(np.load(out)) == int(num_samples)
    assert run(["sample", str(digits), "-n", "1", "-o", str(digits / "samples.png")]) == 0
