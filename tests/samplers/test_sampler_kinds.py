"""What each kind of sampler is: the same as another where theory says so, and its own closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from oracles import COVARIANCE, MEAN, double, draw, gaussian, mixture
from scipy.integrate import quad

from lowerbound import grid
from lowerbound.denoiser import Conditioned, Denoiser, Prediction
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.langevin import PredictorCorrector, langevin_step
from lowerbound.rng import PerSample, Stream
from lowerbound.samplers import (
    DDIM,
    DPMSolver,
    DPMSolverSDE,
    Euler,
    ExponentialAdamsBashforth,
    Heun,
    ProbabilityFlow,
    UniPC,
    sample,
    start,
    trajectory,
)
from lowerbound.samplers.exponential import moments
from lowerbound.schedule import Cosine, LinearGamma
from lowerbound.schedule.scaling import SCALINGS

SAME = [
    (Euler(), DDIM(0.0)),
    (DPMSolver(1), DDIM(0.0)),
    (ExponentialAdamsBashforth(1), DDIM(0.0)),
    (DPMSolverSDE(1), DDIM(1.0)),
    (Heun(churn=0.3, churn_from=1e9), Heun()),
]


class Counting(Gaussian):
    def predict(self, x_t, level, cond, observed):
        self.num_calls += 1
        return super().predict(x_t, level, cond, observed)


class Shifted(Gaussian):
    """Gaussian data whose mean is moved by the condition."""

    def predict(self, x_t, level, cond, observed):
        alpha = torch.as_tensor(level.alpha, dtype=x_t.dtype).reshape(-1, 1)
        prediction = super().predict(x_t - alpha * cond, level, None, None)
        return replace(prediction, x_t=x_t, x=prediction.x + cond)


class Standard(Denoiser):
    """Of data N(0, I)."""

    def predict(self, x_t, level, cond, observed):
        return Prediction(x_t, level, level.alpha / (level.alpha**2 + level.sigma**2) * x_t, self.schedule)


@pytest.mark.parametrize(("one", "other"), SAME)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_samplers_that_are_the_same(one, other, scaling):
    denoiser = mixture(Cosine(scaling=SCALINGS[scaling]))
    x_1 = start(denoiser, 5, Stream(0), dtype=torch.float64)
    for arguments in ({}, {"denoise": False}):
        first, second = (sample(denoiser, s, x_1, grid.uniform(9), Stream(1), **arguments) for s in (one, other))
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-8)


def test_two_predictions_of_dpm_solver_are_the_papers():
    denoiser, times = mixture(LinearGamma()), double([1.0, 0.6, 0.5])
    x_1 = start(denoiser, 5, Stream(0), dtype=torch.float64)
    first, middle, end = trajectory(denoiser, DPMSolver(2), x_1, times, Stream(0), denoise=False)
    r, t, s = denoiser.schedule.levels(times)
    h_before, h = (r.gamma - t.gamma) / 2, (t.gamma - s.gamma) / 2
    now, before = denoiser(middle, t).x, denoiser(first, r).x
    ratio = h_before / h
    mean = (1 + 1 / (2 * ratio)) * now - 1 / (2 * ratio) * before
    torch.testing.assert_close(end, s.sigma / t.sigma * middle - s.alpha * math.expm1(-h) * mean)


def test_two_slopes_of_heun_are_the_papers():
    denoiser, times = mixture(LinearGamma()), double([0.6, 0.5])
    x_1 = draw(5, 2)
    *_, end = trajectory(denoiser, Heun(), x_1, times, Stream(0), denoise=False)
    t, s = denoiser.schedule.levels(times)
    y, r_t, r_s = x_1 / t.alpha, t.sigma / t.alpha, s.sigma / s.alpha
    slope = (y - denoiser(x_1, t).x) / r_t
    euler = y + (r_s - r_t) * slope
    other = (euler - denoiser(s.alpha * euler, s).x) / r_s
    torch.testing.assert_close(end, s.alpha * (y + (r_s - r_t) * (slope + other) / 2))


@pytest.mark.parametrize("h", [1e-9, 1e-3, 0.3, 0.999, 1.001, 4.0, 60.0])
def test_moments_are_the_integrals(h):
    expected = [
        quad(lambda u, n=n: h * math.exp(-h * (1 - u)) * u**n, 0, 1, epsabs=0, epsrel=1e-12)[0] for n in range(4)
    ]
    assert moments(h, 4) == pytest.approx([each / expected[0] for each in expected], rel=1e-10)


@pytest.mark.parametrize("sampler", [Euler(), Heun(), UniPC(), DPMSolver(3), PredictorCorrector(num_corrections=2)])
def test_calls_are_as_declared(sampler):
    denoiser = Counting(MEAN, COVARIANCE, LinearGamma())
    denoiser.num_calls = 0
    sample(denoiser, sampler, draw(2, 2), grid.uniform(6), Stream(0))
    assert denoiser.num_calls == 5 * sampler.calls_per_step + 1


def test_churn_adds_the_noise_of_its_level():
    """From exact marginals a step of churn and a tiny Euler step back leave the marginal's variance as it was."""
    schedule = LinearGamma(-6.0, 5.0)
    denoiser = Gaussian(double([0.0]), double([[1e-12]]), schedule)
    t = schedule.level(0.5)
    raised, level = Euler(churn=0.4).raised(denoiser, draw(100_000, 1, seed=1) * t.sigma, t, Stream(0))
    assert level.sigma / level.alpha == pytest.approx(1.4 * t.sigma / t.alpha)
    assert raised.std().item() == pytest.approx(level.sigma, rel=0.02)
    top = schedule.level(1.0)
    unchanged, same = Euler(churn=0.4).raised(denoiser, raised, top, Stream(0))
    assert unchanged is raised
    assert same is top


@pytest.mark.parametrize("sampler", [ProbabilityFlow(1e-5), PredictorCorrector(UniPC()), Heun(churn=0.2)])
def test_each_sample_has_its_own_condition(sampler):
    """Samples that need more of an adaptive solver's steps than others go on with their own conditions."""
    denoiser, cond = Shifted(MEAN, COVARIANCE, LinearGamma()), double([[0.0, 0.0], [30.0, 0.0], [0.0, 3.0]])
    times, seeds = grid.uniform(4), [0, 1, 2]
    x_1 = start(denoiser, 3, PerSample(seeds), dtype=torch.float64)
    together = sample(denoiser.given(cond), sampler, x_1, times, PerSample(seeds))
    for k in range(3):
        alone = sample(denoiser.given(cond[k : k + 1]), sampler, x_1[k : k + 1], times, PerSample(seeds[k : k + 1]))
        torch.testing.assert_close(alone[0], together[k], rtol=1e-10, atol=1e-10)


def test_rows_of_a_condition_keep_the_mask():
    observed = torch.tensor([[True, False], [True, True]])
    part = Conditioned(gaussian(LinearGamma()), torch.tensor([3, 4]), observed).rows(torch.tensor([1]))
    assert part.cond.tolist() == [4]
    assert part.observed.tolist() == [[True, True]]


@pytest.mark.parametrize("step_size", [0.01, 0.3, 1.0])
def test_langevin_steps_have_their_closed_form_law(step_size):
    """With the precision P the stationary covariance is (P (1 - e P / 4))^-1: the step's maps summed up exactly."""
    denoiser, t = gaussian(LinearGamma(-6.0, 5.0)), 0.6
    level = denoiser.schedule.level(t)
    marginal = level.alpha**2 * COVARIANCE + level.sigma**2 * torch.eye(2, dtype=torch.float64)
    precision = torch.linalg.inv(marginal)

    def step(x, z):
        return langevin_step(x, denoiser(x, level).score, z, step_size)

    corners, zero = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    offset = step(zero, zero)
    kept, added = (step(corners, zero) - offset).mT, (step(zero, corners) - offset).mT
    mean, covariance = zero[0], zero
    for _ in range(4000):
        mean, covariance = offset[0] + kept @ mean, kept @ covariance @ kept.mT + added @ added.mT
    expected = torch.linalg.inv(precision @ (torch.eye(2, dtype=torch.float64) - step_size / 4 * precision))
    torch.testing.assert_close(mean, level.alpha * MEAN, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(covariance, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("num_dims", [1, 2, 4000])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_corrector_keeps_the_law_that_it_finds(scaling, num_dims):
    """Up to the error of its Langevin steps: N(0, u I) becomes u / (1 - snr^2 sigma^2 / u), in any number of dimensions."""
    snr, denoiser = 0.3, Standard(LinearGamma(-6.0, 5.0, SCALINGS[scaling]), (num_dims,))
    t, s = denoiser.schedule.level(0.7), denoiser.schedule.level(0.7 - 1e-9)
    u = s.alpha**2 + s.sigma**2
    sampler = PredictorCorrector(DDIM(), num_corrections=50, snr=snr)
    with torch.no_grad():
        x = sampler.step(denoiser, sampler.init(u**0.5 * draw(40_000 // num_dims, num_dims, seed=1)), t, s, Stream(0)).x
    assert x.var().item() / u == pytest.approx(1 / (1 - snr**2 * s.sigma**2 / u), rel=4 * (2 / 40_000) ** 0.5)


def test_a_corrector_does_not_run_away_on_data_much_narrower_than_one():
    """No q(x_t) is narrower than its noise, by which the steps are measured."""
    denoiser = Gaussian(double([0.0, 0.0]), double([[1e-6, 0.0], [0.0, 4.0]]), LinearGamma(-8.0, 5.0))
    x_1 = start(denoiser, 4000, Stream(0), dtype=torch.float64)
    x = sample(
        denoiser, PredictorCorrector(num_corrections=10, snr=0.5), x_1, grid.uniform(100), Stream(1), denoise=False
    )
    level = denoiser.schedule.level(0.0)
    marginal = level.alpha**2 * double([1e-6, 4.0]) + level.sigma**2
    torch.testing.assert_close(x.var(0) / marginal, 1 / (1 - 0.25 * level.sigma**2 / marginal), rtol=0.1, atol=0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Euler(churn=-0.1),
        lambda: Heun(churn=0.5),
        lambda: Heun(churn=math.nan),
        lambda: Euler(churn_noise=-1.0),
        lambda: DPMSolver(0),
        lambda: DPMSolver(4),
        lambda: DPMSolverSDE(3),
        lambda: UniPC(4),
        lambda: ExponentialAdamsBashforth(5),
        lambda: ProbabilityFlow(0.0),
        lambda: PredictorCorrector(num_corrections=0),
        lambda: PredictorCorrector(snr=0.0),
        lambda: PredictorCorrector(snr=1.0),
    ],
)
def test_impossible_samplers_are_refused(make):
    with pytest.raises(InputError, match="is "):
        make()
