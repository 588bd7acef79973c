"""`lowerbound sample`: every sampler, grid and kind of file, and what is refused."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from every_sampler import another, settings
from PIL import Image

from lowerbound.cli.flags import flags
from lowerbound.cli.main import run
from lowerbound.cli.options import parse
from lowerbound.cli.sample import Options
from lowerbound.cli.sampler import SamplerOptions
from lowerbound.errors import InputError
from lowerbound.langevin import AnnealedLangevin
from lowerbound.run import open_run, variance
from lowerbound.run.generate import generate, network_calls, states
from lowerbound.samplers import ProbabilityFlow
from lowerbound.sampling import SAMPLERS
from lowerbound.sampling.plan import GRIDS
from lowerbound.schedule import LinearGamma


def sample(trained, out, *arguments):
    return run(["sample", str(trained), "-n", "4", "--steps", "3", *arguments, "-o", str(out)])


def test_samples_come_in_the_data_s_own_form(trained, tmp_path):
    for name in ("a.png", "b.npy", "c.npz"):
        assert sample(trained, tmp_path / name) == 0
    array = np.load(tmp_path / "b.npy")
    assert (array.shape, array.dtype) == ((4, 8, 8), np.uint8)
    assert array.max() <= 16
    assert np.array_equal(np.load(tmp_path / "c.npz")["x"], array)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 8
    assert not list(tmp_path.glob(".unfinished*"))


def test_a_folder_gets_one_picture_for_each_sample(trained, tmp_path):
    out = tmp_path / "pictures"
    assert sample(trained, out) == 0
    assert [file.name for file in sorted(out.iterdir())] == ["0.png", "1.png", "2.png", "3.png"]
    with Image.open(out / "0.png") as picture:
        assert (picture.size, picture.mode) == ((8, 8), "L")
    assert sample(trained, tmp_path / "b.npy") == 0
    levels = np.load(tmp_path / "b.npy")[0]
    with Image.open(out / "0.png") as picture:
        assert np.array_equal(np.asarray(picture), np.round(levels * (255 / 16)))


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_ends_with_the_samples(trained, tmp_path, suffix):
    assert sample(trained, tmp_path / f"a.{suffix}") == 0
    assert sample(trained, tmp_path / "a.png") == 0
    with Image.open(tmp_path / f"a.{suffix}") as moving, Image.open(tmp_path / "a.png") as still:
        assert moving.n_frames >= 3  # of four states the last two may look the same
        moving.seek(moving.n_frames - 1)
        assert np.abs(np.asarray(moving.convert("L"), float) - np.asarray(still.convert("L"), float)).max() <= 3


@pytest.mark.parametrize(
    ("sampler", "calls"), [("dpm++sde", 3), ("heun", 5), ("predictor-corrector", 5), ("flow", None)]
)
def test_the_network_calls_that_were_made_are_said(trained, tmp_path, capsys, sampler, calls):
    """Of the adaptive flow, whose steps are its own, not those of its grid."""
    assert sample(trained, tmp_path / "x.npy", "--sampler", sampler, "--guidance", "1") == 0
    said = float(
        re.search(rf"4 samples by {re.escape(sampler)}, (\S+) network calls each: ", capsys.readouterr().out)[1]
    )
    if calls is not None:
        assert said == calls
    else:
        model = open_run(trained)
        with network_calls(model.denoiser) as made:
            generate(model, 4, model.diffusion.plan(ProbabilityFlow(), 3))
        assert said == pytest.approx(sum(made) / 4, rel=1e-3)
        assert said > 2 * 8


def test_no_sampler_and_no_grid_depends_on_the_batch(trained):
    model = open_run(trained)
    for sampler, grid in itertools.zip_longest(SAMPLERS, ("time", "trailing", "gamma", "karras"), fillvalue="gamma"):
        quick = {"flow": ProbabilityFlow(0.3), "annealed-langevin": AnnealedLangevin(num_corrections=5)}
        rule = quick.get(sampler, SAMPLERS[sampler])
        plan = model.diffusion.plan(rule, 4, grid)
        whole = generate(model, 3, plan, batch_size=3)
        assert np.array_equal(generate(model, 3, plan, batch_size=2), whole), sampler
        assert np.array_equal(generate(model, 1, plan), whole[:1]), sampler
        assert not np.array_equal(generate(model, 1, plan, seed=1), whole[:1]), sampler


def test_the_path_ends_with_the_samples(trained):
    model = open_run(trained)
    plan = model.diffusion.plan(num_steps=6, grid_name="time")
    shown = list(states(model, 3, plan, num_states=4))
    assert [t for t, _ in shown] == pytest.approx([1.0, 0.6, 0.2, 0.0])
    assert np.array_equal(shown[-1][1], generate(model, 3, plan))


@pytest.mark.parametrize(("sampler", "name"), [(sampler, name) for sampler in SAMPLERS for name in settings(sampler)])
def test_every_setting_reaches_its_sampler(trained, sampler, name):
    value = another(sampler, name)
    flag = flags(SamplerOptions)[name]
    options = parse(Options, "sample", [str(trained), "--sampler", sampler, flag, str(value)])
    assert options.sampling.plan(open_run(trained)).sampler == replace(SAMPLERS[sampler], **{name: value})


def test_measured_grids_are_measured_once(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(variance, "MOST_EXAMPLES", 64)
    for grid in ("minimal-error", "minimal-bound"):
        assert sample(trained, tmp_path / "a.npy", "--grid", grid) == 0
    printed = capsys.readouterr()
    assert "measured before" in printed.out + printed.err


def test_labels_and_condition_files_are_repeated_over_the_samples(trained, tmp_path):
    assert sample(trained, tmp_path / "a.npy", "--label", "3", "5") == 0
    (tmp_path / "labels.txt").write_text("3\n5\n")
    assert sample(trained, tmp_path / "b.npy", "--condition", str(tmp_path / "labels.txt")) == 0
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], "--steps is 0: give 1 or more"),
        (["--eta", "0.5", "--sampler", "heun"], "--eta has no effect on heun: it belongs to ddim"),
        (["--order", "9", "--sampler", "dpm++"], "1 to 3"),
        (["--grid", "ddpm"], "choose another grid"),
        (["--label", "13"], "no label '13' in this run: choose from 0, 1"),
        (["--label", "1", "--condition", "x.npy"], "give one of the two"),
        (["-o", "nowhere/a.png"], "does not exist"),
        (["-o", "a.jpeg"], ".png"),
        (["--sampler", "dpm+++"], "did you mean dpm++? Choose one of"),
    ],
)
def test_mistakes_are_told(trained, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(["sample", str(trained), "-n", "2", "--steps", "2", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.png", "b.npz", "folder", "way.gif"])
@pytest.mark.parametrize("when", ["drawing", "writing"])
def test_interrupting_leaves_no_file(trained, tmp_path, monkeypatch, name, when):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    drawing, writing = ("states", "animation") if name.endswith(".gif") else ("generate", "write_samples")
    monkeypatch.setattr(f"lowerbound.cli.sample.{drawing if when == 'drawing' else writing}", interrupt)
    assert sample(trained, tmp_path / name) == 130
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(trained, tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert sample(trained, tmp_path) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_unknown_grids_are_refused(trained):
    model = open_run(trained)
    with pytest.raises(InputError, match=", ".join(GRIDS)):
        model.diffusion.plan(grid_name="spiral")
    with pytest.raises(InputError, match="measure_variance"):
        model.diffusion.plan(grid_name="minimal-error")
    assert torch.equal(model.diffusion.plan(num_steps=1, grid_name="time").times, torch.ones(1, dtype=torch.float64))


def test_the_visible_grid_leaves_out_what_no_one_sees(trained):
    """Noise below a level's width, and noise in which an example is worth a fiftieth of a nat."""
    model = open_run(trained)
    num_levels, num_dims = 17, 64
    for low, high in ((-20.0, 20.0), (-3.0, 2.0)):
        schedule = LinearGamma(low, high)
        times = model.diffusion.around(model.denoiser.along(schedule)).plan(num_steps=9, grid_name="visible").times
        gammas = schedule.gamma(times)
        torch.testing.assert_close(gammas.diff(), gammas.diff().mean().expand(8), rtol=1e-6, atol=0)
        width = math.exp(gammas[-1].item() / 2)
        worth = math.exp(-gammas[0].item()) * num_dims / 2
        assert width == pytest.approx(2 / num_levels if low < -4 else math.exp(low / 2), rel=1e-5)
        assert worth == pytest.approx(0.02 if high > 8 else math.exp(-high) * num_dims / 2, rel=1e-5)
