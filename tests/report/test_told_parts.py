"""What figures say is kept apart from what computes them, and every kind of figures says something."""

import ast
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from training.runs import tiny_run

from lowerbound import evaluate
from lowerbound.data.encoding import Levels
from lowerbound.errors import InputError
from lowerbound.evaluate import evaluation, likelihood_parts
from lowerbound.evaluate.density import flow_bounds
from lowerbound.evaluate.diagnosis import Diagnosis, Region
from lowerbound.evaluate.folder import KINDS, evaluation_folder
from lowerbound.evaluate.likelihood import Likelihood
from lowerbound.evaluate.part import Figures
from lowerbound.evaluate.settings import Settings
from lowerbound.files.records import Measured
from lowerbound.models import Effort
from lowerbound.report import parts
from lowerbound.report.description import tell
from lowerbound.report.page import CAPTIONS
from lowerbound.report.parts import description
from lowerbound.run import open_run
from lowerbound.run.generate import network_calls
from lowerbound.scoring import Flow


def test_what_computes_knows_nothing_of_what_tells():
    for path in Path(evaluate.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            assert not (module or "").startswith(("lowerbound.report", "lowerbound.words.rounding")), path.name


def test_every_kind_of_figures_has_a_teller():
    assert set(KINDS.values()) - {Figures} == set(tell.registry) - {object}


def test_a_bound_is_told_term_by_term():
    terms = {"reconstruction": Measured(0.1, 0.01), "level 2": Measured(1.4, 0.1)}
    found = Likelihood(
        Measured(1.5, 0.1), "bound", terms, 9, 4, drawn_from=15, weighted=Measured(1.4, 0.1), weighted_kind="IW"
    )
    (table,) = description(found).tables
    assert [row[0] for row in table.rows] == ["test", "  reconstruction", "  level 2", "  importance-weighted"]
    assert table.rows[0][2] == "bound, 9 examples drawn from 15, 4 draws each"
    assert table.rows[2][1:] == ("1.40 ± 0.10", "of a latent given those above it")
    assert table.rows[3][2] == "IW"
    (table,) = description(Likelihood(Measured(1.5, math.nan), "exact", {}, 1)).tables
    assert table.rows == (("test", "1.5 (error not known)", "exact, 1 example"),)


def test_figures_that_contradict_each_other_are_no_traceback(monkeypatch):
    some = Measured(0.1, 0.01)
    region = Region("small noise", -2.0, 1.0, some, 1.0, Measured(1.0, 0.01), some, 0.0, 0.0)
    found = Diagnosis(some, some, -9.0, 5.0, 1.0, None, 0.1, some, (region,), 9)
    assert description(found).findings
    for changes in ({"regions": ()}, {"gamma_max": 1e9}, {"gamma_max": -9.0}, {"level_width": -1.0}, {"spread": 0.0}):
        with pytest.raises(InputError, match="contradict each other"):
            replace(found, **changes)
    monkeypatch.setattr(parts, "tell", lambda figures: [][figures.num_examples])
    with pytest.raises(InputError, match=r"contradict each other: .*--anew"):
        description(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(tiny_run(tmp_path_factory.mktemp("parts") / "run", steps=2).path)


SMALL = Settings(num_examples=5, num_samples=20, with_baselines=False, num_flow=3, flow=Flow(tolerance=0.1))


def test_the_bound_is_not_drawn_twice_and_samples_are_encoded_once(run, monkeypatch):
    """The flow stands beside the bound of the likelihood's own part, where that was drawn as often as it takes."""
    encoded, encode = [], Levels.encode

    def counted(self, raw):
        encoded.append(raw.tobytes())
        return encode(self, raw)

    def not_again(*arguments):
        raise AssertionError("drawn twice")

    monkeypatch.setattr(Levels, "encode", counted)
    with monkeypatch.context() as patch:
        patch.setattr(likelihood_parts, "flow_bounds", not_again)
        found = evaluation.evaluate(run, run.open_dataset(), SMALL)
    assert found.parts["density"].missing is None
    likelihood, density = found.figures["likelihood"], found.figures["density"]
    assert isinstance(likelihood, Likelihood)
    assert (likelihood.num_calls, density.num_times) == (32, 32)
    bounds = flow_bounds(run, run.open_dataset(), 3, Effort())
    assert density.bound == pytest.approx(Measured.of(bounds.bits), rel=1e-5)
    samples = evaluation_folder(run) / "samples.npy"
    assert sum(each in samples.read_bytes() for each in encoded) == 1
    few = replace(SMALL, num_times=2)
    with network_calls(run.denoiser) as calls:
        found = evaluation.evaluate(run, run.open_dataset(), few)
    assert sum(calls) < 3 * 32, "the flow's figures do not depend on the bound's own number of draws"
    monkeypatch.setattr(evaluation, "sample_parts", lambda subject: ())
    with network_calls(run.denoiser) as calls:
        found = evaluation.evaluate(run, run.open_dataset(), replace(few, anew=True))
    assert found.figures["density"].num_times == 32, "two draws are too few for a difference"
    assert sum(calls) > 3 * 32


def test_pictures_have_captions(run):
    evaluation.evaluate(run, run.open_dataset(), SMALL)
    kept = json.loads((evaluation_folder(run) / "evaluation.json").read_text())
    names = {file["name"] for part in kept["parts"].values() for file in part["files"]}
    assert {name for name in names if name.endswith(".png")} <= set(CAPTIONS)
    assert {"samples.npy", "bits.npy", "path.png"} <= names


def test_an_evaluation_of_an_older_version_is_made_anew(run):
    path = evaluation_folder(run) / "evaluation.json"
    evaluation.evaluate(run, run.open_dataset(), SMALL)
    kept = json.loads(path.read_text())
    for part in kept["parts"].values():
        part["files"] = [{**file, "caption": "as it was"} for file in part["files"]]
    path.write_text(json.dumps(kept))
    events = []
    evaluation.evaluate(run, run.open_dataset(), SMALL, follow=events.append)
    assert not [event for event in events if isinstance(event, evaluation.Done) and event.seconds is None]
