"""`--json`: the figures of every verb for a script, and the exit statuses."""

import json
from importlib.metadata import version

import numpy as np
import pytest

from lowerbound.cli import audit as audit_verb
from lowerbound.cli import doctor as doctor_verb
from lowerbound.cli.figures import as_line
from lowerbound.cli.main import VERBS, run
from lowerbound.files.records import Measured

TINY = ["--steps", "2", "--batch-size", "8", "--network.width", "8", "--num-evaluations", "1", "--num-pictures", "1"]
TALKS = {
    "studio": "it serves until it is stopped",
    "completion": "it prints a script",
    "import": "it needs a pipeline",
    "audit": "see below",
}
"""The verbs that are not in the table below."""
FEW = ["--num-times", "1"]
COMMANDS = {
    "train": (["{tmp}/many.npy", "-o", "{tmp}/new", *TINY], {"state": "complete", "step": 2, "model": "diffusion"}),
    "sample": (
        ["{moons}", "-n", "5", "--steps", "2", "-o", "{tmp}/drawn.npy"],
        {"num_samples": 5, "calls_per_sample": 2},
    ),
    "evaluate": (["{moons}", "--quick", "--num-samples", "20", "--num-examples", "20", *FEW], {"own": True}),
    "score": (["{moons}", "{tmp}/x.npy", "-o", "{tmp}/s.csv", *FEW], {"num_examples": 40, "calls_per_example": 1}),
    "compress": (["{digits}", "{tmp}/four.npy", "--num-steps", "2", "-o", "{tmp}/d.lb"], {"num_examples": 4}),
    "decompress": (["{tmp}/four.lb", "-o", "{tmp}/d.npy"], {"num_examples": 4, "out": "{tmp}/d.npy"}),
    "merge": (["{tmp}/parts.csv"], {"num_examples": 40}),
    "classifier": (["{digits}", "--steps", "2", "--width", "8"], {"out": "{digits}/classifier.safetensors"}),
    "distill": (["{moons}", "--updates", "2", "-o", "{tmp}/few", "--no-compare"], {"out": "{tmp}/few"}),
    "impute": (
        ["{moons}", "{tmp}/gaps.npy", "-o", "{tmp}/i.npz", "--steps", "2", "--num-samples", "2"],
        {"num_examples": 40, "share_missing": 0.5},
    ),
    "forecast": (
        ["{series}", "{tmp}/load.csv", "-o", "{tmp}/f.csv", "--steps", "1", "--num-samples", "2"],
        {"num_samples": 2, "num_steps": 4, "num_series": 1},
    ),
    "edit": (
        ["{moons}", "{tmp}/x.npy", "--mode", "round-trip", "-n", "2", "-o", "{tmp}/e.npy", "--flow-tolerance", "0.1"],
        {"num_rows": 2},
    ),
    "compare": (
        ["{tmp}/many.npy", "--models", "vae", "flow", "--steps", "1", "--num-samples", "20", "-o", "{tmp}/all"],
        {"steps": 1, "left_out": {}},
    ),
    "export": (["{digits}", "--as", "hub", "-o", "{tmp}/hub"], {"kind": "hub", "out": "{tmp}/hub"}),
    "explore": (["-o", "{tmp}/e.html"], {"page": "{tmp}/e.html"}),
    "report": (["{moons}"], {"page": "{moons}/report.html"}),
    "runs": (["{folder}"], {"path": "{folder}/run", "state": "complete"}),
    "doctor": ([], {"lowerbound": version("lowerbound")}),
}
"""Of each verb its arguments, and some of its figures."""


@pytest.fixture(scope="module")
def places(tmp_path_factory, trained, trained_moons):
    """Runs, and files for the verbs to read."""
    tmp = tmp_path_factory.mktemp("json")
    folder = tmp / "folder"
    hours = np.datetime64("2024-01-01T00:00:00") + np.arange(300) * np.timedelta64(1, "h")
    load = "\n".join(f"{hour},{np.sin(k / 4):.4f}" for k, hour in enumerate(hours))
    (tmp / "load.csv").write_text(f"date,load\n{load}\n")
    points = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    np.save(tmp / "x.npy", points)
    np.save(tmp / "many.npy", np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32))
    np.save(tmp / "gaps.npy", np.where([True, False], points, np.nan).astype(np.float32))
    np.save(tmp / "four.npy", np.zeros((4, 8, 8), np.uint8))
    assert (
        run(["train", str(tmp / "load.csv"), "-o", str(folder / "run"), "--window", "8", "--horizon", "4", *TINY]) == 0
    )
    moons = str(trained_moons)
    for shard in ("1/2", "2/2"):
        parts = ["-o", str(tmp / "parts.csv"), "--shard", shard, "--batch-size", "20", *FEW]
        assert run(["score", moons, str(tmp / "x.npy"), *parts]) == 0
    assert run(["compress", str(trained), str(tmp / "four.npy"), "--num-steps", "2", "-o", str(tmp / "four.lb")]) == 0
    few = ["--quick", "--num-samples", "20", "--num-examples", "20", *FEW]
    assert run(["evaluate", moons, *few]) == 0
    return {"tmp": tmp, "digits": trained, "moons": moons, "folder": folder, "series": folder / "run"}


def told(arguments, capsys, status=0) -> tuple[list[dict], str]:
    """The figures of a command line, and what it says beside them."""
    capsys.readouterr()
    assert run(arguments) == status
    out, err = capsys.readouterr()
    assert "Infinity" not in out
    assert "NaN" not in out
    return [json.loads(line) for line in out.splitlines()], err


def test_no_verb_is_forgotten():
    assert {*COMMANDS, *TALKS} == {*VERBS}


@pytest.mark.parametrize("verb", COMMANDS)
def test_figures_alone_are_printed(verb, places, capsys):
    arguments, expected = COMMANDS[verb]
    (figures,), sentences = told([verb, *(each.format(**places) for each in arguments), "--json"], capsys)
    for name, value in expected.items():
        assert figures[name] == (value.format(**places) if isinstance(value, str) else value), name
    assert len(sentences.strip().splitlines()) >= 1  # which people read are printed all the same


def test_figures_are_those_of_the_sentences(places, tmp_path, capsys):
    arguments = ["score", places["moons"], str(places["tmp"] / "x.npy"), "-o", str(tmp_path / "s.csv"), *FEW]
    (figures,), _ = told([*arguments, "--json"], capsys)
    assert run(arguments) == 0
    assert capsys.readouterr().out.startswith(str(Measured(*figures["bits_per_dim"])))


def test_a_mistake_prints_no_figures(places, capsys):
    assert told(["score", places["moons"], "nowhere", "-o", "s.csv", "--json"], capsys, status=2)[0] == []


def test_a_check_that_fails_has_a_status_of_its_own_and_figures(places, capsys, monkeypatch):
    """Of a normal density in the run's place, as it is and taken twice."""
    measured, few = audit_verb.audit, ["--num-draws", "300", "--num-samples", "200"]

    def normal(times):
        def log_prob(x):
            return -(np.asarray(x) ** 2).sum(1) / 2 - np.log(2 * np.pi) + np.log(times)

        sample = np.random.default_rng(0).normal(size=(10_000, 2))
        return lambda run, data, **settings: measured(log_prob, sample=lambda num: sample[:num], **settings)

    monkeypatch.setattr(audit_verb, "audit", normal(1))
    (figures,), _ = told(["audit", places["moons"], *few, "--json"], capsys)
    assert "fail" not in {check["verdict"] for check in figures["checks"]}
    monkeypatch.setattr(audit_verb, "audit", normal(2))
    (figures,), said = told(["audit", places["moons"], *few, "--json"], capsys, status=3)
    assert "normalisation by quadrature" in said
    assert said.splitlines()[-1].startswith("failed: the density of")
    assert "fail" in {check["verdict"] for check in figures["checks"]}


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    """Python then prints where, and exits with 1."""
    monkeypatch.setattr(doctor_verb, "main", lambda arguments: 1 / 0)
    for arguments in (["doctor"], ["doctor", "--json"]):
        with pytest.raises(ZeroDivisionError):
            run(arguments)


def test_what_json_has_no_word_for():
    line = as_line({"a": float("nan"), "b": np.float32(1.5), "c": Measured(1.0, float("inf")), "d": (np.int64(2),)})
    assert line == '{"a": null, "b": 1.5, "c": [1.0, null], "d": [2]}'
