"""Inversion, interpolation and variations: closed-form flows, round trips, and the laws that edits keep."""

import math

import pytest
import torch
from oracles import COVARIANCE, EVERY_SCHEDULE, MEAN, Known, double, draw, gaussian, make_schedule, mixture

from lowerbound import grid
from lowerbound.denoiser import Denoiser, Empirical, Prediction
from lowerbound.denoiser.base import preserving
from lowerbound.edit import decode, encode, interpolate, round_trip, turn, vary
from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import DDIM, Ancestral, sample
from lowerbound.schedule import LinearGamma
from lowerbound.schedule.scaling import SCALINGS

SCHEDULE = LinearGamma(-9.0, 7.0)


def flow_of_gaussian(schedule, x):
    """Where the flow carries x: z - a m grows like (a^2 S + s^2)^(1/2), in the variance-preserving rescaling."""
    (a, s), (a_1, s_1) = preserving(schedule.gamma_min), preserving(schedule.gamma_max)
    values, vectors = torch.linalg.eigh(COVARIANCE)
    growth = torch.sqrt((a_1**2 * values + s_1**2) / (a**2 * values + s**2))
    z_1 = a_1 * MEAN + a * (x - MEAN) @ vectors * growth @ vectors.mT
    return schedule.level(1.0).alpha / a_1 * z_1


@pytest.mark.parametrize("name", [name for name in EVERY_SCHEDULE if name[0] != "learned"])
def test_the_noise_of_gaussian_data_is_the_closed_form(name):
    schedule = make_schedule(*name)
    denoiser, x = gaussian(schedule), 1.5 * draw(2, 2)
    exact = flow_of_gaussian(schedule, x)
    found = encode(denoiser, x, tolerance=1e-6)
    scale = schedule.level(1.0).alpha / preserving(schedule.gamma_max)[0]
    torch.testing.assert_close(found / scale, exact / scale, rtol=0, atol=1e-4)
    torch.testing.assert_close(decode(denoiser, exact, tolerance=1e-6), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_a_round_trip_errs_by_the_tolerance(make):
    denoiser = make(SCHEDULE)
    x = denoiser.sample(20, Stream(0)).double()
    errors = []
    for tolerance in (1e-3, 1e-5):
        found = round_trip(denoiser, x, tolerance=tolerance)
        assert found.error.max() < 200 * tolerance
        assert found.error.tolist() == pytest.approx((found.x - x).square().mean(1).sqrt().tolist())
        assert torch.equal(found.x_1, encode(denoiser, x, tolerance=tolerance))
        errors.append((found.error.mean().item(), found.num_calls.double().mean().item()))
    (coarse, few), (fine, many) = errors
    assert fine < coarse / 20
    assert few < many


def test_a_deterministic_sampler_decodes_as_well():
    denoiser = gaussian(SCHEDULE)
    x = denoiser.sample(20, Stream(0)).double()
    x_1 = encode(denoiser, x, tolerance=1e-7)
    errors = []
    for num_times in (100, 400):
        again = sample(denoiser, DDIM(), x_1, grid.uniform(num_times), Stream(0), denoise=False)
        errors.append((again / denoiser.schedule.level(0.0).alpha - x).square().mean().sqrt().item())
    assert errors[1] < errors[0] / 3 < 0.02


def test_the_noise_of_data_is_standard_normal():
    """Each example's, from its own law: mean and covariance within three standard errors."""
    denoiser, num = mixture(SCHEDULE), 2000
    x = denoiser.sample(num, Stream(0)).double()
    level = SCHEDULE.level(1.0)
    x_1 = encode(denoiser, x, noise=Stream(1), tolerance=1e-4)
    mean, second = x_1.mean(0), x_1.mT @ x_1 / num
    assert (mean.abs() < 3 / num**0.5 + level.alpha).all()
    assert ((second - torch.eye(2)).abs() < 3 * math.sqrt(2 / num) + level.alpha**2).all()


def test_discrete_data_need_the_noise_of_their_end():
    """Two values of 256: without noise on them, that of their centres is far too short."""
    centres = level_centres(torch.tensor([[20], [230]]), 256).double()
    denoiser = Empirical(centres, SCHEDULE)
    x = centres.repeat(500, 1)
    assert encode(denoiser, x, tolerance=1e-4).square().mean() < 0.8
    noisy = round_trip(denoiser, x, noise=Stream(0), tolerance=1e-4)
    assert noisy.x_1.square().mean().item() == pytest.approx(1, abs=0.15)
    assert (noisy.x - x).abs().max() < 5 * SCHEDULE.level(0.0).sigma


class Translated(Denoiser):
    """Gaussian data moved by their condition, (B, 2)."""

    def __init__(self):
        super().__init__(SCHEDULE, (2,))
        self.exact = gaussian(SCHEDULE)

    def predict(self, x_t, level, cond, observed):
        shift = torch.zeros_like(x_t) if cond is None else cond
        alpha = torch.as_tensor(level.alpha, dtype=x_t.dtype).reshape(-1, 1)
        return Prediction(x_t, level, self.exact(x_t - alpha * shift, level).x + shift, self.schedule)


def test_each_example_keeps_its_condition():
    """Though those that arrive first leave the batch."""
    denoiser, x, cond = Translated(), draw(6, 2), 4 * draw(6, 2, seed=1)
    a_1 = preserving(SCHEDULE.gamma_max)[0]
    expected = flow_of_gaussian(SCHEDULE, x - cond) + a_1 * cond
    torch.testing.assert_close(encode(denoiser.given(cond), x, tolerance=1e-6), expected, rtol=0, atol=1e-4)
    assert round_trip(denoiser.given(cond), x, tolerance=1e-6).error.max() < 1e-4
    ends = interpolate(denoiser.given(cond), x, x.flip(0), double([0.0, 1.0]), tolerance=1e-6)
    torch.testing.assert_close(ends, torch.stack([x, x.flip(0)]), rtol=0, atol=1e-4)


def test_an_example_is_edited_as_if_it_were_alone():
    denoiser, x = mixture(SCHEDULE), draw(5, 2)
    together = encode(denoiser, x)
    for i in range(5):
        torch.testing.assert_close(encode(denoiser, x[i : i + 1])[0], together[i], rtol=1e-10, atol=1e-10)
    varied = vary(denoiser, x, 0.6, Ancestral(), grid.uniform(10), PerSample(range(5)))
    alone = vary(denoiser, x[3:4], 0.6, Ancestral(), grid.uniform(10), PerSample([3]))
    torch.testing.assert_close(alone[0], varied[3], rtol=1e-10, atol=1e-10)


def test_every_scaling_has_the_same_noise():
    found = []
    for scaling in SCALINGS.values():
        schedule = LinearGamma(-9.0, 7.0, scaling)
        x_1 = encode(mixture(schedule), draw(4, 2), tolerance=1e-5)
        found.append(x_1 / schedule.level(1.0).alpha)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-8, atol=1e-8)


def test_turning_keeps_the_length_and_ends_where_it_should():
    first, last, weights = draw(4, 3, 2), draw(4, 3, 2, seed=1), torch.linspace(0, 1, 5, dtype=torch.float64)
    between = turn(first, last, weights)
    assert between.shape == (5, 4, 3, 2)
    torch.testing.assert_close(between[0], first)
    torch.testing.assert_close(between[-1], last)
    unit = turn(*(x / x.flatten(1).norm(dim=1)[:, None, None] for x in (first, last)), weights).flatten(2)
    torch.testing.assert_close(unit.norm(dim=2), torch.ones(5, 4, dtype=torch.float64))
    angles = torch.arccos((unit[1:] * unit[:-1]).sum(2))
    torch.testing.assert_close(angles, angles[:1].expand_as(angles))
    torch.testing.assert_close(turn(first, first, weights), first.expand(5, *first.shape))
    quarter = turn(double([[1.0, 0.0]]), double([[0.0, 1.0]]), double([0.5]))
    torch.testing.assert_close(quarter, double([[[0.5**0.5, 0.5**0.5]]]))


def test_between_two_examples_of_gaussian_data():
    denoiser, weights = gaussian(SCHEDULE), double([0.0, 0.3, 1.0])
    first, last = draw(3, 2), draw(3, 2, seed=1)
    found = interpolate(denoiser, first, last, weights, tolerance=1e-6)
    noises = turn(flow_of_gaussian(SCHEDULE, first), flow_of_gaussian(SCHEDULE, last), weights)
    for x, x_1 in zip(found, noises, strict=True):
        torch.testing.assert_close(flow_of_gaussian(SCHEDULE, x), x_1, rtol=0, atol=1e-4)
    torch.testing.assert_close(found[0], first, rtol=0, atol=1e-4)
    torch.testing.assert_close(found[2], last, rtol=0, atol=1e-4)


@pytest.mark.parametrize("t", [0.3, 0.6, 1.0])
def test_variations_of_gaussian_data_have_their_law(t):
    """Mean and covariance within three standard errors; the analytic variance makes steps of any length right enough."""
    denoiser, num = gaussian(SCHEDULE), 20_000
    x = denoiser.sample(num, Stream(0)).double()
    found = vary(denoiser, x, t, Ancestral("analytic"), grid.uniform(150), Stream(1))
    assert ((found.mean(0) - MEAN).abs() < 3 * (COVARIANCE.diagonal() / num).sqrt()).all()
    spread = torch.outer(COVARIANCE.diagonal(), COVARIANCE.diagonal()) + COVARIANCE**2
    assert ((found.mT.cov() - COVARIANCE).abs() < 3 * (spread / num).sqrt()).all()
    kept = torch.corrcoef(torch.stack([x[:, 0], found[:, 0]]))[0, 1]
    assert kept > 0.9 if t == 0.3 else abs(kept) < 0.1 if t == 1.0 else 0.1 < kept < 0.9, kept


def test_no_time_changes_nothing_and_one_starts_from_noise():
    denoiser, x, eps = mixture(SCHEDULE), draw(4, 2), draw(4, 2, seed=1)
    same = vary(denoiser, x, 0.0, DDIM(), grid.uniform(5), Stream(0))
    assert torch.equal(same, x)
    assert same is not x
    level, times = SCHEDULE.level(1.0), grid.uniform(5)
    fresh = sample(denoiser, DDIM(), level.alpha * x + level.sigma * eps, times, Stream(0))
    torch.testing.assert_close(vary(denoiser, x, 1.0, DDIM(), times, Known([eps])), fresh)


@pytest.mark.parametrize(("t", "visited"), [(1.0, 5), (0.8, 5), (0.75, 4), (0.1, 2), (1e-9, 2)])
def test_the_times_below_are_visited(t, visited):
    seen = []

    class Spy(Denoiser):
        def predict(self, x_t, level, cond, observed):
            seen.append((level.t, cond))
            return Prediction(x_t, level, x_t, self.schedule)

    cond = torch.arange(3)
    vary(Spy(SCHEDULE, (2,)).given(cond), draw(3, 2), t, DDIM(), grid.uniform(5), Stream(0))
    times, given = zip(*seen, strict=True)
    assert len(times) == visited
    assert times[0] == t
    assert list(times[1:]) == [time for time in (1.0, 0.75, 0.5, 0.25, 0.0) if time < t]
    assert all(each is cond for each in given)


@pytest.mark.parametrize("t", [-0.1, 1.1, math.nan])
def test_impossible_times_are_refused(t):
    with pytest.raises(InputError, match="between 0, the example, and 1"):
        vary(mixture(SCHEDULE), draw(2, 2), t, DDIM(), grid.uniform(3), Stream(0))


def test_an_impossible_tolerance_is_refused():
    with pytest.raises(InputError, match="tolerance"):
        encode(mixture(SCHEDULE), draw(2, 2), tolerance=0.0)
