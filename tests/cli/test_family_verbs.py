"""Relatives on the command line: every verb takes them, or says why not, in one line."""

import numpy as np
import pytest

from lowerbound.cli.main import run

SMALL = ["--steps", "4", "--batch-size", "8", "--num-evaluations", "2", "--model.width", "8"]


@pytest.fixture(scope="module")
def relatives(tmp_path_factory):
    """A folder with runs of a VAE, an autoregressive model and a GAN in it."""
    folder = tmp_path_factory.mktemp("relatives")
    for name in ("vae", "autoregressive", "gan"):
        assert run(["train", "digits", "--model", name, "--out", str(folder / name), *SMALL]) == 0
    return folder


def said(capsys, *arguments):
    status = run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.mark.parametrize(("name", "kind"), [("vae", "bound (vae)"), ("autoregressive", "exact"), ("gan", "none")])
def test_evaluate_and_report_say_what_the_likelihood_is(relatives, name, kind, capsys):
    status, out, _ = said(
        capsys, "evaluate", relatives / name, "--num-samples", 20, "--num-examples", 12, "--no-baselines"
    )
    assert status == 0
    assert ("left out: " if kind == "none" else kind) in "".join(out.splitlines()[1:3])
    status, out, _ = said(capsys, "report", relatives / name)
    assert status == 0
    page = (relatives / name / "report.html").read_text()
    assert "Frechet distance" in page
    assert ("No likelihood (" if kind == "none" else f"bits/dim, {kind}") in page


def test_evaluate_prints_terms_and_an_importance_weighted_bound(relatives, capsys):
    given = ["--num-samples", 20, "--num-examples", 12, "--no-baselines", "--importance", 20]
    status, out, _ = said(capsys, "evaluate", relatives / "vae", *given)
    assert status == 0
    values = {line.split()[0]: line.split()[1] for line in out.splitlines()[2:6]}
    assert float(values["test"]) == pytest.approx(float(values["reconstruction"]) + float(values["prior"]), abs=0.02)
    assert float(values["importance-weighted"]) < float(values["test"]) + 0.05


def test_score_and_sample(relatives, tmp_path, capsys):
    given = ["digits", "--split", "test", "-o", tmp_path / "s.csv"]
    assert said(capsys, "score", relatives / "vae", *given, "--importance", 3)[0] == 0
    assert "3 importance samples" in (tmp_path / "s.csv").read_text()
    assert said(capsys, "sample", relatives / "gan", "-n", 3, "-o", tmp_path / "x.npy")[0] == 0
    assert np.load(tmp_path / "x.npy").shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "gan", "digits", "-o", "s.csv"], "no likelihood"),
        (
            ["score", "autoregressive", "digits", "-o", "s.csv", "--importance", "3"],
            "importance samples are of latents",
        ),
        (["score", "vae", "digits", "-o", "s.csv", "--ode"], "--ode has no effect on the model vae"),
        (["sample", "vae", "--steps", "3"], "--steps has no effect on the model vae"),
        (["sample", "vae", "-o", "x.gif"], "cannot write samples"),
        (["evaluate", "gan", "--num-steps", "3"], "--num-steps has no effect on the model gan"),
        (["evaluate", "vae", "--num-samples", "3"], "at least 20"),
        (["impute", "vae", "digits", "-o", "x.npz"], "which is no denoiser"),
        (["edit", "vae", "digits", "-o", "x.png"], "which is no denoiser"),
        (["distill", "vae"], "which is no denoiser"),
        (["classifier", "gan"], "which is no denoiser"),
        (["train", "digits", "--model", "vae", "--schedule.name", "cosine"], "--schedule.name has no effect"),
        (["train", "digits", "--model", "vae", "--model.decoder", "bernoulli"], "binarise the data"),
        (["train", "digits", "--model", "vae", "--conditional"], "takes no condition"),
        (["train", "digits", "--model", "transformer"], "--model is transformer: choose one of"),
        (["compare", "digits", "--steps", "2", "--minutes", "3"], "two budgets"),
        (["compare", "digits", "--steps", "0"], "--steps is 0"),
        (["compare", "digits", "--conditional"], "without conditions"),
    ],
)
def test_what_a_relative_has_not_is_one_line(relatives, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(relatives)
    status, _, err = said(capsys, *arguments)
    assert status == 2
    assert message in err.replace("\n", " ")


def test_compare_prints_one_table_and_its_answers(tmp_path, capsys):
    points = tmp_path / "points.npy"
    np.save(points, np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32))
    given = ["--steps", 2, "--models", "diffusion", "gan", "--num-examples", 10, "--num-samples", 20]
    status, out, _ = said(capsys, "compare", points, *given, "--out", tmp_path / "c")
    assert status == 0
    assert "Does diffusion give better samples than the adversarial network?" in out
    assert "Not asked: it takes both models" in out
    assert (tmp_path / "c" / "comparison.html").is_file()
