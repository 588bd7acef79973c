"""The rosetta of notations: each row of its tables is code, in a paper's letters, and says what our schedule says."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound import schedule as schedules

PAGE = (Path(__file__).parent.parent / "docs" / "rosetta.md").read_text()
LETTERS = {name: getattr(np, name) for name in ("cos", "cumprod", "exp", "linspace", "log", "pi", "sqrt")}
LETTERS["sigmoid"] = lambda value: 1 / (1 + np.exp(-value))


def rows(title: str) -> list[tuple[str, ...]]:
    """A table's cells, without the marks of code."""
    lines = re.findall(r"^\|(.*)\|$", PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0], re.MULTILINE)[2:]
    return [tuple(cell.strip().strip("`") for cell in line.split("|")) for line in lines]


LEVELS, PREDICTIONS = rows("Noise levels"), rows("What a network says")


def times(schedule) -> tuple[np.ndarray, torch.Tensor]:
    """The paper's times within the schedule's window, and ours."""
    t = schedule.times if isinstance(schedule, schedules.Tabulated) else torch.linspace(0, 1, 101, dtype=torch.float64)
    start, end = getattr(schedule, "window", (0.0, 1.0))
    return start + (end - start) * t.numpy(), t


@pytest.mark.parametrize("row", LEVELS, ids=[row[0][:25] for row in LEVELS])
def test_a_paper_says_what_our_schedule_says(row):
    _, symbols, gamma, alpha, sigma, ours = row
    schedule = eval(ours, vars(schedules).copy())
    u, t = times(schedule)
    letters = {**LETTERS, "u": u}
    exec(symbols, letters)
    theirs = [np.broadcast_to(eval(each, letters), u.shape) for each in (gamma, alpha, sigma)]
    for mine, other in zip((schedule.gamma(t), *schedule(t)), theirs, strict=True):
        # where a paper takes a variance from 1 it has fewer digits than we
        np.testing.assert_allclose(mine.numpy(), other, rtol=2e-9, atol=2e-9)


@pytest.mark.parametrize("row", PREDICTIONS, ids=[row[0][:25] for row in PREDICTIONS])
def test_a_papers_output_gives_our_x(row):
    _, output, views, x, ours = row
    schedule = eval(ours, vars(schedules).copy())
    data = lb.Gaussian(torch.tensor([0.5, -1.0]).double(), torch.tensor([[0.5, 0.3], [0.3, 0.4]]).double(), schedule)
    for t in (0.2, 0.5, 0.8):
        level = schedule.level(t)
        said = data(lb.Stream(0).normal(torch.empty(5, 2).double()), level)
        letters = {**LETTERS, "gamma": level.gamma, "alpha": level.alpha, "sigma": level.sigma}
        letters |= {name: getattr(said, name).numpy() for name in ("x", "x_t", "eps", "score", "v")}
        expected = letters.pop("x")
        letters[output] = eval(views, {**letters, "x": expected})
        np.testing.assert_allclose(eval(x, letters), expected, rtol=1e-9, atol=1e-9)


def test_the_tables_are_there():
    papers = " ".join(row[0] for row in LEVELS)
    for name in ("DDPM", "DDIM", "VDM", "EDM", "DPM-Solver", "Rectified flow"):
        assert name in papers
    assert len(PREDICTIONS) > 5
