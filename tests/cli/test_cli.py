"""The command line as a user meets it."""

import json
import os
import re
import subprocess
import sys

import pytest

from lowerbound.cli.main import VERBS, run
from lowerbound.cli.train import run_folder
from lowerbound.errors import InputError

TINY = ["--steps", "6", "--batch-size", "8", "--network.width", "8", "--network.blocks-per-level", "1"]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb, capsys):
    with pytest.raises(SystemExit, match="0"):
        run([verb, "--help"])
    assert f"Example: lowerbound {verb}" in " ".join(capsys.readouterr().out.split())


def test_no_verb_shows_them_all(capsys):
    assert run([]) == 2
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)


def test_a_verb_loads_no_library_that_it_has_no_use_for():
    code = (
        "import sys, torch; import lowerbound as lb; import lowerbound.cli.score\n"
        "lb.open_dataset('digits')\n"
        "gaussian = lb.Gaussian(torch.zeros(2), torch.eye(2), lb.LinearGamma())\n"
        "lb.log_prob(gaussian, torch.zeros(1, 2), tolerance=0.1)\n"
        "loaded = {'matplotlib', 'sklearn', 'scipy.stats', 'sympy', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_evaluate_and_report(trained, capsys):
    few = ["--num-samples", "20", "--num-times", "2", "--num-examples", "60", "--ode-examples", "4"]
    assert run(["evaluate", str(trained), *few]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"test +\d+\.\d+ ± \d+\.\d+ +bound \(continuous time, given its condition\), 60 examples", printed)
    for name in ("reconstruction", "prior", "diffusion", "histogram", "Gaussian mixture"):
        assert name in printed
    figures = json.loads((trained / "evaluation" / "evaluation.json").read_text())["parts"]["likelihood"]["figures"]
    terms = {name: bits[0] for name, bits in figures["terms"].items()}
    assert set(terms) == {"reconstruction", "prior", "diffusion"}
    assert figures["total"][0] == pytest.approx(sum(terms.values()), rel=1e-5)
    assert run(["report", str(trained)]) == 0
    page = (trained / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert not re.search(r"(src|href)=.https?:", page)
    assert "Draw a density of your own" in page
    capsys.readouterr()
    assert run(["evaluate", str(trained), "--quick"]) == 0
    assert capsys.readouterr().out.count("kept from before") == 2


def test_dry_run_writes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["train", "moons", "--out", str(out), "--dry-run", "--network.width", "8"]) == 0
    printed = capsys.readouterr().out
    assert '"kind": "mlp"' in printed
    assert "mixture   of at most" in printed
    assert "parameters" in printed
    assert "s per step" in printed
    assert not out.exists()


def test_doctor(capsys):
    assert run(["doctor"]) == 0
    assert "torch" in capsys.readouterr().out


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=str
)
def test_a_terminal_without_signs(trained_moons, tmp_path, locale):
    command = [
        sys.executable,
        "-m",
        "lowerbound",
        "score",
        str(trained_moons),
        "moons",
        "--split",
        "test",
        "--num-times",
        "1",
    ]
    environment = {**os.environ, "LANG": "C", "LC_ALL": "C", "NO_COLOR": "1", "COLUMNS": "80", **locale}
    told = subprocess.run([*command, "-o", tmp_path / "a.csv"], capture_output=True, env=environment, check=False)
    assert told.returncode == 0, told.stderr
    assert re.search(rb"^-?\d+\.\d+ \+- \d+\.\d+ bits/dim", told.stdout)
    assert b"\x1b" not in told.stdout + told.stderr


MISTAKES = {
    "an unknown verb": (["trian"], "no verb 'trian'; did you mean train? Choose one of train, "),
    "a misspelt run": (["report", "{run}x"], "x: did you mean "),
    "half an option": (["train", "digits", "--step", "1"], "Perhaps you meant: --steps. See"),
    "unknown data": (["train", "digts", "--steps", "1"], "did you mean digits"),
    "no data": (
        ["train"],
        "error: DATA is missing: bundled data, hf:NAME, a folder or archive of images, or a file. See",
    ),
    "no data, and an option that does not exist": (
        ["compress", "{run}", "-o", "{tmp}/a.lb", "--examples", "2"],
        "error: DATA is missing. See",
    ),
    "nowhere to write to": (["score", "{run}", "digits"], "error: --out is missing: the .csv"),
    "no value": (["sample", "{run}", "--steps"], "error: --steps takes a value, and none was given. See"),
    "a choice that is not there": (
        ["sample", "{run}", "--sampler", "dpm+++"],
        "error: --sampler is dpm+++; did you mean dpm++? Choose one of ancestral, ddim, ",
    ),
    "no device": (
        ["sample", "{run}", "--device", "gpu"],
        "--device is gpu, which is no device: choose cpu, cuda or auto",
    ),
    "a file that is not there": (
        ["score", "{run}", "no.npy", "-o", "{tmp}/a.csv"],
        "there is no file or folder no.npy, seen",
    ),
    "a run for data": (["score", "{run}", "{run}", "-o", "{tmp}/a.csv"], "is the folder of a run, and no data"),
    "an option that does not exist": (["train", "digits", "--lr", "1"], "--lr"),
    "a word where a number belongs": (["sample", "{run}", "--steps", "many"], "many"),
    "a word where a number belongs, without None": (
        ["sample", "{run}", "-n", "many"],
        "takes a whole number, not many",
    ),
    "a word behind another option's number": (
        ["sample", "{run}", "-n", "5", "--batch-size", "many"],
        "--batch-size takes a whole number, not many",
    ),
    "a word before a short option": (
        ["sample", "{run}", "--steps", "many", "-n", "5"],
        "--steps takes a whole number, not many. See",
    ),
    "one number where two belong": (["sample", "{run}", "--guidance-interval", "1"], "takes two numbers, not 1"),
    "a misspelt option": (
        ["sample", "{run}", "--stpes", "1"],
        "not understood: --stpes 1. Perhaps you meant: --steps. See",
    ),
    "two lengths": (["train", "digits", "--steps", "1", "--minutes", "1"], "give one of the two"),
    "no such run": (["sample", "{tmp}/nowhere"], "there is no run"),
    "no steps": (["sample", "{run}", "--steps", "0", "-o", "{tmp}/a.png"], "--steps is 0: give 1 or more"),
    "no samples": (["sample", "{run}", "-n", "0"], "--num-samples is 0"),
    "a label that does not exist": (["sample", "{run}", "--label", "x"], "choose from 0, 1"),
    "an unknown file type": (["sample", "{run}", "-o", "{tmp}/a.jpg"], "give a name in .png"),
    "a folder that does not exist": (["sample", "{run}", "-o", "{tmp}/no/a.png"], "does not exist"),
    "eta without DDIM": (["sample", "{run}", "--eta", "0.5"], "no effect on unipc-sde: it belongs to ddim"),
    "eta out of range": (["sample", "{run}", "--sampler", "ddim", "--eta", "2"], "between 0"),
    "a run without evaluation": (["report", "{fresh}"], "no evaluation"),
    "trainings of a quick evaluation": (
        ["evaluate", "{run}", "--quick", "--seeds", "2"],
        "--seeds 2 has no effect with --quick",
    ),
    "samplers at no number of calls": (["evaluate", "{run}", "--samplers", "heun"], "no effect without --calls"),
    "no network calls": (["evaluate", "{run}", "--num-times", "0"], "give 1 or more"),
    "another configuration": (["train", "digits", "--out", "{run}", *TINY], "--conditional: "),
    "gammas the wrong way round": (
        ["train", "digits", "--schedule.gamma-min", "9", "--steps", "1"],
        "--schedule.gamma-min",
    ),
    "a batch larger than the data": (["train", "digits", "--batch-size", "4000", "--steps", "1"], "1439 training"),
    "a device that is not there": (["train", "digits", "--device", "cuda:99", "--steps", "1"], "cuda:99"),
    "an MLP for images": (["train", "digits", "--network.kind", "mlp", "--steps", "1"], "unet"),
    "a setting without effect": (["train", "digits", "--layout", "NHWC", "--steps", "1"], "no effect"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_exit_code_2(mistake, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fresh = tmp_path / "fresh"
    if mistake == "a run without evaluation":
        assert (
            run(["train", "moons", "--out", str(fresh), "--steps", "1", "--batch-size", "8", "--network.width", "8"])
            == 0
        )
    arguments, message = MISTAKES[mistake]
    filled = [argument.format(run=trained, tmp=tmp_path, fresh=fresh) for argument in arguments]
    capsys.readouterr()
    assert run(filled) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert message in printed
    assert len(printed.strip().splitlines()[-1]) < 500


def test_a_run_never_lies_inside_its_data(tmp_path, monkeypatch):
    data = tmp_path / "my.images"
    (data / "sub").mkdir(parents=True)
    for place, source, expected in (
        (data, ".", tmp_path / "runs" / "my.images"),
        (data / "sub", "..", tmp_path / "runs" / "my.images"),
        (tmp_path, "my.images", tmp_path / "runs" / "my.images"),
        (tmp_path, "digits", tmp_path / "runs" / "digits"),
        (data, "digits", data / "runs" / "digits"),
        (tmp_path, "some/x.npy", tmp_path / "runs" / "x"),
    ):
        monkeypatch.chdir(place)
        assert run_folder(source, None).resolve() == expected
    with pytest.raises(InputError, match="inside the data"):
        run_folder(str(data), data / "sub" / "run")
    assert run_folder(str(data), tmp_path / "run") == tmp_path / "run"
