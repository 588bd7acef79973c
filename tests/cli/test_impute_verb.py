"""`lowerbound impute` as a user meets it."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from lowerbound.cli.main import run
from lowerbound.run.impute import METHODS

TINY = ["--steps", "2", "--batch-size", "8", "--network.width", "8"]
STEPS = ["--steps", "2", "--num-samples", "3"]
IMAGES = load_digits().images.astype(np.uint8)
DIGITS = IMAGES[:4]


@pytest.fixture(scope="module")
def folder(runs_folder):
    """Runs of digits given their labels, and of moons; some of their data with holes."""
    root = runs_folder
    np.save(root / "four.npy", DIGITS)
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :4] = 255
    Image.fromarray(mask).save(root / "mask.png")
    moons = np.array([[0.5, np.nan], [np.nan, 0.2], [0.1, 0.3]], np.float32)
    np.save(root / "moons.npy", moons)
    return root


def imputed(folder, name, data, out, *arguments) -> dict[str, np.ndarray]:
    assert run(["impute", str(folder / name), str(data), *map(str, arguments), *STEPS, "-o", str(out)]) == 0
    with np.load(out) as archive:
        return dict(archive)


def test_masked_pictures(folder, tmp_path, capsys):
    found = imputed(folder, "digits", folder / "four.npy", tmp_path / "a.npz", "--mask", folder / "mask.png")
    assert {name: array.shape for name, array in found.items()} == {
        "samples": (4, 3, 8, 8),
        "mean": (4, 8, 8),
        "std": (4, 8, 8),
        "observed": (4, 8, 8),
    }
    # as they came: bundled digits are integers of 17 levels
    assert found["samples"].dtype == DIGITS.dtype
    assert (found["samples"][..., :4] == DIGITS[:, None, :, :4]).all()
    assert found["samples"].max() <= 16
    assert found["observed"][..., :4].all()
    assert not found["observed"][..., 4:].any()
    np.testing.assert_allclose(found["mean"], found["samples"].mean(1), atol=1e-6)
    assert "3 imputations of 4 examples, 50.0% of whose entries were missing" in capsys.readouterr().out
    assert not list(tmp_path.glob(".unfinished*"))


def test_what_was_erased_is_missing(folder, tmp_path):
    mask = Image.open(folder / "mask.png").convert("RGBA")
    mask.putalpha(mask.getchannel("R"))  # black is transparent
    mask.save(tmp_path / "erased.png")
    ways = (folder / "mask.png", tmp_path / "erased.png")
    found = [
        imputed(folder, "digits", folder / "four.npy", tmp_path / "a.npz", "--mask", way)["observed"] for way in ways
    ]
    assert np.array_equal(*found)


def test_nan_is_missing(folder, tmp_path):
    raw = np.load(folder / "moons.npy")
    found = imputed(folder, "moons", folder / "moons.npy", tmp_path / "a.npz")
    there = ~np.isnan(raw)
    assert np.isfinite(found["samples"]).all()
    assert (found["observed"] == there).all()
    assert all(np.array_equal(found["samples"][:, k][there], raw[there]) for k in range(3))
    assert (found["std"][~there] > 0).all()
    np.save(tmp_path / "mask.npy", np.array([True, False]))
    both = imputed(folder, "moons", folder / "moons.npy", tmp_path / "b.npz", "--mask", tmp_path / "mask.npy")
    assert (both["observed"] == there & [True, False]).all()


@pytest.mark.parametrize("method", ["replacement", "pigdm", "mmps", "particles"])
def test_every_method_is_independent_of_the_batch_size(folder, tmp_path, method):
    arguments = ["--mask", folder / "mask.png", "--method", method, "--split", "test"]
    given = folder / "more.npy"
    np.save(given, IMAGES[:20])
    found = [
        imputed(folder, "digits", given, tmp_path / f"{size}.npz", *arguments, "--batch-size", size)["samples"]
        for size in (2, 64)
    ]
    assert (found[0] == found[1]).mean() > 0.99  # a rounding error may lie between two levels
    assert found[0].shape == (2, 3, 8, 8)


def test_a_label_may_be_given(folder, tmp_path):
    masked = ["--mask", folder / "mask.png"]
    imputed(folder, "digits", folder / "four.npy", tmp_path / "a.npz", *masked, "--label", "3")
    imputed(folder, "digits", folder / "four.npy", tmp_path / "b.npz", *masked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "four.npy", "--mask", "wrong.npy"], "a mask has that of one example, (8, 8), or of all, (4, 8, 8)"),
        (["digits", "four.npy"], "nothing is missing"),
        (["digits", "four.npy", "--mask", "mask.png", "--method", "mixture"], "no fitted mixture"),
        (["digits", "four.npy", "--mask", "none.npy"], "what `lowerbound sample` is for"),
        (["digits", "four.npy", "--mask", "absent.npy"], "cannot be read"),
        (["digits", "four.npy", "--mask", "mask.png", "--label", "11"], "no label '11' in this run"),
        (["moons", "moons.npy", "--label", "0"], "takes no labels"),
        (["moons", "infinite.npy"], "NaN or infinity"),
        (["digits", "four.npy", "--mask", "mask.png", "--num-particles", "4"], "has no effect on"),
        (["digits", "four.npy", "--mask", "mask.png", "--num-samples", "0"], "give 1 or more"),
        (["digits", "four.npy", "--mask", "mask.png", "-o", "x.npy"], "must end in .npz"),
        (["digits", "four.npy", "--mask", "mask.png", "-o", "no/x.npz"], "does not exist"),
    ],
)
def test_mistakes_are_told_in_a_line(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    np.save("wrong.npy", np.ones((4, 7), bool))
    np.save("none.npy", np.zeros((8, 8), bool))
    np.save("infinite.npy", np.array([[np.nan, np.inf]], np.float32))
    out = [] if "-o" in arguments else ["-o", "out.npz"]
    assert run(["impute", *arguments, *out]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (folder / "out.npz").exists()


def test_interrupting_leaves_nothing(folder, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lowerbound.run.impute.posterior_sample", interrupt)
    mask = str(folder / "mask.png")
    out = str(tmp_path / "a.npz")
    assert run(["impute", str(folder / "digits"), str(folder / "four.npy"), "--mask", mask, "-o", out]) == 130
    assert not list(tmp_path.iterdir())


def test_more_imputations_than_the_memory_holds_are_refused_at_once(folder, tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "many.npy", np.resize(DIGITS, (1000, 8, 8)))
    monkeypatch.setenv("LOWERBOUND_MEMORY", str(64 * 1000 * 21 / 2**30))
    command = ["impute", str(folder / "digits"), str(tmp_path / "many.npy"), "-o", str(tmp_path / "x.npz")]
    assert run([*command, "--num-samples", "21", "--mask", str(folder / "mask.png")]) == 2
    told = capsys.readouterr().err
    assert "21 imputations of 1,000 examples would take" in told
    assert "a smaller --num-samples" in told


def test_a_method_that_is_misspelt_is_told_with_all_that_there_are(capsys):
    assert run(["impute", "run", "rows.csv", "--method", "mixtur", "-o", "a.csv"]) == 2
    line = capsys.readouterr().err
    choices = line.partition("Choose one of ")[2].partition(". See")[0].split(", ")
    assert "did you mean mixture?" in line
    assert sorted(choices) == sorted(["network", "mixture", *METHODS])
