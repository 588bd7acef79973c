"""An array with gaps on the way of a new user: trained, evaluated, scored, sampled, filled in, and refused with a reason."""

import csv
import json

import numpy as np
import pytest

from lowerbound.cli.main import run

SMALL = ["--steps", "6", "--batch-size", "16", "--network.width", "8", "--num-evaluations", "2"]
FEW = ["--denoiser.components", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows and fields with gaps, and a run of each."""
    root, rng = tmp_path_factory.mktemp("gaps"), np.random.default_rng(0)
    for name, shape in (("rows", (120, 3)), ("fields", (60, 4, 4))):
        values = (rng.standard_normal(shape) + 2 * rng.standard_normal((shape[0], *[1] * (len(shape) - 1)))).astype(
            "f4"
        )
        missing = rng.random(shape) < 0.3
        missing.reshape(shape[0], -1)[:, 0] = False
        np.save(root / f"{name}.npy", np.where(missing, np.nan, values))
        mixture = FEW if name == "rows" else []
        assert run(["train", str(root / f"{name}.npy"), "-o", str(root / name), *SMALL, *mixture]) == 0
    labels = np.arange(120) % 2
    np.savez(root / "labelled.npz", x=np.load(root / "rows.npy"), labels=labels)
    assert run(["train", str(root / "labelled.npz"), "-o", str(root / "labelled"), "--conditional", *SMALL, *FEW]) == 0
    return root


def test_train_says_what_is_missing(folder, capsys):
    assert run(["train", str(folder / "rows.npy"), "--dry-run"]) == 0
    share = np.isnan(np.load(folder / "rows.npy")).mean()
    assert f"missing   {share:.1%} of the entries" in capsys.readouterr().out
    config = json.loads((folder / "rows" / "config.json").read_text())
    assert config["data_facts"]["encoding"]["has_missing"] is True


@pytest.mark.parametrize("name", ["rows", "fields", "labelled"])
def test_each_verb_works_on_such_a_run(folder, name, tmp_path, capsys):
    data = str(folder / ("labelled.npz" if name == "labelled" else f"{name}.npy"))
    out = str(tmp_path / "scores.csv")
    for arguments in (["--num-times", "2"], ["--ode", "--tolerance", "0.1"]):
        assert run(["score", str(folder / name), data, "--split", "test", *arguments, "-o", out]) == 0
        with open(out) as file:
            assert all(np.isfinite(float(row["bits_per_dim"])) for row in csv.DictReader(file))
    assert run(["sample", str(folder / name), "-n", "3", "--steps", "2", "-o", str(tmp_path / "x.npy")]) == 0
    assert np.isfinite(np.load(tmp_path / "x.npy")).all()
    filled = ["--split", "test", "--num-samples", "2", "--steps", "2", "-o", str(tmp_path / "x.npz")]
    assert run(["impute", str(folder / name), data, *filled]) == 0
    with np.load(tmp_path / "x.npz") as found:
        assert np.isfinite(found["samples"]).all()
        assert not found["observed"].all()
    capsys.readouterr()


@pytest.mark.parametrize(("name", "num_flow"), [("rows", 2), ("fields", 0)])
def test_an_evaluation_leaves_out_what_takes_complete_data(folder, name, num_flow, capsys):
    few = ["--num-samples", "20", "--num-times", "2", "--ode-examples", str(num_flow), "--tolerance", "0.1"]
    assert run(["evaluate", str(folder / name), *few]) == 0
    said = capsys.readouterr().out
    assert said.count("left out: samples are complete, and entries of") == {"rows": 4, "fields": 3}[name]
    assert said.count("left out") == {"rows": 4, "fields": 3}[name]
    for part in (
        "reconstruction",
        "normalisation",
        "independent Gaussians",
        "Data's end",
        *["flow minus chain"][:num_flow],
    ):
        assert part in said
    assert "nan" not in said
    assert run(["report", str(folder / name)]) == 0


def test_the_analytic_variance_is_measured_on_what_is_there(folder, tmp_path):
    out = ["--steps", "3", "--sampler", "ancestral", "--variance", "analytic", "-o", str(tmp_path / "x.npy")]
    # more samples than fit the examples that it is measured on, for which their gaps must not be kept
    assert run(["sample", str(folder / "rows"), "-n", "7", *out]) == 0
    assert np.isfinite(np.load(tmp_path / "x.npy")).all()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "{}/rows.npy", "--model", "vae", "-o", "{}/vae"], "which the model vae does not take"),
        (["train", "{}/rows.npy", "--model", "energy", "-o", "{}/energy"], "which the model energy does not take"),
        (["compare", "{}/rows.npy", "--steps", "1", "-o", "{}/all"], "which compare does not take"),
        (["distill", "{}/rows", "--steps", "2", "--out", "{}/few"], "which distill does not take"),
        (["classifier", "{}/labelled"], "which a classifier does not take"),
        (["edit", "{}/rows", "{}/rows.npy", "-o", "{}/edited.npy"], "fill them in first"),
        (["score", "{}/rows", "{}/empty.npy", "-o", "{}/x.csv"], "hold nothing but NaN (example 1)"),
        (["train", "{}/empty.npy"], "hold nothing but NaN (example 1)"),
        (["score", "{}/moons", "{}/two.npy", "-o", "{}/x.csv"], "of finite floats"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_such_data_are_not_for_is_said(folder, trained_moons, arguments, reason, capsys):
    if not (folder / "moons").exists():
        (folder / "moons").symlink_to(trained_moons)
        np.save(folder / "two.npy", np.array([[0.5, np.nan]], np.float32))
        values = np.load(folder / "rows.npy")
        values[1] = np.nan
        np.save(folder / "empty.npy", values)
    assert run([each.format(folder) for each in arguments]) == 2
    said = capsys.readouterr()
    assert reason in said.err + said.out
