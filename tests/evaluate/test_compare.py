"""The comparison: one table of what was measured, answers that follow from it, nothing done twice."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from training.runs import tiny_run

from lowerbound.data import open_dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.compare import Comparison, Contest, Standing, compare
from lowerbound.evaluate.quality import Quality
from lowerbound.evaluate.trainings import OverTrainings, difference_of_figures, difference_over_trainings
from lowerbound.files.records import Measured, read_json
from lowerbound.report.comparison import (
    HEADER,
    answers,
    comparison_page,
    likelihood_answer,
    remarks,
    rows,
    samples_answer,
    verdict,
    write_comparison_page,
)
from lowerbound.training.config import DataConfig
from lowerbound.training.fit import SMALLEST_BATCH
from lowerbound.training.folder import RunFolder

MODELS = ("vae", "gan", "diffusion", "autoregressive")


def run_compare(out, num_examples=12, **settings):
    """A comparison on a few hundred points beside the folder."""
    contest = Contest(**{"models": MODELS, "steps": 2, **settings}, num_examples=num_examples, num_samples=24)
    points, told = str(out.parent / "points.npy"), []
    np.save(points, np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32))
    found = compare(open_dataset(points), DataConfig(points), out, contest, say=told.append, show_progress=False)
    return found, told


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "points"
    return out, run_compare(out)[0]


def test_a_comparison_has_a_row_for_each_model_and_says_what_its_bits_are(compared):
    out, found = compared
    table = {row[0]: dict(zip(HEADER, row, strict=True)) for row in rows(found)}
    simple = ["full-covariance Gaussian", "Gaussian copula", "Gaussian mixture"]
    assert [name.split(" (")[0] for name in table] == [*MODELS, *simple, "held-out data"]
    normal = 0.5 * np.log2(2 * np.pi * np.e)  # what the points need
    yardsticks = [row for row in rows(found) if "Gaussian" in row[0]]
    assert all(abs(float(row[1].split(" ±")[0]) - normal) < 0.5 and row[2] == "exact" for row in yardsticks)
    assert [table[model]["kind"] for model in MODELS] == ["bound", "none", "bound", "exact"]
    assert table["gan"]["bits/dim"] == "none"
    assert "±" in table["vae"]["bits/dim"]
    page = write_comparison_page(found, out).read_text()
    assert all(f">{model}<" in page for model in MODELS)
    assert page.count("data:image/png") == len(MODELS)
    assert all(answer.split("?")[0] in page for answer in answers(found))


def test_a_comparison_is_read_as_it_was_written(compared):
    out, found = compared
    path = out / "comparison.json"
    assert read_json(Comparison, path) == found
    path.write_text("{}")
    with pytest.raises(InputError, match=r"comparison\.json: data is lacking"):
        read_json(Comparison, path)


def test_what_is_there_is_not_done_again(compared):
    out, found = compared
    kept = {model: (out / model / "standing.json").stat().st_mtime_ns for model in MODELS}
    again, told = run_compare(out)
    assert again == found
    assert kept == {model: (out / model / "standing.json").stat().st_mtime_ns for model in MODELS}
    assert sum("is complete" in line for line in told) == len(MODELS)


def test_other_settings_are_measured_anew_and_damage_too(compared):
    out, _ = compared
    (out / "vae" / "standing.json").write_text("{")
    again, _ = run_compare(out, num_examples=10)
    assert [each.num_examples for each in again.standings] == [10] * len(MODELS)
    assert json.loads((out / "vae" / "standing.json").read_text())["standing"]["model"] == "vae"


def test_a_model_that_cannot_be_trained_is_left_out_with_the_reason(tmp_path):
    run_compare(tmp_path / "first", models=("vae",))
    shutil.rmtree(tmp_path / "first" / "vae" / "checkpoints")
    with pytest.raises(InputError, match=r"vae is left out: .*its checkpoints are gone"):
        run_compare(tmp_path / "first", models=("vae",))
    found, _ = run_compare(tmp_path / "first", models=("vae", "gan"))
    assert [each.model for each in found.standings] == ["gan"]
    assert remarks(found)[0].startswith("vae is left out:")


def test_a_timed_training_is_made_to_fit_its_minutes_once_for_all_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr("lowerbound.training.fit.ENOUGH_STEPS", 10**9)  # which no machine has time for
    timed = {"models": ("vae",), "steps": None, "minutes": 0.005}
    _, told = run_compare(tmp_path / "out", **timed, seeds=2)
    assert sum(line.startswith("fitted    to 0.005 minutes") for line in told) == 1
    configs = [RunFolder(tmp_path / "out" / name).read_config()[0] for name in ("vae", "vae-seed-1")]
    assert configs[0].training.batch_size == configs[1].training.batch_size < 2 * SMALLEST_BATCH
    assert [config.training.seed for config in configs] == [0, 1]
    monkeypatch.undo()  # settings that would be chosen now have no say in what is there
    _, told = run_compare(tmp_path / "out", **timed, seeds=3)
    assert not any(line.startswith("fitted") for line in told)
    of_third = RunFolder(tmp_path / "out" / "vae-seed-2").read_config()[0]
    assert of_third.training == replace(configs[0].training, seed=2)


def test_other_data_are_refused_before_anything_is_trained(tmp_path):
    run_compare(tmp_path / "out", models=("vae",))
    points = str(tmp_path / "points.npy")
    np.save(points, np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32))
    contest = Contest(models=("vae",), steps=2, seeds=2, num_samples=24)
    with pytest.raises(InputError, match=r"vae was trained on other data than .*choose another --out"):
        compare(open_dataset(points), DataConfig(points), tmp_path / "out", contest, show_progress=False)
    assert not (tmp_path / "out" / "vae-seed-1").exists()


def test_too_few_samples_are_refused_before_anything_is_trained(tmp_path):
    contest = Contest(models=("vae",), steps=2, num_samples=10)
    with pytest.raises(InputError, match="10 samples: at least 12 are needed"):
        compare(open_dataset("moons"), DataConfig("moons"), tmp_path / "out", contest)
    assert not list((tmp_path / "out").glob("*/config.json"))


def test_the_folder_of_a_run_is_refused(tmp_path):
    run = tiny_run(tmp_path / "run", "moons", steps=2).path
    before = sorted(run.iterdir())
    with pytest.raises(InputError, match="is the folder of a run"):
        compare(open_dataset("moons"), DataConfig("moons"), run, Contest(steps=2))
    assert sorted(run.iterdir()) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ()}, "no models"),
        ({"steps": None}, "give one of the two"),
        ({"minutes": 1.0}, "give one of the two"),
        ({"seeds": 0}, "each model is trained once at least"),
        ({"seeds": 10**12}, "seeds from 0 on, one for each training, are below 2\\^32"),
        ({"seeds": 2, "seed": (1 << 32) - 1}, "are below 2\\^32; give fewer"),
    ],
)
def test_what_is_no_comparison_is_refused(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run_compare(tmp_path / "out", **settings)


def test_each_seed_is_a_training_and_a_row_is_of_all(tmp_path):
    found, _ = run_compare(tmp_path / "out", models=("vae",), seeds=2, seed=3)
    assert [(each.model, each.seed) for each in found.standings] == [("vae", 3), ("vae", 4)]
    assert (tmp_path / "out" / "vae-seed-4").is_dir()
    assert found.standings[0].bits != found.standings[1].bits
    over = found.bits["vae"]
    assert over.num_trainings == 2
    assert over.value == pytest.approx(np.mean([each.bits.value for each in found.standings]))
    assert [row[0] for row in rows(found) if "Gaussian" not in row[0]] == ["vae (2 trainings)", "held-out data"]
    assert "seeds 3, 4" in " ".join(remarks(found))
    assert "trained 2 times" in write_comparison_page(found, tmp_path / "out").read_text()


def stands(model: str, seed=0, kernel=(1.0, 0.1)) -> Standing:
    figure, bits = Measured(0.5, 0.01), Measured(1.0, 0.1)
    quality = Quality(figure, Measured(*kernel), figure, figure, figure, figure, 100, 100)
    return Standing(model, seed, "bound", "bound", bits, 100, quality, 0.1, 10, 1, 1.0)


FLOOR = stands("floor").quality
NAMES = ("diffusion", "autoregressive", "gan")
BITS = dict.fromkeys(NAMES[:2], OverTrainings(1.0, 0.1, 10.0, 3))
NOTHING = Comparison("data", None, 1, "cpu", [stands(name) for name in NAMES], BITS, FLOOR, "space", None, None, {})


@pytest.mark.parametrize(
    ("shift", "answer"), [(-0.1, "? Yes"), (0.1, "? No, as far as its bound says"), (0.0, "? Undecided")]
)
@pytest.mark.parametrize("num_trainings", [1, 3])
def test_the_answer_about_the_likelihood_is_of_paired_examples(shift, answer, num_trainings):
    rng = np.random.default_rng(0)
    examples, small = rng.normal(3, 2, 400), rng.normal(0, 0.1, (num_trainings, 400))
    ours = examples + shift + small - small.mean() * (shift == 0)
    found = replace(NOTHING, difference=difference_over_trainings(ours, np.resize(examples, ours.shape)))
    assert f"{answer}{', of these two trainings' * (num_trainings == 1 and shift != 0)}:" in likelihood_answer(found)
    assert "Not asked" in likelihood_answer(NOTHING)


@pytest.mark.parametrize(("ours", "answer"), [(0.5, "? Yes"), (1.5, "? No"), (1.1, "? Undecided")])
@pytest.mark.parametrize("num_trainings", [1, 3])
def test_the_answer_about_samples(ours, answer, num_trainings):
    each, theirs = ([Measured(value, 0.1)] * num_trainings for value in (ours, 1.0))
    found = samples_answer(replace(NOTHING, samples_difference=difference_of_figures(each, theirs)))
    assert f"{answer}{', of these two trainings' * (num_trainings == 1 and 'U' not in answer)}:" in found
    assert "Not asked" in samples_answer(NOTHING)


def test_the_page_finds_the_pictures_where_a_first_training_was_left_out(tmp_path):
    """Of two seeds the first one failed: the second stands alone, in the folder of its own name."""
    picture = tmp_path / "gan-seed-1" / "standing.png"
    picture.parent.mkdir()
    Image.new("L", (4, 4)).save(picture)
    page = comparison_page(
        replace(NOTHING, standings=[stands("gan", 1)], bits={}, left_out={"gan": "it failed"}), tmp_path
    )
    assert "gan-seed-1: " in page


def test_an_answer_that_a_second_training_would_change_is_undecided():
    """Two trainings that lie as far apart as the models: each alone would be called better, beyond all errors."""
    examples = np.random.default_rng(0).normal(3, 2, 400)
    ours = np.stack([examples - 0.2, examples + 0.1, examples - 0.05])
    alone, together = (difference_over_trainings(each, examples[None]) for each in (ours[:1], ours))
    assert alone.sign == -1
    assert together.sign == 0


@pytest.mark.parametrize("num_trainings", [1, 3])
def test_the_verdict_names_the_next_where_chance_may_have_put_it_behind(num_trainings):
    def found(kernel: float, lead: float) -> str:
        """Of two models with kernel distances of 1 and another, and so many errors between their bits."""
        seeds = range(num_trainings)
        theirs = [stands("vae", seed, (kernel, 0.1)) for seed in seeds]
        standings = [*[stands("gan", seed, (1.0, 0.1)) for seed in seeds], *theirs]
        bits = {
            "gan": OverTrainings(1.0, 0.1, 10.0, num_trainings),
            "vae": OverTrainings(1.1, 0.1, 10.0, num_trainings),
        }
        of_lead = OverTrainings(lead, 1.0, 10.0, num_trainings)
        return verdict(replace(NOTHING, standings=standings, bits=bits, lead=of_lead))

    assert found(1.1, 1.0).count("chance may have put vae behind it") == 2
    assert "chance" not in found(3.0, 5.0)
    assert found(3.0, 5.0).count(", of these trainings") == (2 if num_trainings == 1 else 0)


def test_samples_that_nothing_is_known_of_are_not_called_nearest():
    wild, near = stands("vae", 0, (-5880.0, 8212.0)), stands("gan", 0, (0.5, 0.1))
    assert verdict(replace(NOTHING, standings=[wild, near], bits={})).startswith(
        "Of 2 models gan has the samples nearest"
    )
    alone = verdict(replace(NOTHING, standings=[near], bits={}))
    assert alone.startswith("gan has samples at a kernel distance of ")
    assert "nearest" not in alone
