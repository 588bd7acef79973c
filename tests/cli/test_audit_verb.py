"""`lowerbound audit`: a run's density, whatever it was trained on, is one; of discrete data the mass is."""

import json
import re

import numpy as np

from lowerbound.auditing import Audit, Check
from lowerbound.cli.main import run
from lowerbound.data import open_dataset

FEW = ["--num-draws", "60", "--num-samples", "40"]


def test_a_run_is_audited(trained_moons, tmp_path, capsys):
    np.save(tmp_path / "x.npy", open_dataset("moons").examples[:30])
    arguments = [
        "audit",
        str(trained_moons),
        "--data",
        str(tmp_path / "x.npy"),
        "-o",
        str(tmp_path / "audit.json"),
        *FEW,
    ]
    assert run(arguments) == 0
    told = capsys.readouterr().out
    assert "normalisation by importance sampling" in told
    found = json.loads((tmp_path / "audit.json").read_text())
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert found["num_dims"] == 2
    assert verdicts["batches"] == verdicts["repeats"] == verdicts["data of levels"] == "pass"
    assert verdicts["refinement"] == verdicts["bound below the density"] == "pass"
    assert "fail" not in verdicts.values(), told


def test_of_more_states_than_can_be_listed_less_is_asked(trained, capsys):
    assert run(["audit", str(trained), "--num-draws", "20", "--num-samples", "20"]) == 0
    printed = capsys.readouterr().out
    assert "64 dimensions: pass" in printed
    assert "never above independent columns" in printed
    allowed = re.search(r"nats, of ([-+.e\d]+) allowed", printed)
    assert allowed is not None
    assert float(allowed[1]) < 1, "the noise of a bound is the point's own, and excuses no other batch"


def test_what_cannot_be_audited_is_said(trained_moons, tmp_path, capsys):
    assert run(["audit", str(trained_moons), "-o", str(tmp_path / "audit.txt")]) == 2
    assert "ends in .html or .json" in capsys.readouterr().err
    assert run(["audit", str(trained_moons), "-o", str(tmp_path / "nowhere" / "audit.html")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_failure_is_told_by_page_figures_and_exit_status(trained_moons, tmp_path, capsys, monkeypatch):
    check = Check("repeats", "what holds", "fail", "what was seen", "what it points to", 2.0)
    monkeypatch.setattr("lowerbound.cli.audit.audit", lambda *_, **__: Audit("moons", 2, (check,)))
    page = tmp_path / "audit.html"
    assert run(["audit", str(trained_moons), "-o", str(page), "--json"]) == 3
    captured = capsys.readouterr()
    (found,) = json.loads(captured.out)["checks"]
    assert found["verdict"] == "fail"
    assert f"questions and answers: {page}" in captured.err
    assert "what it points to" in page.read_text()
