"""`lowerbound score` as a user meets it."""

import csv

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from sklearn.datasets import load_digits

from lowerbound.cli.main import run

TINY = ["--steps", "2", "--batch-size", "8", "--network.width", "8"]
CALLS = ["--num-times", "2"]
TERMS = ["reconstruction", "prior", "diffusion", "diffusion_error", "interval_95"]
COLUMNS = ["example", "nats", "bits_per_dim", *TERMS, "kind"]
DIGITS = load_digits()


@pytest.fixture(scope="module")
def folder(runs_folder):
    """Runs of digits given their labels, and of moons; one digit as a file."""
    root = runs_folder
    np.save(root / "one.npy", DIGITS.images[:1].astype(np.uint8))
    return root


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def scored(folder, out, *arguments) -> list[dict[str, str]]:
    assert run(["score", str(folder / "digits"), *map(str, arguments), *CALLS, "-o", str(out)]) == 0
    return rows(out)


def test_a_row_for_each_example(folder, tmp_path, capsys):
    found = scored(folder, tmp_path / "a.csv", "digits", "--split", "test")
    assert len(found) == 179
    assert list(found[0]) == COLUMNS
    numbers = [int(row["example"]) for row in found]
    assert numbers == sorted(set(numbers))
    for row in found:
        parts = sum(float(row[name]) for name in ("reconstruction", "prior", "diffusion"))
        assert float(row["bits_per_dim"]) == pytest.approx(parts, rel=1e-6)
    kind = "bound (continuous time, given its condition), 2 calls"
    assert {row["kind"] for row in found} == {kind}
    printed = capsys.readouterr().out
    assert f"bits/dim, {kind} per example" in printed
    assert "179 scores" in printed
    assert not list(tmp_path.glob(".unfinished*"))


def test_one_example_is_enough_and_scores_as_among_all(folder, tmp_path):
    one = scored(folder, tmp_path / "a.csv", folder / "one.npy")
    assert len(one) == 1
    assert "no condition" in one[0]["kind"]
    np.savez(tmp_path / "x.npz", x=DIGITS.images[:5].astype(np.uint8), labels=DIGITS.target[:5])
    several = scored(folder, tmp_path / "b.csv", tmp_path / "x.npz", "--batch-size", "2")
    all_of_them = scored(folder, tmp_path / "c.csv", "digits")
    assert len(all_of_them) == 1797
    for row, same in zip(several, all_of_them[:5], strict=True):
        assert float(row["nats"]) == pytest.approx(float(same["nats"]), rel=1e-4)


def test_images_of_a_folder_have_their_names(folder, tmp_path):
    for name, image in (("b, c.png", 1), ("a.png", 2)):
        Image.fromarray(DIGITS.images[image].astype(np.uint8)).save(tmp_path / name)
    found = scored(folder, tmp_path / "a.csv", tmp_path)
    assert [row["name"] for row in found] == ["a.png", "b, c.png"]


def test_floats_are_scored_in_their_own_units(folder, tmp_path):
    out = tmp_path / "a.csv"
    np.save(tmp_path / "x.npy", np.array([[0.5, 0.5], [50.0, 0.0]], np.float32))
    assert run(["score", str(folder / "moons"), str(tmp_path / "x.npy"), "--num-steps", "3", "-o", str(out)]) == 0
    found = rows(out)
    for row in found:
        terms = [float(row[name]) for name in ("reconstruction", "prior", "diffusion", "normalisation")]
        assert float(row["bits_per_dim"]) == pytest.approx(sum(terms), rel=1e-6)
        assert float(row["nats"]) == pytest.approx(-2 * np.log(2) * float(row["bits_per_dim"]), rel=1e-6)
        assert row["kind"] == "bound (3 steps, of the density), 3 calls"
    assert len({row["normalisation"] for row in found}) == 1


def test_parquet_holds_the_same_and_says_what_it_is(folder, tmp_path):
    expected = scored(folder, tmp_path / "a.csv", folder / "one.npy", "--seed", "3")
    arguments = [str(folder / "digits"), str(folder / "one.npy"), "--seed", "3", *CALLS]
    assert run(["score", *arguments, "-o", str(tmp_path / "a.parquet")]) == 0
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column_names == COLUMNS
    assert table["nats"][0].as_py() == pytest.approx(float(expected[0]["nats"]), rel=1e-6)
    told = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert told["calls"] == "2"
    assert told["seed"] == "3"
    assert told["run"] == str(folder / "digits")
    assert told["kind"] in table["kind"][0].as_py()


MISTAKES = {
    "no file": (["digits"], "--out"),
    "another suffix": (["digits", "-o", "{tmp}/a.txt"], "must end in .csv, .tsv, .parquet, .feather"),
    "a folder that is not there": (["digits", "-o", "{tmp}/no/a.csv"], "does not exist"),
    "a folder for a file": (["digits", "-o", "{tmp}/d.csv"], "is a folder"),
    "no calls": (["digits", "-o", "{tmp}/a.csv", "--num-times", "0"], "--num-times is 0"),
    "no steps": (["digits", "-o", "{tmp}/a.csv", "--num-steps", "0"], "--num-steps is 0"),
    "a flow in no calls": (["digits", "-o", "{tmp}/a.csv", "--ode", "--calls", "0"], "--calls is 0: give 1 or more"),
    "a flow in half a call": (
        ["digits", "-o", "{tmp}/a.csv", "--ode", "--calls", "0.5"],
        "takes a whole number, not 0.5",
    ),
    "calls of no flow": (["digits", "-o", "{tmp}/a.csv", "--calls", "8"], "effect without --ode"),
    "no batch": (["digits", "-o", "{tmp}/a.csv", "--batch-size", "-1"], "--batch-size is -1"),
    "no such data": (["digts", "-o", "{tmp}/a.csv"], "did you mean digits"),
    "data of another shape": (["moons", "-o", "{tmp}/a.csv"], "takes examples of shape (1, 8, 8)"),
    "no batch axis": (["{tmp}/flat.npy", "-o", "{tmp}/a.csv"], "layout NHW has 3 axes"),
    "floats": (["{tmp}/floats.npy", "-o", "{tmp}/a.csv"], "integers from 0 to 16"),
    "levels that do not exist": (["{tmp}/bytes.npy", "-o", "{tmp}/a.csv"], "values from 17 to 17"),
    "no examples": (["{tmp}/empty.npy", "-o", "{tmp}/a.csv"], "has no examples"),
    "an empty split": (["{tmp}/single.npy", "-o", "{tmp}/a.csv", "--split", "train"], "in its train split"),
    "a label that the run does not know": (["{tmp}/label.npz", "-o", "{tmp}/a.csv"], "no label '12'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_exit_code_2(mistake, folder, tmp_path, capsys):
    arguments, message = MISTAKES[mistake]
    (tmp_path / "d.csv").mkdir()
    np.save(tmp_path / "flat.npy", np.zeros((8, 8), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((1, 8, 8)))
    np.save(tmp_path / "bytes.npy", np.full((1, 8, 8), 17, np.uint8))
    np.save(tmp_path / "empty.npy", np.zeros((0, 8, 8), np.uint8))
    np.save(tmp_path / "single.npy", np.zeros((1, 8, 8), np.uint8))
    np.savez(tmp_path / "label.npz", x=np.zeros((1, 8, 8), np.uint8), labels=np.array([12]))
    assert run(["score", str(folder / "digits"), *(argument.format(tmp=tmp_path) for argument in arguments)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.strip().splitlines()) == 1
    assert not (tmp_path / "a.csv").exists()


def test_a_flow_in_few_calls(folder, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.array([[0.5, 0.5], [1.0, 0.0]], np.float32))
    arguments = [str(folder / "moons"), str(tmp_path / "x.npy"), "--ode", "--calls", "3", "--tolerance", "0.01"]
    assert run(["score", *arguments, "-o", str(tmp_path / "a.csv")]) == 0
    found = rows(tmp_path / "a.csv")
    assert all(row["kind"].startswith("density (ODE in 3 calls), ") for row in found)
    assert all(np.isfinite(float(row["nats"])) for row in found)
    assert "ODE in 3 calls" in capsys.readouterr().out


def test_a_hostile_name_reaches_no_terminal_and_no_spreadsheet(folder, tmp_path):
    for k, name in enumerate(["=HYPERLINK(0)", "a\x1b[2J"]):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(DIGITS.images[k].astype(np.uint8)).save(path)
    found = scored(folder, tmp_path / "a.csv", tmp_path / "images")
    assert [row["name"] for row in found] == ["'=HYPERLINK(0).png", r"a\x1b[2J.png"]


def test_a_split_larger_than_the_memory_is_refused(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LOWERBOUND_MEMORY", "1e-6")
    out = ["-o", str(tmp_path / "x.csv")]
    assert run(["score", str(folder / "digits"), "digits", "--split", "train", *out]) == 2
    assert "1,439 examples of digits would take" in capsys.readouterr().err


@pytest.mark.parametrize(("by", "first", "last"), [("column", "0,0,0", "0,7,7"), ("noise", "reconstruction", "prior")])
def test_scores_divided_add_up(folder, tmp_path, by, first, last):
    found = scored(folder, tmp_path / "a.csv", folder / "one.npy", "--by", by)
    parts = {name: float(value) for name, value in found[0].items() if name.startswith("nats[")}
    assert [next(iter(parts)), list(parts)[-1]] == [f"nats[{first}]", f"nats[{last}]"]
    assert len(parts) == (64 if by == "column" else 4)
    assert sum(parts.values()) == pytest.approx(float(found[0]["nats"]), rel=1e-4)


def test_the_flow_is_not_divided(folder, tmp_path, capsys):
    out = tmp_path / "a.csv"
    assert run(["score", str(folder / "digits"), "digits", "--ode", "--by", "column", "-o", str(out)]) == 2
    assert "--by column has no effect with --ode" in capsys.readouterr().err
