"""Grids: published spacings against a second writing of them, optimal ones against every other choice."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from oracles import EVERY_SCHEDULE, double, draw, gaussian, make_schedule, mixture

from lowerbound import grid
from lowerbound.analytic_variance import WithVariance, measure_variance
from lowerbound.errors import InputError
from lowerbound.likelihood import GaussianDecoder, elbo
from lowerbound.rng import Stream
from lowerbound.samplers import DDIM, sample, start
from lowerbound.schedule import EDM, Cosine, LinearGamma, betas, from_betas

SCHEDULE = LinearGamma(-9.0, 7.0)


@functools.cache
def measured(name: str = "mixture") -> WithVariance:
    """Data in the plane whose m was measured."""
    data = {"mixture": mixture, "Gaussian": gaussian}[name](SCHEDULE)
    return measure_variance(data, data.sample(2000, Stream(0)), Stream(1))


GRIDS = {
    "uniform": lambda schedule, num: grid.uniform(num),
    "trailing": lambda schedule, num: grid.trailing(num),
    "uniform in gamma": grid.uniform_in_gamma,
    "Karras": grid.karras,
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("schedule", EVERY_SCHEDULE)
def test_times_decrease_from_one(name, schedule):
    schedule = make_schedule(*schedule)
    for num_times in (1, 2, 3, 10, 101):
        times = GRIDS[name](schedule, num_times)
        assert len(times) == num_times
        assert times.dtype == torch.float64
        assert times[0] == 1
        assert times[-1] >= 0
        assert (times.diff() < 0).all()
        if num_times > 1:
            assert times[-1] == (1 / num_times if name == "trailing" else 0)


def test_known_grids():
    assert grid.uniform(5).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert grid.trailing(5).tolist() == [1.0, 0.8, 0.6, 0.4, 0.2]
    steps = Cosine().gamma(grid.uniform_in_gamma(Cosine(), 9)).diff()
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), rtol=1e-6, atol=0)


@pytest.mark.parametrize("rho", [1.0, 7.0])
def test_karras_sigmas_are_edms(rho):
    """Noise from 80 to 0.002, 18 times, as the paper's equation has them."""
    high, low = 2 * math.log(80), 2 * math.log(0.002)
    schedule = LinearGamma(low - 1, high + 1)
    times = grid.karras(schedule, 18, rho, low, high)
    i = np.arange(18)
    expected = (80 ** (1 / rho) + i / 17 * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    np.testing.assert_allclose((schedule.gamma(times) / 2).exp().numpy(), expected, rtol=1e-9)
    whole = grid.karras(EDM(), 18, rho)
    assert (whole[0], whole[-1]) == (1, 0)


def published(num_steps: int, num_times: int, spacing: str) -> np.ndarray:
    """The steps 0 ... T - 1 as the code of these publications writes them."""
    ratio = num_steps / num_times
    if spacing == "leading":
        return (np.arange(0, num_times) * (num_steps // num_times)).round()[::-1]
    if spacing == "trailing":
        # at 62 counts of T = 1000 rounding makes the original one step longer than was asked for
        return np.round(np.arange(num_steps, 0, -ratio)[:num_times]) - 1
    return np.linspace(0, num_steps - 1, num_times).round()[::-1] if num_times > 1 else np.array([num_steps - 1])


@pytest.mark.parametrize("spacing", grid.DDPM_SPACINGS)
@pytest.mark.parametrize("num_steps", [2, 3, 7, 12, 50, 1000])
def test_every_count_of_ddpm_steps(num_steps, spacing):
    schedule = from_betas(betas.linear(num_steps))
    for num_times in range(1, num_steps + 1):
        times = grid.ddpm_steps(schedule, num_times, spacing)
        assert len(times) == num_times
        assert (times.diff() < 0).all()
        np.testing.assert_array_equal(
            (times * (num_steps - 1)).round().numpy(), published(num_steps, num_times, spacing)
        )
        assert torch.isin(times, schedule.times).all()
        assert spacing == "leading" or times[0] == 1
        assert spacing == "trailing" or times[-1] == 0 or num_times == 1
    assert torch.equal(grid.ddpm_steps(schedule, num_steps, spacing), schedule.times.flip(0))


def test_a_step_goes_from_one_time_of_the_grid_to_the_next():
    """DDIM, each step from the grid's own two times, at counts that do not divide T as at others."""
    schedule = from_betas(betas.linear(1000))
    data = gaussian(schedule)
    for spacing, num_times in itertools.product(grid.DDPM_SPACINGS, (1, 3, 7, 60)):
        times = grid.ddpm_steps(schedule, num_times, spacing)
        x_1 = draw(4, 2)
        found = sample(data, DDIM(), x_1, times, Stream(0))
        x = x_1
        for t, s in itertools.pairwise([*times.tolist(), None]):
            level = schedule.level(t)
            prediction = data(x, level)
            alpha, sigma = (1.0, 0.0) if s is None else (schedule.level(s).alpha, schedule.level(s).sigma)
            x = alpha * prediction.x + sigma * prediction.eps
        torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-9)


def every_grid(denoiser, num_candidates, num_chosen):
    """All choices of so many of the inner candidates: decreasing gammas, (M, num_chosen)."""
    gammas = torch.linspace(SCHEDULE.gamma_max, SCHEDULE.gamma_min, num_candidates, dtype=torch.float64)
    chosen = torch.tensor(list(itertools.combinations(range(1, num_candidates), num_chosen)))
    return gammas, chosen


@pytest.mark.parametrize("num_times", [3, 4, 5])
def test_no_grid_has_a_smaller_bound(num_times):
    denoiser = measured()
    gammas, inner = every_grid(denoiser, 14, num_times - 2)
    inner = inner[inner[:, -1] < 13]
    places = torch.cat([torch.zeros(len(inner), 1).long(), inner, torch.full((len(inner), 1), 13)], 1)
    every, m = gammas[places], denoiser.x_var_at(gammas)[places]
    costs = (0.5 * (torch.exp(-every[:, 1:]) - torch.exp(-every[:, :-1])) * m[:, :-1]).sum(1)
    found = SCHEDULE.gamma(grid.minimal_bound(denoiser, num_times, 14))
    torch.testing.assert_close(found, every[costs.argmin()], rtol=0, atol=1e-9)


@pytest.mark.parametrize("num_times", [2, 3, 4])
def test_no_grid_has_a_smaller_error(num_times):
    denoiser = measured()
    gammas, inner = every_grid(denoiser, 14, num_times - 1)
    places = torch.cat([torch.zeros(len(inner), 1).long(), inner], 1)
    every, m = gammas[places], denoiser.x_var_at(gammas)[places]
    ratio = torch.cat([torch.exp(every / 2), torch.zeros(len(every), 1)], 1)
    m = torch.cat([m, torch.zeros(len(every), 1)], 1)
    costs = ((1 - ratio[:, 1:] / ratio[:, :-1]) ** 2 * -m.diff(dim=1)).sum(1)
    found = SCHEDULE.gamma(grid.minimal_error(denoiser, num_times, 14))
    torch.testing.assert_close(found, every[costs.argmin()], rtol=0, atol=1e-9)


def test_the_best_middle_of_gaussian_data_in_closed_form():
    r"""On N(0, v), in S = SNR, 1 -> t -> 0 costs $\frac12 [(S - S_1) m_1 + (S_0 - S) m]$ with $m = v / (1 + v S)$: least
    where $m_1 (1 + v S)^2 = v (1 + v S_0)$."""
    variance = 0.3
    snr_0, snr_1 = math.exp(9.0), math.exp(-7.0)
    gammas = torch.linspace(-9, 7, 2000, dtype=torch.float64)
    m = variance / (1 + variance * torch.exp(-gammas))
    denoiser = WithVariance(gaussian(SCHEDULE), gammas, m)
    last = variance / (1 + variance * snr_1)
    best = (math.sqrt(variance * (1 + variance * snr_0) / last) - 1) / variance
    found = SCHEDULE.gamma(grid.minimal_bound(denoiser, 3, 2000))
    assert found[1].item() == pytest.approx(-math.log(best), abs=0.01)


@pytest.mark.parametrize("name", ["mixture", "Gaussian"])
@pytest.mark.parametrize("num_times", [5, 10, 40])
def test_its_bound_is_the_best(name, num_times):
    denoiser = measured(name)
    x = denoiser.denoiser.sample(1000, Stream(2))

    def bound(times):
        return elbo(denoiser, GaussianDecoder(), x, times.flip(0), noise=Stream(3)).nats.mean().item()

    best = bound(grid.minimal_bound(denoiser, num_times))
    for other in ("uniform", "uniform in gamma", "Karras"):
        assert best > bound(GRIDS[other](SCHEDULE, num_times)), other


@pytest.mark.parametrize("num_times", [3, 5, 10])
def test_its_samples_are_nearest_to_the_flows(num_times):
    """The distance of DDIM's samples from those of a grid that is a hundred times as fine."""
    denoiser = measured()
    x_1 = start(denoiser, 500, Stream(5), dtype=torch.float64)

    def end(times):
        return sample(denoiser, DDIM(), x_1, times, Stream(0))

    exact = end(grid.uniform(1000))

    def error(times):
        return (end(times) - exact).square().mean().sqrt().item()

    best = error(grid.minimal_error(denoiser, num_times))
    others = [make(SCHEDULE, num_times) for make in GRIDS.values()]
    others.append(grid.minimal_bound(denoiser, num_times))
    assert best < 0.75 * min(map(error, others))


@pytest.mark.parametrize("make", [grid.minimal_bound, grid.minimal_error])
@pytest.mark.parametrize("num_times", [1, 2, 17, 511, 512])
def test_optimal_grids_of_any_length(make, num_times):
    times = make(measured(), num_times)
    assert times.shape == (num_times,)
    assert times[0] == 1
    assert (times.diff() < 0).all()
    if make is grid.minimal_bound and num_times > 1:
        assert times[-1] == 0


TABLE = from_betas(betas.linear(10))
MISTAKES = {
    "no times": (lambda: grid.uniform(0), "num_times is .* starts at 1"),
    "of another kind": (lambda: grid.trailing(-1), "num_times is .* starts at 1"),
    "in gamma": (lambda: grid.uniform_in_gamma(SCHEDULE, 0), "num_times is .* starts at 1"),
    "no steps of a table": (lambda: grid.ddpm_steps(TABLE, 0), "num_times is .* starts at 1"),
    "more than the table has": (lambda: grid.ddpm_steps(TABLE, 11), "at most 10"),
    "a spacing": (lambda: grid.ddpm_steps(TABLE, 5, "strided"), "leading, linspace, trailing"),
    "rho": (lambda: grid.karras(SCHEDULE, 5, rho=0.0), "positive"),
    "limits outside": (lambda: grid.karras(SCHEDULE, 5, gamma_min=-10.0), "ends are -9 and 7"),
    "limits that do not increase": (lambda: grid.karras(SCHEDULE, 5, gamma_min=3.0, gamma_max=3.0), "must increase"),
    "no optimal times": (lambda: grid.minimal_bound(measured(), 0), "num_times is .* starts at 1"),
    "too few candidates": (lambda: grid.minimal_error(measured(), 9, num_candidates=8), "num_candidates of 9 or more"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_impossible_grids_are_refused(mistake):
    make, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        make()


def test_a_limit_cuts_the_low_noise_end():
    times = grid.karras(SCHEDULE, 6, gamma_min=-4.0)
    torch.testing.assert_close(SCHEDULE.gamma(times[-1:]), double([-4.0]), rtol=0, atol=1e-9)
    assert times[0] == 1
