"""`lowerbound edit` as a user meets it."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from lowerbound.cli.main import run

TINY = ["--steps", "2", "--batch-size", "8", "--network.width", "8"]
DIGITS = load_digits()
RAW = DIGITS.images.astype(np.uint8)


def edited(runs_folder, out, *arguments) -> np.ndarray:
    loose = ["--flow-tolerance", "0.3", "--steps", "4"]
    assert run(["edit", str(runs_folder / "digits"), "digits", *loose, *arguments, "-o", str(out)]) == 0
    return np.load(out)


def test_variations_stand_beside_their_example(runs_folder, tmp_path, capsys):
    found = edited(runs_folder, tmp_path / "a.npy", "--examples", "0", "5", "--num-samples", "3", "--seed", "2")
    assert found.shape == (8, 8, 8)
    assert found.dtype == np.uint8
    assert found.max() <= 16
    np.testing.assert_array_equal(found[[0, 4]], RAW[[0, 5]])
    assert not np.array_equal(found[1], found[2])
    assert "3 variations of each example from gamma = " in capsys.readouterr().out
    assert not list(tmp_path.glob(".unfinished*"))
    again = edited(
        runs_folder, tmp_path / "b.npy", "--examples", "5", "--num-samples", "2", "--seed", "2", "--batch-size", "1"
    )
    np.testing.assert_array_equal(again, found[4:7])


def test_no_strength_changes_nothing(runs_folder, tmp_path):
    found = edited(runs_folder, tmp_path / "a.npy", "--strength", "0", "-n", "2", "--num-samples", "2")
    np.testing.assert_array_equal(found, RAW[[0, 0, 0, 1, 1, 1]])


def test_a_round_trip_says_its_error(runs_folder, tmp_path, capsys):
    found = edited(runs_folder, tmp_path / "a.npy", "--mode", "round-trip", "-n", "2", "--split", "test")
    assert len(found) == 4
    difference = found[1::2].astype(float) - found[::2]
    printed = capsys.readouterr().out
    assert f"{np.sqrt(np.mean(difference**2)):.2g} levels" in printed
    assert "network calls per example" in printed
    assert "rms error" in printed


def test_examples_stand_at_the_ends_of_what_is_between_them(runs_folder, tmp_path, capsys):
    found = edited(
        runs_folder, tmp_path / "a.npy", "--mode", "interpolation", "--examples", "4", "1", "0", "--num-samples", "1"
    )
    assert found.shape == (6, 8, 8)
    np.testing.assert_array_equal(found[[0, 2, 3, 5]], RAW[[4, 1, 1, 0]])
    assert "round trip" in capsys.readouterr().out


def test_floats_come_back_in_their_own_units(runs_folder, tmp_path, capsys):
    values = np.array([[0.0, 1.0], [1.0, -0.5]], np.float32)  # of the data: the way of others is hard to retrace
    np.save(tmp_path / "x.npy", values)
    arguments = ["--mode", "round-trip", "-o", str(tmp_path / "a.npz")]
    assert run(["edit", str(runs_folder / "moons"), str(tmp_path / "x.npy"), *arguments]) == 0
    found = np.load(tmp_path / "a.npz")["x"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[::2], values)
    np.testing.assert_allclose(found[1::2], values, atol=1e-2)
    assert "in those of the data" in capsys.readouterr().out


def test_a_picture_of_a_label(runs_folder, tmp_path):
    out = tmp_path / "a.png"
    arguments = ["-n", "2", "--num-samples", "3", "--label", "7", "--steps", "3", "-o", str(out)]
    assert run(["edit", str(runs_folder / "digits"), "digits", *arguments]) == 0
    with Image.open(out) as picture:
        assert picture.width > picture.height


MISTAKES = {
    "no file": (["digits"], "--out"),
    "another suffix": (["digits", "-o", "{tmp}/a.txt"], "must end in .png, .npy, .npz"),
    "a runs_folder": (["digits", "-o", "{tmp}"], "must end in .png"),
    "no such mode": (["digits", "-o", "{tmp}/a.png", "--mode", "morph"], "interpolation"),
    "no such example": (["digits", "-o", "{tmp}/a.png", "--examples", "1797"], "has the examples 0 to 1796"),
    "one before the first": (["digits", "-o", "{tmp}/a.png", "--examples", "-1"], "has the examples 0 to"),
    "more noise than all": (["digits", "-o", "{tmp}/a.png", "--strength", "1.5"], "between 0, the example itself"),
    "no samples": (["digits", "-o", "{tmp}/a.png", "--num-samples", "0"], "--num-samples is 0"),
    "no steps": (["digits", "-o", "{tmp}/a.png", "--steps", "0"], "--steps is 0: give 1 or more"),
    "no such label": (["digits", "-o", "{tmp}/a.png", "--label", "x"], "no label 'x'"),
    "other data": (["moons", "-o", "{tmp}/a.png"], "takes examples of shape (1, 8, 8)"),
    "a single end": (["digits", "-o", "{tmp}/a.png", "--mode", "interpolation", "-n", "1"], "at least two"),
    "a tolerance": (["digits", "-o", "{tmp}/a.png", "--mode", "round-trip", "--flow-tolerance", "0"], "tolerance is 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_exit_code_2(mistake, runs_folder, tmp_path, capsys):
    arguments, message = MISTAKES[mistake]
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    assert run(["edit", str(runs_folder / "digits"), *given]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.iterdir())
