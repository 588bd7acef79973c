"""Schedules: identities that hold for every one of them in every scaling, and the published curves."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import EVERY_SCHEDULE, SCHEDULES, double, make_schedule

from lowerbound import grid
from lowerbound.errors import InputError
from lowerbound.schedule import EDM, Cosine, LinearGamma, RectifiedFlow, Sigmoid, Tabulated, geometric
from lowerbound.schedule.scaling import SCALINGS

# off the knots of every table, so that slopes exist
TIMES = torch.linspace(0, 1, 42, dtype=torch.float64)[1:-1] + 1e-4

IDENTITY = {
    "variance-preserving": lambda alpha, sigma: alpha**2 + sigma**2,
    "rectified-flow": lambda alpha, sigma: alpha + sigma,
    "variance-exploding": lambda alpha, sigma: alpha,
}


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_identities(name, scaling):
    schedule = make_schedule(name, scaling)
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)
    gamma = schedule.gamma(t)
    alpha, sigma = schedule(t)

    assert gamma.isfinite().all()
    assert (gamma.diff() > 0).all(), "gamma must increase"
    assert schedule.gamma_min == pytest.approx(gamma[0].item(), abs=1e-12)
    assert schedule.gamma_max == pytest.approx(gamma[-1].item(), abs=1e-12)
    torch.testing.assert_close(schedule.inverse(gamma), t, rtol=0, atol=1e-9)
    torch.testing.assert_close(2 * (sigma.log() - alpha.log()), gamma, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(IDENTITY[scaling](alpha, sigma), torch.ones_like(t), rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_slope_is_the_derivative(name):
    schedule = make_schedule(name)
    step = 1e-6
    difference = (schedule.gamma(TIMES + step) - schedule.gamma(TIMES - step)) / (2 * step)
    torch.testing.assert_close(schedule.slope(TIMES), difference, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_log_alpha_slope_is_the_derivative(scaling):
    gamma = torch.linspace(-15, 15, 61, dtype=torch.float64)
    alpha, step = SCALINGS[scaling].alpha, 1e-5
    difference = (torch.log(alpha(gamma + step)) - torch.log(alpha(gamma - step))) / (2 * step)
    torch.testing.assert_close(SCALINGS[scaling].log_alpha_slope(gamma), difference, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_single_precision_keeps_both_ends(name, scaling):
    """sigma from sqrt(1 - alpha^2) would be wrong by 0.4 % at gamma = -12 in single precision."""
    schedule = make_schedule(name, scaling)
    t = torch.cat([torch.logspace(-5, -1, 30), torch.linspace(0, 1, 50), 1 - torch.logspace(-5, -1, 30)])
    for single, exact in zip(schedule(t), schedule(t.double()), strict=True):
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("name", "scaling"), EVERY_SCHEDULE)
def test_numbers_and_tensors_give_the_same_level(name, scaling):
    schedule = make_schedule(name, scaling)
    times = double([0.0, 0.3, 1.0])
    batch = schedule.level(times)
    for index, (listed, t) in enumerate(zip(schedule.levels(times), times.tolist(), strict=True)):
        one = schedule.level(t)
        assert one == listed
        for field in ("t", "gamma", "alpha", "sigma"):
            assert isinstance(getattr(one, field), float)
            assert getattr(one, field) == pytest.approx(getattr(batch, field)[index].item(), rel=1e-12, abs=1e-12)
    level = schedule.level(0.3)
    assert schedule.level(level) is level


@pytest.mark.parametrize("name", ["cosine", "cosine, wide", "sigmoid", "rectified flow"])
def test_infinite_curves_are_cut_where_told(name):
    low, high = (-20.0, 20.0) if "wide" in name else (-13.3, 13.3)
    schedule = make_schedule(name)
    assert schedule.gamma_min == pytest.approx(low, abs=1e-6)
    assert schedule.gamma_max == pytest.approx(high, abs=1e-6)


def published_time(schedule, t):
    """The published curve's own time, before it is stretched between its ends."""
    start, end = schedule.window
    return start + (end - start) * t


def test_cosine_is_nichol_and_dhariwals():
    schedule = Cosine()
    ours = torch.sigmoid(-schedule.gamma(TIMES))
    theirs = [paper.cosine_alpha_bar(u, 1) for u in published_time(schedule, TIMES).tolist()]
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12)


def test_sigmoid_is_chens():
    for schedule, arguments in ((Sigmoid(), (-3, 3, 1.0)), (Sigmoid(0, 3, 0.9), (0, 3, 0.9))):
        ours = torch.sigmoid(-schedule.gamma(TIMES))
        theirs = [paper.sigmoid_alpha_bar(u, *arguments) for u in published_time(schedule, TIMES).tolist()]
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10)


def test_rectified_flow_is_the_straight_line():
    schedule = RectifiedFlow()
    alpha, sigma = schedule(TIMES)
    u = published_time(schedule, TIMES)
    torch.testing.assert_close(alpha, 1 - u, rtol=1e-12, atol=0)
    torch.testing.assert_close(sigma, u, rtol=1e-12, atol=0)


def test_edm_levels_are_karras():
    _, sigma = EDM()(grid.uniform(18))
    np.testing.assert_allclose(sigma.numpy(), paper.edm_steps(18), rtol=1e-12)


def test_geometric_is_songs():
    alpha, sigma = geometric(0.01, 50.0)(TIMES)
    torch.testing.assert_close(sigma, 0.01 * (50 / 0.01) ** TIMES, rtol=1e-12, atol=0)
    assert (alpha == 1).all()


def test_a_table_goes_through_its_levels():
    levels = double([-5.0, -4.0, 0.0, 1.5])
    schedule = Tabulated(levels)
    torch.testing.assert_close(schedule.gamma(schedule.times), levels, rtol=0, atol=1e-12)
    torch.testing.assert_close(schedule.gamma(double([1 / 6])), double([-4.5]))
    assert "knots" not in schedule.state_dict()


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearGamma(5.0, -5.0),
        lambda: LinearGamma(-math.inf, 5.0),
        lambda: Cosine(gamma_min=3.0, gamma_max=3.0),
        lambda: RectifiedFlow(gamma_max=math.nan),
        lambda: Sigmoid(start=3, end=-3),
        lambda: Sigmoid(temperature=0.0),
        lambda: EDM(sigma_min=0.0),
        lambda: EDM(sigma_min=1.0, sigma_max=0.5),
        lambda: geometric(-1.0, 50.0),
        lambda: Tabulated(torch.tensor([1.0])),
        lambda: Tabulated(torch.tensor([1.0, 1.0])),
        lambda: Tabulated(torch.tensor([1.0, math.nan, 2.0])),
    ],
)
def test_impossible_schedules_are_refused(make):
    with pytest.raises(InputError):
        make()
