"""An evaluation answers part by part, keeps each at once, goes on with what is lacking, and is tied to its weights."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file
from training.runs import tiny_run

from lowerbound.cli.main import run as command
from lowerbound.data import open_dataset
from lowerbound.errors import InputError
from lowerbound.evaluate import nearest
from lowerbound.evaluate.evaluation import evaluate
from lowerbound.evaluate.folder import KINDS, evaluation_folder, read_evaluation
from lowerbound.evaluate.likelihood import Likelihood
from lowerbound.evaluate.other import open_evaluated
from lowerbound.evaluate.part import Cost, Pace
from lowerbound.evaluate.sample_parts import sample_parts
from lowerbound.evaluate.settings import Settings
from lowerbound.evaluate.subject import SAMPLES, Subject
from lowerbound.files.records import to_json
from lowerbound.files.weights import weights_file
from lowerbound.report.console import cost_text, event_text, summary
from lowerbound.report.page import page_path, read_own, warnings, write_page
from lowerbound.run import open_run

QUICK = Settings(num_examples=6, num_times=2, num_samples=20, with_baselines=False, num_flow=0)


def as_kept(figures):
    """Figures as they are written, where what is not there, NaN, equals itself."""
    return {name: to_json(record) for name, record in figures.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of digits without labels or a test split worth the name: 15 test examples."""
    folder = tmp_path_factory.mktemp("few")
    examples = open_dataset("digits").examples[:, 0]
    np.savez(folder / "few.npz", train=examples[:120], test=examples[120:135])
    tiny_run(folder / "run", str(folder / "few.npz"), steps=3)
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """The run, without an evaluation."""
    shutil.copytree(trained, tmp_path / "run")
    return open_run(tmp_path / "run")


@pytest.fixture(scope="module")
def evaluated_once(trained, tmp_path_factory):
    """The run with its evaluation."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained, folder)
    evaluated(open_run(folder))
    return folder


@pytest.fixture
def done(evaluated_once, tmp_path):
    """A copy of the run with its evaluation."""
    shutil.copytree(evaluated_once, tmp_path / "run")
    return open_run(tmp_path / "run")


def evaluated(run, settings=QUICK, **given):
    """What was found, and the lines that were said."""
    said = []
    dataset, own = open_evaluated(run, given.pop("data", None))
    found = evaluate(run, dataset, settings, own=own, follow=lambda event: said.append(event_text(event)), **given)
    return found, [*said, summary(found)]


def lines(said):
    return "\n".join(said)


def test_bits_are_told_over_trainings(run, monkeypatch):
    monkeypatch.setattr("lowerbound.evaluate.evaluation.sample_parts", lambda subject: ())
    found, said = evaluated(run, dataclasses.replace(QUICK, seeds=2))
    trainings, likelihood = found.figures["trainings"], found.figures["likelihood"]
    assert trainings.each["0"] == likelihood.total
    assert trainings.each["1"] != likelihood.total
    assert trainings.total.num_trainings == 2
    assert (run.folder.path / "trainings" / "seed-1" / "model.safetensors").is_file()
    assert "mean of 2 trainings" in lines(said)


def test_each_part_is_said_with_its_cost_then_printed_and_kept_before_the_next_begins(run):
    said, written = [], []

    def follow(event):
        kept = read_evaluation(evaluation_folder(run))
        said.append(event_text(event))
        written.append(tuple(kept.parts))

    evaluate(run, run.open_dataset(), QUICK, follow=follow)
    assert said[0].startswith("bits/dim of the bound: 6 examples, 2 calls each, about ")
    assert written[0] == ()
    assert "reconstruction" in said[1]
    assert written[1] == ("likelihood",)
    assert said[2].startswith("samples: 20 samples, 38 calls each, about "), "some of them of early weights"
    assert written[2] == ("likelihood",)
    assert written[3] == ("likelihood", "samples")


def test_what_cannot_be_had_leaves_its_reason_and_the_rest(run):
    run.folder.log.unlink()
    found, said = evaluated(run)
    assert found.parts["distances"].missing.startswith("15 held-out examples: an audit compares at least 20")
    assert "no training records" in found.parts["training"].missing
    assert {"likelihood", "samples", "diagnosis", "quality", "path"} <= set(found.figures)
    assert "left out: 15 held-out examples" in lines(said)
    assert not write_page(run, read_own(run)), "what was left out is no incompleteness"
    page = page_path(run).read_text()
    assert "copies and variety: left out: 15 held-out examples" in page
    assert page.count("data:image/png") == 4


def test_an_interrupted_evaluation_goes_on_and_the_report_says_what_it_lacks(run, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*arguments, **settings):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("lowerbound.evaluate.likelihood_parts.diagnose", kill)
        with pytest.raises(Killed):
            evaluated(run)
    (warning,) = write_page(run, read_own(run))
    assert "incomplete: it was stopped before diagnosis, features, quality, distances, path." in warning
    page = page_path(run).read_text()
    assert page.index('class="warning"') < page.index("bits/dim")
    before = read_own(run).figures
    found, said = evaluated(run)
    kept = [text.split(":")[0] for text in said if "kept from before" in text]
    assert kept == ["bits/dim of the bound", "samples", "audit of the bits/dim", "how the training went"]
    assert as_kept({name: found.figures[name] for name in before}) == as_kept(before)
    assert not write_page(run, read_own(run))
    again = [text for text in evaluated(run)[1][:-1] if not text.startswith(("copies", "  left out"))]
    assert len(again) == 8
    assert all("kept from before" in text.splitlines()[0] for text in again)


def test_parts_are_found_again_where_their_settings_or_the_weights_are_others(done):
    run, first = done, read_own(done)
    other, said = evaluated(run, dataclasses.replace(QUICK, num_times=3))
    assert "bits/dim of the bound: 6 examples, 3 calls each" in lines(said)
    assert "samples: kept from before" in lines(said)
    assert other.figures["likelihood"] != first.figures["likelihood"]
    assert other.figures["quality"] == first.figures["quality"]
    again, said = evaluated(run, dataclasses.replace(QUICK, num_times=3, anew=True))
    assert "kept from before" not in lines(said)
    assert again.figures["likelihood"] == other.figures["likelihood"]
    weights = {name: value * 1.1 for name, value in load_file(run.folder.model).items()}
    told = {name: text for name, text in run.metadata.items() if name != "sha256"}
    run.folder.model.write_bytes(weights_file(weights, {**told, "step": "5"}))
    newer = open_run(run.folder.path)
    (warning,) = warnings(newer, read_own(newer))
    step = run.metadata["step"]
    assert f"of older weights, after step {step}; model.safetensors is now after step 5" in warning
    found, said = evaluated(newer)
    assert "kept from before" not in lines(said)
    assert found.weights["step"] == "5"
    assert warnings(newer, read_own(newer)) == []


def test_a_picture_that_is_not_of_these_figures_is_left_out_and_drawn_again(done):
    run = done
    picture = evaluation_folder(run) / "samples.png"
    drawn = picture.read_bytes()
    picture.write_bytes((evaluation_folder(run) / "data.png").read_bytes())
    (told,) = write_page(run, read_own(run))
    assert "samples.png does not belong to the figures" in told
    _, said = evaluated(run)
    assert "samples: 20 samples" in lines(said)
    assert picture.read_bytes() == drawn
    elsewhere = run.folder.path / "elsewhere.png"
    picture.rename(elsewhere)
    picture.symlink_to(elsewhere)
    (told,) = write_page(run, read_own(run))
    assert "leads out of the evaluation's folder" in told


@pytest.mark.parametrize("name", ["../../x.png", "/etc/x.png", ".x.png", "a/b.png", "evaluation.json", ""])
def test_a_file_of_an_evaluation_has_a_plain_name(done, name):
    path = evaluation_folder(done) / "evaluation.json"
    values = json.loads(path.read_text())
    values["parts"]["samples"]["files"][0]["name"] = name
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"evaluation\.json: parts\.samples\.files\[0\]: .* plain name"):
        read_own(done)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("parts", "likelihood", "figures", "total"), [1.0], r"parts\.likelihood\.figures\.total is \[1\.0\]"),
        (("parts", "quality", "figures", "samples", "frechet"), ["a", 1], r"quality\.figures\.samples\.frechet\[0\]"),
        (
            ("parts", "diagnosis", "figures", "regions"),
            [],
            r"parts\.diagnosis\.figures: .* contradict each other: 0 ranges",
        ),
        (("parts", "diagnosis", "figures", "gamma_min"), 1e9, r"parts\.diagnosis\.figures: .* between gamma = 1e\+09"),
        (("planned",), ["likelihood", "colour"], "unknown part 'colour'"),
    ],
)
def test_figures_are_checked_by_type(done, where, value, message, capsys):
    path = evaluation_folder(done) / "evaluation.json"
    values = target = json.loads(path.read_text())
    for name in where[:-1]:
        target = target[name]
    target[where[-1]] = value
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=message):
        read_own(done)
    assert command(["report", str(done.folder.path)]) == 2
    assert f"lowerbound evaluate {done.folder.path} writes it anew" in capsys.readouterr().err


def test_a_damaged_evaluation_is_written_anew(done):
    (evaluation_folder(done) / "evaluation.json").write_text("[1]")
    _, said = evaluated(done)
    assert "kept from before" not in lines(said)
    assert read_own(done).unfinished == ()


@pytest.mark.parametrize("line", ["[1]", "5", '{"loss": 1}', '{"step": 1e999, "loss": 1, "seconds": 1}'])
def test_a_damaged_log_costs_the_curve_alone(done, line):
    done.folder.log.write_text(f'{{"step": 1, "loss": 2.0, "seconds": 1.0}}\n{line}\n')
    (evaluation_folder(done) / "training.png").unlink()
    found, _ = evaluated(done)
    assert "log.jsonl, line 2 is damaged" in found.parts["training"].missing
    assert "quality" in found.figures


def test_a_quick_look_is_as_large_as_the_pace_allows_and_takes_what_is_there(run, monkeypatch):
    def slow(self, calls_of):
        self.calls, self.seconds = calls_of(1), 0.1

    monkeypatch.setattr(Pace, "probe", slow)
    quick = Settings(quick=True)
    found, said = evaluated(run, quick)
    assert set(found.parts) == {"likelihood", "samples"}
    assert "bits/dim of the bound: 9 examples, 16 calls each, about 14 s" in lines(said)
    assert "9 examples drawn from 15" in lines(said)
    assert "samples: 8 samples, 16 calls each" not in lines(said), "the pace is known better after the bound"
    whole, _ = evaluated(run)
    again, said = evaluated(run, quick)
    assert lines(said).count("kept from before") == 2
    assert as_kept(again.figures) == as_kept(whole.figures)


def test_other_data_of_the_same_kind_have_bits_and_a_folder_of_their_own(done, tmp_path):
    run = done
    own = read_own(run)
    other = tmp_path / "other.npy"
    np.save(other, 16 - open_dataset("digits").examples[:30, 0])
    settings = dataclasses.replace(QUICK, num_examples=None)
    found, said = evaluated(run, settings, data=str(other))
    assert list(found.parts) == ["likelihood"]
    assert not found.own
    bound = found.figures["likelihood"]
    assert isinstance(bound, Likelihood)
    assert bound.num_examples == 30
    assert "on 30 examples of " in said[-1]
    assert to_json(read_own(run)) == to_json(own), "the run's own evaluation stays as it is"
    write_page(run, own)
    assert "Bits per dimension of other data" in page_path(run).read_text()
    moved = tmp_path / "moved.npz"
    shutil.copy(run.config.data.source, moved)
    again, said = evaluated(run, data=str(moved))
    assert again.own
    assert "samples: kept from before" in lines(said)
    np.save(other, np.full((3, 8, 8), 300))
    with pytest.raises(InputError, match="integers from 0 to 255"):
        open_evaluated(run, str(other))


def test_a_run_whose_evaluation_is_not_there_says_what_to_do(run):
    with pytest.raises(InputError, match=r"no evaluation .* yet: lowerbound evaluate"):
        read_own(run)


def test_settings_out_of_range_are_named_by_their_flags():
    for given, message in (
        ({"num_samples": 3}, "--num-samples is 3: at least 20"),
        ({"num_flow": -1}, "--ode-examples is -1"),
        ({"calls": (3, 0)}, "--calls is 0"),
    ):
        with pytest.raises(InputError, match=message):
            Settings(**given)


def test_the_pace_learns_from_parts_whose_calls_are_known():
    pace = Pace()
    assert pace.seconds_for(Cost("ten examples", 10)) is None
    pace.probe(float)
    pace.calls, pace.seconds = 10.0, 10.0
    ten = Cost("ten examples", 10)
    assert cost_text(ten, None) == "ten examples"
    assert cost_text(ten, pace.seconds_for(ten)) == "ten examples, about 10 s"
    pace.add(Cost("a guess", 1, at_least=True), 100.0)
    assert pace.per_call == 1.0
    pace.add(Cost("known", 10), 30.0)
    guess = Cost("a guess", 10, at_least=True)
    assert cost_text(guess, pace.seconds_for(guess)) == "a guess, at least 20 s"


def test_every_part_has_a_kind_by_which_it_is_read(done):
    found = read_own(done)
    assert set(found.planned) <= set(KINDS)
    for name, figures in found.figures.items():
        assert type(figures) is KINDS[name]


@pytest.mark.parametrize("most", [20_000, 300], ids=["all", "some"])
def test_copies_are_told_by_their_numbers_in_the_data_and_how_many_they_were_sought_among(
    run, tmp_path, monkeypatch, most
):
    if most < 1439:
        products = (30 + 179) * (64 + nearest.PRODUCTS_OF_A_PAIR) * most
        monkeypatch.setattr(nearest, "MOST_PRODUCTS", products)
    dataset = open_dataset("digits")
    subject = Subject(run, dataset, Settings(num_samples=30), tmp_path, own=True, pace=Pace())
    copied = subject.references[100:130]
    np.save(tmp_path / SAMPLES, dataset.examples[copied])
    (part,) = (part for part in sample_parts(subject) if part.name == "distances")
    suspects = part.compute(tmp_path, lambda units: None).copies.suspects
    assert {each.sample: each.example for each in suspects} == dict(enumerate(copied.tolist()))
    among = "all 1,439" if most > 1439 else "300 of 1,439"
    assert part.cost.work == f"30 samples, each beside {among} training examples"
