"""What the panels compute is what the library computes, and what they cannot show they refuse in words."""

import csv
import dataclasses
import gc
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lowerbound.errors import InputError
from lowerbound.guidance import AutoGuidance
from lowerbound.langevin import AnnealedLangevin
from lowerbound.rng import PerSample
from lowerbound.run.autoguided import for_samples, planned_calls
from lowerbound.run.generate import generate
from lowerbound.sampling import SAMPLERS
from lowerbound.sampling.plan import DEFAULT_GRID, DEFAULT_SAMPLER
from lowerbound.scoring import score
from lowerbound.web import draw as drawing
from lowerbound.web import edit, estimators, framework, learn, likelihood, show
from lowerbound.web import run as running
from lowerbound.web.example import of_data, of_file
from lowerbound.web.limits import Limits
from lowerbound.web.recipe import IN_TURN, Recipe, read_recipe

DIGITS = Recipe("digits", steps=4, seed=3, count=5)
MOONS = Recipe("more/moons", steps=4, seed=3, count=5)

NPY_WITHOUT = (
    b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n\x07"
)


def finished(opened, recipe, limits):
    return list(drawing.draw(opened, recipe, limits))[-1]


def written(opened, recipe, limits, folder):
    """The files of samples, in a folder."""
    frame = finished(opened, recipe, limits)
    _, content = drawing.show(opened, frame, recipe, "")
    for name, data in drawing.files(opened, frame, content, recipe).items():
        (folder / name).write_bytes(data)
    return frame


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_drawn_samples_are_those_of_the_library_to_the_bit(digits, limits, sampler, monkeypatch):
    monkeypatch.setitem(SAMPLERS, "annealed-langevin", AnnealedLangevin(num_corrections=5))
    recipe = replace(DIGITS, sampler=sampler)
    frames = list(drawing.draw(digits, recipe, limits))
    assert [frame.finished for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert frames[0].t > frames[-1].t == 0
    plan = digits.run.diffusion.plan(SAMPLERS[sampler], 4, "visible")
    assert np.array_equal(frames[-1].samples, generate(digits.run, 5, plan, seed=3))


def test_labels_in_turn_and_guidance(digits, limits):
    plain = finished(digits, replace(DIGITS, label="7"), limits)
    guided = finished(digits, replace(DIGITS, label="7", guidance=4.0), limits)
    assert guided.calls == 2 * plain.calls
    assert not np.array_equal(plain.samples, guided.samples)
    turns = finished(digits, replace(DIGITS, label=IN_TURN), limits)
    same = generate(digits.run, 5, digits.run.diffusion.plan(num_steps=4), seed=3, cond=torch.arange(5))
    assert np.array_equal(turns.samples, same)


@pytest.mark.parametrize("suffix", ["png", "npy", "npz"])
def test_a_file_brings_its_samples_back_to_the_bit(digits, limits, tmp_path, suffix):
    frame = written(digits, replace(DIGITS, label=IN_TURN, guidance=2.5), limits, tmp_path)
    recipe = read_recipe(tmp_path / f"samples.{suffix}")
    assert recipe.weights == digits.weights
    assert np.array_equal(finished(digits, recipe, limits).samples, frame.samples)
    assert drawing.note_on_weights(digits, recipe) == ""
    assert "differ" in drawing.note_on_weights(digits, replace(recipe, weights="others"))
    with np.load(tmp_path / "samples.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["x"], frame.samples[:, 0])
    assert np.array_equal(np.load(tmp_path / "samples.npy", allow_pickle=False), frame.samples[:, 0])


def test_a_table_of_points_holds_them_to_the_bit(moons, limits, tmp_path):
    frame = written(moons, MOONS, limits, tmp_path)
    assert replace(read_recipe(tmp_path / "samples.csv"), weights="") == MOONS
    lines = (tmp_path / "samples.csv").read_text().splitlines()[1:]
    rows = list(csv.reader(io.StringIO("\n".join(lines))))
    assert rows[0] == ["dimension 0", "dimension 1"]
    assert np.array_equal(np.array(rows[1:], frame.samples.dtype), frame.samples)


def test_a_recipe_that_says_nothing_is_of_the_default_sampler():
    """Which the page, shown before torch is imported, cannot ask for."""
    assert (Recipe("digits").sampler, Recipe("digits").grid) == (DEFAULT_SAMPLER, DEFAULT_GRID)


def test_an_address_carries_a_recipe():
    query = dict(pair.split("=") for pair in replace(DIGITS, sampler="ddim", label="7").query[1:].split("&"))
    assert Recipe.of_query(query, Recipe("other")) == replace(DIGITS, sampler="ddim", label="7")
    with pytest.raises(InputError, match="no number"):
        Recipe.of_query({"steps": "many"}, DIGITS)
    with pytest.raises(InputError, match="seed"):
        Recipe.of_query({"seed": "-1"}, DIGITS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 9}, "9 samples.*1 to 8"),
        ({"count": 0}, "0 samples"),
        ({"steps": 21}, "21 steps.*1 to 20"),
        ({"sampler": "../ddim"}, "the sampler is"),
        ({"grid": "minimal-error"}, "the grid is"),
        ({"label": "seven"}, "no label"),
        ({"guidance": 2.0}, "needs a label"),
    ],
)
def test_what_is_beyond_a_limit_is_refused(digits, limits, changes, words):
    with pytest.raises(InputError, match=words):
        list(drawing.draw(digits, replace(DIGITS, **changes), limits))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pkl", b"\x80\x04."),
        ("a.png", b"\x89PNG\r\n\x1a\n broken"),
        ("a.npz", b"PK\x03\x04 broken"),
        ("a.npy", b"\x93NUMPY broken"),
        ("b.npy", NPY_WITHOUT),
        ("a.csv", b"1,2\n"),
        ("b.csv", b"# lowerbound-recipe: {\n"),
        ("c.csv", b'# lowerbound-recipe: {"run": "digits", "count": "many"}\n'),
        ("d.csv", b'# lowerbound-recipe: {"run": "digits", "command": "rm"}\n'),
        ("e.csv", b"\xff\xfe"),
    ],
)
def test_a_file_without_a_recipe_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        read_recipe(tmp_path / name)


def test_python_objects_are_never_read(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.savez(file, **{"lowerbound-recipe": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(InputError, match="damaged"):
        read_recipe(tmp_path / "a.npz")


def numbers_of(html):
    """The cells of a table, by their row's first."""
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td>", html)
    return dict(rows)


def test_an_example_s_terms_are_the_library_s(digits):
    example = of_data(digits, "test", 2)
    scores = score(digits.run, example.raw, cond=example.cond, numbers=example.numbers, by="column")
    cells = numbers_of(likelihood.terms(example, scores))
    assert float(cells["diffusion"]) == pytest.approx(scores.diffusion[0], abs=1e-4)
    assert float(cells["log p, at least"].split()[0]) == pytest.approx(scores.nats[0], abs=0.01)
    told = re.search(r"Bits by pixel, (\S+) in all", likelihood.entries(digits, scores))
    assert float(told[1]) == pytest.approx(scores.bits_per_dim[0] * 64, rel=1e-3)
    by_noise = score(digits.run, example.raw, cond=example.cond, numbers=example.numbers, by="noise")
    assert "data:image/png" in likelihood.bands(digits, by_noise)
    assert "held-out and training" in likelihood.standing_picture(digits, scores)


def test_the_nearest_training_example_of_one_is_itself(digits, moons):
    for opened in (digits, moons):
        example = of_data(opened, "train", 4)
        _, numbers, distances = likelihood.neighbours(opened, example.raw)
        assert numbers[0, 0] == example.number
        assert distances[0, 0] < 1e-6
        assert str(example.number) in likelihood.near(opened, example)


def test_the_flow_of_a_point(moons):
    cells = numbers_of(likelihood.by_flow(moons, of_data(moons, "test", 0), 0))
    assert np.isfinite(float(cells["bits/dim"].split()[0]))


def test_one_s_own_example(digits, tmp_path):
    example = of_data(digits, "test", 0)
    np.save(tmp_path / "one.npy", example.raw[:, 0])
    assert np.array_equal(of_file(digits, tmp_path / "one.npy").raw, example.raw)
    Image.fromarray(example.raw[0, 0]).save(tmp_path / "one.png")
    assert np.array_equal(of_file(digits, tmp_path / "one.png").raw, example.raw)
    Image.fromarray(np.full((9, 8), 255, np.uint8)).save(tmp_path / "large.png")
    with pytest.raises(InputError, match="takes examples of shape"):
        of_file(digits, tmp_path / "large.png")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        of_file(digits, tmp_path / "objects.npy")
    with pytest.raises(InputError, match=r"\.png picture"):
        of_file(digits, tmp_path / "one.pkl")
    with pytest.raises(InputError, match="the test split has the examples 0 to"):
        of_data(digits, "test", 100_000)


def test_filled_in_answers_leave_what_is_known(digits, moons):
    example = of_data(digits, "test", 0)
    missing = np.zeros((1, 8, 8), bool)
    missing[:, :4] = True
    answers, known, spread = edit.fill(digits, example, missing, "replacement", 3, 5, 0)
    assert "3 answers" in answers
    assert "mean" in known
    assert "spread" in spread
    for nothing in (np.zeros((1, 8, 8), bool), np.ones((1, 8, 8), bool)):
        with pytest.raises(InputError, match="marked"):
            edit.fill(digits, example, nothing, "replacement", 3, 5, 0)
    point = of_data(moons, "test", 0)
    cells = numbers_of(edit.fill(moons, point, np.array([False, True]), "replacement", 3, 5, 0)[0])
    assert set(cells) == {"dimension 1"}


def test_between_and_variations(moons, digits):
    first, second = of_data(moons, "test", 0), of_data(moons, "test", 1)
    way = edit.between(moons, first, second, 2, 0)
    assert "From example 0" in way
    # the ends are the examples themselves
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", way)
    assert [row[0] for row in rows] == [first.name, "33% of the way", "67% of the way", second.name]
    for row, example in ((rows[0], first), (rows[-1], second)):
        assert list(map(float, row[1:])) == pytest.approx(example.raw[0].tolist(), rel=1e-5)
    varied = edit.variations(digits, of_data(digits, "test", 0), 0.5, 2, 0)
    assert "2 variations" in varied


def test_a_schedule_s_figures_at_a_time():
    schedule = learn.schedule_of("cosine", -10.0, 6.0, "variance-preserving")
    level = schedule.level(0.5)
    assert f"alpha {level.alpha:.3g}, sigma {level.sigma:.3g}" in learn.curves(schedule, 0.5)
    with pytest.raises(InputError, match="no schedule"):
        learn.schedule_of("best", -10.0, 6.0, "variance-preserving")
    for name in learn.SCHEDULES:
        assert learn.schedule_of(name, -8.0, 5.0, "variance-preserving").gamma_min >= -8.001


def test_the_way_to_noise_starts_at_the_example(digits, monkeypatch):
    ways = []
    monkeypatch.setattr(learn, "denoising_strip", lambda path, way, *_, **look: ways.append(way) or path.touch())
    example = of_data(digits, "test", 0)
    learn.noised(digits, example, 0)
    latents, guesses = ways
    level = digits.run.denoiser.schedule.level(1.0)
    x, eps = digits.run.encode(example.raw), PerSample([0]).normal(digits.run.encode(example.raw))
    assert np.array_equal(latents[-1][1], digits.run.decode(level.alpha * x + level.sigma * eps))
    assert np.array_equal(latents[0][1], example.raw)
    assert len(guesses) == len(latents) == learn.NUM_TIMES


def test_a_run_s_facts_and_copies(digits, moons):
    assert "136" not in running.facts(moons)
    assert "1 x 8 x 8, " in running.facts(digits)
    assert "data:image/png" in running.training(digits)
    assert "lowerbound evaluate" in running.evaluation(digits)
    assert running.copies(moons, 0).count("<tr>") == running.NUM_SAMPLES + 1


def test_three_estimators_of_one_bound():
    exact, draws = estimators.estimates(20)
    means = {name: values.mean() for name, values in draws.items()}
    errors = {name: values.std() / len(values) ** 0.5 for name, values in draws.items()}
    for name, mean in means.items():
        assert mean < exact + 4 * errors[name], "a bound"
        assert abs(mean - means["one-sample"]) < 4 * np.hypot(errors[name], errors["one-sample"]), "one bound"
    assert draws["one-sample"].std() < draws["two-sample"].std()
    shown = estimators.compared(20)
    assert "T-sample, 20 calls" in shown
    assert "data:image/png" in shown
    for wrong in (0, 101):
        with pytest.raises(InputError, match="from 1 to 100"):
            estimators.estimates(wrong)


def test_a_run_of_a_comparison_shows_its_family(digits, tmp_path):
    assert "lowerbound compare digits" in running.family(digits)
    (digits.run.folder.path.parent / "comparison.json").write_text("{}")
    assert "cannot be shown" in running.family(digits)
    (digits.run.folder.path.parent / "comparison.json").unlink()


def test_limits_are_counts():
    with pytest.raises(InputError, match="most"):
        Limits(most_samples=0)


def test_what_is_between_rows_of_a_table_bears_the_names_of_its_columns(moons, monkeypatch):
    given = {}
    monkeypatch.setattr(type(moons.run.spec), "names", ("width", "height"))
    monkeypatch.setattr(show, "sample_grid", lambda *_, **named: given.update(named))
    monkeypatch.setattr(show, "drawn", lambda draw: draw(None))
    monkeypatch.setattr(show, "picture", lambda content, text: text)
    edit._row(moons, np.zeros((2, 2)), "", ["first", "second"])
    assert given["names"] == ("width", "height")


def test_images_are_drawn_guided_by_early_weights_as_the_command_line_does(digits, limits):
    recipe = replace(DIGITS, steps=6, autoguided=True)
    run, plan = digits.run, digits.run.diffusion.plan(num_steps=6)
    guided, alone = finished(digits, recipe, limits), finished(digits, replace(recipe, autoguided=False), limits)
    assert np.array_equal(guided.samples, generate(for_samples(run), 5, plan, seed=3))
    assert np.array_equal(alone.samples, generate(run, 5, plan, seed=3))
    assert guided.calls == planned_calls(for_samples(run), plan) > alone.calls == plan.num_calls
    assert "guided by early weights" in drawing.show(digits, guided, recipe, "")[0]
    labelled = replace(recipe, label="7")
    same = generate(for_samples(run), 5, plan, seed=3, cond=run.labels(["7"] * 5))
    assert np.array_equal(finished(digits, labelled, limits).samples, same)
    free = [finished(digits, replace(labelled, guidance=4.0, autoguided=on), limits) for on in (True, False)]
    assert np.array_equal(free[0].samples, free[1].samples), "classifier-free guidance takes its place"
    assert free[0].calls == 2 * plan.num_calls


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gradio leaves sockets open
def test_what_was_drawn_before_there_was_guidance_by_early_weights_stays(shelf, limits, tmp_path):
    """An address and a file that do not say whether samples were guided are of samples that were not."""
    pytest.importorskip("gradio")
    old = {name: value for name, value in dataclasses.asdict(DIGITS).items() if name != "autoguided"}
    (tmp_path / "old.csv").write_text(f"# lowerbound-recipe: {json.dumps(old)}\n")
    assert not read_recipe(tmp_path / "old.csv").autoguided
    with framework.gradio.Blocks():
        panel = drawing.DrawPanel(shelf, limits, framework.gradio.Dropdown(shelf.names()))
    address = {name: str(value) for name, value in old.items() if value != ""}
    for query, switched in (
        ({}, True),
        ({"run": "digits"}, True),
        ({"run": "more/moons"}, False),
        (address, False),
        (address | {"autoguided": "True"}, True),
        (address | {"autoguided": "False"}, False),
    ):
        values = dict(zip(panel.loaded, panel.on_load(query), strict=True))
        assert [values[way[5]].value for way in (panel.first, panel.second)] == [switched] * 2
    assert "True or False" in panel.on_load(address | {"autoguided": "maybe"})[-1]
    del panel
    gc.collect()  # what gradio leaves open is noticed here, and not by another test


def test_a_run_without_early_weights_is_not_guided_by_them(digits, moons, limits):
    assert digits.is_autoguided
    assert not moons.is_autoguided
    with pytest.raises(InputError, match="early weights"):
        finished(moons, replace(MOONS, autoguided=True), limits)


def test_samples_that_may_be_copies_are_those_that_are_drawn(digits, monkeypatch):
    drawn_from = []
    monkeypatch.setattr(running, "generate", lambda run, *given, **named: drawn_from.append(run) or generate(run, 2))
    running.copies(digits, 0)
    assert isinstance(drawn_from[0].denoiser, AutoGuidance)
