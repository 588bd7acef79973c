"""Distillation: exact where the flow's map is known, and a run like any other that draws in its own few steps."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from training.runs import tiny_config, tiny_run

from lowerbound import DDIM, LinearGamma, Stream, sample, start
from lowerbound.cli.main import run as command
from lowerbound.data.dataset import assemble
from lowerbound.denoiser import Denoiser, Prediction
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.likelihood.bound import check_likelihood
from lowerbound.run import open_run
from lowerbound.run.generate import generate
from lowerbound.training import recipe, train
from lowerbound.training.config import DataConfig
from lowerbound.training.distill import distill, student_times, teacher_times, write_student
from lowerbound.training.folder import RunFolder

MEAN, STD = 0.7, 0.5


class Trainable(Denoiser):
    r"""Exact for data N(MEAN, STD^2), and an affine function of x_t that may be learned beside it: zero at first, and of
    coefficients linear in gamma, so that it can be whatever is right at two levels."""

    def __init__(self):
        super().__init__(LinearGamma(-8.0, 5.0), (2,))
        self.gain, self.shift = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def predict(self, x_t, level, cond, observed):
        gamma, alpha, sigma = (expand(torch.as_tensor(v), x_t) for v in (level.gamma, level.alpha, level.sigma))
        exact = MEAN + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x_t - alpha * MEAN)
        gain, shift = (at[0] + at[1] * gamma / 5 for at in (self.gain, self.shift))
        return Prediction(x_t, level, exact + gain * x_t + shift, self.schedule)


@pytest.fixture(scope="module")
def plane():
    """Any data in the plane: without conditions nothing of them is used."""
    dataset = assemble("made", np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32), layout="ND")
    config = recipe(dataset, DataConfig("made"))
    return dataset, dataclasses.replace(config, training=dataclasses.replace(config.training, learning_rate=0.2))


@pytest.mark.parametrize("num_steps", [1, 2])
def test_few_steps_come_to_lead_where_the_flow_does(plane, num_steps):
    dataset, config = plane
    teacher = Trainable()
    student = distill(teacher, config, dataset, num_steps, updates=200)
    times = student_times(teacher.schedule, dataset.spec, num_steps)
    level = teacher.schedule.level(times[0].item())
    x_1 = start(teacher, 500, Stream(3), t=level.t)
    # the flow of a Gaussian keeps the place in units of the standard deviation
    spread = math.sqrt(level.alpha**2 * STD**2 + level.sigma**2)
    exact = MEAN + STD / spread * (x_1 - level.alpha * MEAN)

    def error(denoiser):
        drawn = sample(denoiser, DDIM(), x_1, times, Stream(0))
        return (drawn - exact).square().mean().sqrt().item() / STD

    assert error(teacher) > 0.4
    assert error(student) < 0.03  # what the teacher's solver misses included
    assert not any(p.requires_grad for p in student.parameters())
    assert all(torch.equal(p, torch.zeros(2)) for p in teacher.parameters())


def test_a_students_times_are_some_of_its_teachers(plane):
    dataset, _ = plane
    schedule = LinearGamma(-8.0, 5.0)
    for num_steps in range(1, 9):
        few, many = (times(schedule, dataset.spec, num_steps) for times in (student_times, teacher_times))
        assert len(few) == num_steps
        assert len(many) >= 16
        assert set(few.tolist()) <= set(many.tolist())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A tiny conditional run and what the verb distils it to."""
    folder = tmp_path_factory.mktemp("distill")
    config, dataset = tiny_config(steps=1, num_pictures=0)
    learned = dataclasses.replace(config.schedule, name="learned")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, conditional=True), schedule=learned)
    train(config, dataset, folder / "digits", say=lambda line: None, show_progress=False)
    arguments = ["--steps", "2", "--updates", "3", "--no-compare"]
    assert command(["distill", str(folder / "digits"), *arguments]) == 0
    return open_run(folder / "digits"), open_run(folder / "digits-2-steps")


def test_a_student_is_a_run_that_draws_in_its_own_steps(runs, tmp_path, capsys):
    teacher, student = runs
    assert student.config == teacher.config
    assert student.diffusion.times is not None
    assert student.diffusion.times.tolist() == student_times(teacher.denoiser.schedule, teacher.spec, 2).tolist()
    assert not list(student.folder.path.rglob(".unfinished*"))
    path, out = str(student.folder.path), str(tmp_path / "samples.npy")
    assert command(["sample", path, "-n", "3", "--label", "4", "-o", out]) == 0
    assert "by its own sampler, 2 network calls each" in capsys.readouterr().out
    drawn = generate(student, 3, cond=student.labels(["4"] * 3))
    assert np.array_equal(np.load(out), drawn[:, 0])
    assert command(["sample", path, "--steps", "3"]) == 2
    assert "draws in its own 2 steps" in capsys.readouterr().err


def test_a_student_has_no_likelihood(runs, tmp_path, capsys):
    _, student = runs
    with pytest.raises(InputError, match="the run is distilled"):
        check_likelihood(student.denoiser)
    assert command(["score", str(student.folder.path), "digits", "-o", str(tmp_path / "scores.csv")]) == 2
    assert "the run is distilled" in capsys.readouterr().err


def test_the_same_seed_and_updates_give_the_same_weights(runs):
    teacher, student = runs

    def weights(seed):
        torch.rand(seed + 1)  # what the caller draws does not matter
        made = distill(teacher.denoiser, teacher.config, teacher.open_dataset(), 2, updates=3, seed=seed)
        return dict(made.named_parameters())

    again, other, kept = weights(0), weights(1), dict(student.denoiser.named_parameters())
    assert all(torch.equal(again[name], kept[name]) for name in kept)
    assert any(not torch.equal(other[name], kept[name]) for name in kept)
    schedule = [name for name in kept if name.startswith("schedule.")]
    assert schedule
    assert all(torch.equal(kept[name], dict(teacher.denoiser.named_parameters())[name]) for name in schedule)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], "--steps is 0: give 1 or more"),
        (["--steps", "9"], "takes 1 to 8"),
        (["--updates", "0"], "--updates is 0: give 1 or more"),
        (["--updates", "1", "--minutes", "1"], "one of the two"),
        (["--out", "."], "not an empty folder"),
    ],
)
def test_what_does_not_fit_is_refused(runs, tmp_path, monkeypatch, capsys, arguments, words):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in arguments else ["--out", "new"]
    assert command(["distill", str(runs[0].folder.path.resolve()), *arguments, *out]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_distilled_run_is_not_distilled_again(runs, capsys):
    assert command(["distill", str(runs[1].folder.path), "--updates", "1"]) == 2
    assert "for distillation use the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "{}", "--label", "4", "--guidance", "2"],
        ["edit", "{}", "digits", "-o", "a.png"],
        ["impute", "{}", "digits", "--mask", "mask.npy", "-o", "a.npz"],
    ],
)
def test_what_needs_other_noise_levels_is_refused(runs, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", np.eye(8, dtype=bool))
    assert command([argument.format(runs[1].folder.path) for argument in arguments]) == 2
    assert "distilled" in capsys.readouterr().err


def test_a_student_is_not_trained_on(runs):
    student = runs[1]
    with pytest.raises(InputError, match="is not trained on"):
        train(student.config, student.open_dataset(), student.folder.path, say=lambda line: None)


def test_damaged_times_are_named(runs, tmp_path):
    folder = tiny_run(tmp_path / "run", steps=1, num_pictures=0)
    save_file(load_file(folder.model), folder.model, {"times": "[1, "})
    with pytest.raises(InputError, match="its times are"):
        open_run(folder.path)


def test_evaluation_leaves_out_what_a_student_does_not_have(runs, capsys):
    """No likelihood belongs to it; its samples are compared with the data all the same."""
    assert command(["evaluate", str(runs[1].folder.path), "--num-samples", "20"]) == 0
    printed = capsys.readouterr().out
    assert "No likelihood (the run is distilled" in printed
    assert "Frechet distance" in printed


@pytest.mark.parametrize("when", ["write_file", "weights_file"])
def test_a_student_killed_while_it_is_written_leaves_nothing_in_its_place(runs, tmp_path, monkeypatch, when):
    teacher, student = runs

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"lowerbound.training.distill.{when}", killed)
        with pytest.raises(KeyboardInterrupt):
            write_student(student.denoiser, 2, teacher.config, teacher.spec, RunFolder(tmp_path / "out"), {})
    assert not list(tmp_path.iterdir())
    write_student(student.denoiser, 2, teacher.config, teacher.spec, RunFolder(tmp_path / "out"), {})
    assert open_run(tmp_path / "out").metadata["sha256"]
