"""Records with tensors say what they are in a line; nothing floods a console."""

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.run.impute import Imputations
from lowerbound.schedule import Level
from lowerbound.summary import short_repr

MOST = 400


def example(name):
    schedule = lb.LinearGamma(gamma_min=-10.0, gamma_max=6.0)
    data = lb.Gaussian(torch.zeros(2), torch.eye(2), schedule)
    x = data.sample(300, lb.Stream(seed=0))
    match name:
        case "Elbo":
            return lb.elbo(data, lb.GaussianDecoder(), x, noise=lb.Stream(seed=1), num_times=3)
        case "Density":
            return lb.log_prob(data, x[:20])
        case "Prediction":
            return data(x, 0.5)
        case "Level":
            return schedule.level(torch.rand(300))
        case "Imputations":
            return Imputations(np.random.default_rng(0).random((9, 4, 1, 8, 8)), np.ones((9, 1, 8, 8), bool))
        case "LinearGamma":
            return schedule
        case "Stream":
            return lb.Stream(seed=0)
        case _:
            return lb.PerSample(range(300))


@pytest.mark.parametrize(
    ("name", "parts"),
    {
        "Elbo": ["reconstruction=", "diffusion=", " ± ", "(300)", "draws="],
        "Density": ["estimates=", "(20, 1)", "kind='density (ODE)'"],
        "Prediction": ["x=", "(300, 2)", "level=Level(t=0.5, gamma=-2"],
        "Level": ["gamma=", "(300)"],
        "Imputations": ["samples=", "(9, 4, 1, 8, 8) float64", "(9, 1, 8, 8) bool"],
        "LinearGamma": ["-10 to 6", "variance-preserving"],
        "Stream": ["cpu"],
        "PerSample": ["300 seeds"],
    }.items(),
)
def test_a_record_is_a_line(name, parts):
    text = repr(example(name))
    assert text.startswith(f"{name}(")
    assert "\n" not in text
    assert len(text) <= MOST
    for part in parts:
        assert part in text


def test_the_figures_are_the_mean_and_its_error():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    error = values.std().item() / 2
    text = short_repr(Level(values, torch.tensor([7, 9]), float("nan"), torch.tensor([0.25, 0.25])))
    assert text == f"Level(t=2.50 ± {error:.2f} (4), gamma=7 to 9 (2) int64, alpha=nan, sigma=0.25 (2))"


@pytest.mark.parametrize("values", [torch.empty(0, 3), torch.tensor(1.5), torch.tensor([float("nan"), 1.0])], ids=str)
def test_odd_tensors_have_a_line_too(values):
    assert len(short_repr(Level(values, 0.0, 1.0, 0.0))) < 80


def test_a_run_is_a_line(tmp_path):
    from lowerbound.cli.main import run
    from lowerbound.run import open_run

    tiny = ["--steps", "2", "--batch-size", "8", "--network.width", "8", "--network.depth", "1"]
    assert run(["train", "moons", "--out", str(tmp_path / "moons"), *tiny, "--num-evaluations", "1"]) == 0
    text = repr(open_run(tmp_path / "moons"))
    assert text.startswith("Run('")
    assert "diffusion of examples of shape (2,), " in text
    assert len(text) < len(str(tmp_path)) + 100
