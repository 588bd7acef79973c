"""One loss and its weightings: each published loss in its own letters."""

import math

import numpy as np
import paper
import pytest
import torch
from oracles import Known, double, draw, gaussian, make_schedule, mixture, sigma_points

from lowerbound import objective
from lowerbound.denoiser.exact import Gaussian
from lowerbound.errors import InputError
from lowerbound.likelihood import mean_and_error
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import EDM, Cosine, LearnedGamma, LinearGamma, MonotoneWarp
from lowerbound.times import antithetic_times

TIMES = double([0.01, 0.2, 0.5, 0.83, 0.99])
SCHEDULES = ["linear gamma", "cosine", "rectified flow", "EDM", "DDPM"]


def errors(denoiser, x, eps):
    """The squared errors of x, eps and v, and the signal-to-noise ratio, at TIMES."""
    alpha, sigma = (c[:, None] for c in denoiser.schedule(TIMES))
    prediction = denoiser(alpha * x + sigma * eps, TIMES)
    norm = torch.sqrt(alpha**2 + sigma**2)
    v = alpha / norm * eps - sigma / norm * x
    square = {"x": x - prediction.x, "eps": eps - prediction.eps, "v": v - prediction.v}
    return {name: (error**2).sum(1) for name, error in square.items()}, (alpha / sigma)[:, 0] ** 2


@pytest.mark.parametrize("name", SCHEDULES)
def test_weightings_are_the_published_losses(name):
    denoiser = mixture(make_schedule(name))
    x, eps = draw(2, 5, 2)
    error, snr = errors(denoiser, x, eps)

    def loss(weighting):
        return objective.loss(denoiser, x, weighting, t=TIMES, eps=eps)

    gamma_slope = denoiser.schedule.slope(TIMES)
    torch.testing.assert_close(loss(objective.uniform), 0.5 * gamma_slope * error["eps"], rtol=1e-12, atol=0)
    torch.testing.assert_close(loss(objective.simple), error["eps"], rtol=1e-12, atol=0)
    for clip in (1.0, 5.0):
        for target, weight in paper.min_snr_weights(snr.numpy(), clip).items():
            expected = torch.from_numpy(weight) * error[target]
            torch.testing.assert_close(loss(objective.min_snr(clip)), expected, rtol=1e-6, atol=1e-12, msg=target)


def test_the_balanced_weight_rises_from_the_bounds_to_the_boost():
    weight = objective.balanced(boost=3.0, gamma=-2.0)
    gamma = double([-40.0, -2.0, 40.0])
    torch.testing.assert_close(weight(gamma, torch.ones_like(gamma)), double([1.0, 2.5, 4.0]))


def test_a_sigmoid_weight_is_at_most_one_of_noise_and_of_data():
    r"""$w \|\epsilon - \hat\epsilon\|^2 = w\, \mathrm{SNR} \|x - \hat x\|^2$, and $w\, e^{-\gamma} \le 1$ too."""
    gamma = torch.linspace(-30, 30, 61, dtype=torch.float64)
    weight = objective.sigmoid()(gamma, torch.ones_like(gamma))
    assert weight.max() < 1
    assert (weight * torch.exp(-gamma)).max() < 1
    torch.testing.assert_close(objective.sigmoid(-3.0)(double([-3.0]), double([1.0])), double([0.5]))


def test_two_weightings_meet_at_the_split():
    gamma, slope = double([-5.0, -3.0001, -3.0, 4.0]), double([1.0, 2.0, 3.0, 4.0])
    weight = objective.in_two(-3.0, objective.uniform, objective.simple)
    torch.testing.assert_close(weight(gamma, slope), double([1.0, 1.0, 2 / 3, 0.5]))


def test_a_weight_moves_no_end_of_a_learned_schedule():
    """The network learns from the weighted loss, the schedule from the bound."""
    x, eps = draw(2, 5, 2)
    schedules = [LearnedGamma(-6.0, 4.0, MonotoneWarp()).double() for _ in range(2)]
    for schedule, weighting in zip(schedules, (objective.uniform, objective.balanced()), strict=True):
        objective.loss(gaussian(schedule), x, weighting, t=TIMES, eps=eps).sum().backward()
    (first, *more), (again, *others) = ([*schedule.parameters()] for schedule in schedules)
    assert first.grad.abs() > 0.01
    for ours, theirs in zip((first, *more), (again, *others), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def mean_loss(denoiser, weighting, num_times=4001):
    """E_t of the expected loss of one-dimensional Gaussian data N(0, u): sigma points in x and eps, quadrature in t."""
    spread = denoiser.covariances[0, 0, 0].sqrt()
    points = sigma_points(2)
    values = []
    t = (torch.arange(num_times, dtype=torch.float64) + 0.5) / num_times
    for point in points:
        x = (spread * point[0]).expand(num_times, 1)
        values.append(objective.loss(denoiser, x, weighting, t=t, eps=point[1].expand(num_times, 1)))
    return torch.stack(values).mean().item()


def test_edms_loss_in_its_own_letters_and_on_any_schedule():
    """E over ln sigma ~ N(-1.2, 1.2^2) of lambda(sigma) E|D(y; sigma) - y|^2; for N(0, u) data u sigma^2 / (u + sigma^2)."""
    u, sigma_data = 0.3, 0.5
    log_sigma = np.linspace(-1.2 - 12, -1.2 + 12, 20_001)
    sigma = np.exp(log_sigma)
    density = np.exp(-(((log_sigma + 1.2) / 1.2) ** 2) / 2) / (1.2 * math.sqrt(2 * math.pi))
    integrand = density * paper.edm_loss_weight(sigma, sigma_data) * u * sigma**2 / (u + sigma**2)
    expected = np.trapezoid(integrand, log_sigma)
    for schedule in (LinearGamma(-18.0, 14.0), Cosine(gamma_min=-18.0, gamma_max=14.0), EDM(1e-4, 1e3)):
        denoiser = Gaussian(double([0.0]), double([[u]]), schedule)
        ours = mean_loss(denoiser, objective.edm(sigma_data))
        assert ours == pytest.approx(expected, rel=1e-4), type(schedule).__name__


def test_the_bounds_integral_does_not_depend_on_the_schedule():
    """VDM, section 5.1: only the ends matter. For N(0, u) data it has a closed form."""
    u, low, high = 0.3, -6.0, 5.0
    exact = 0.5 * (math.log1p(u * math.exp(-low)) - math.log1p(u * math.exp(-high)))
    for schedule in (
        LinearGamma(low, high),
        Cosine(gamma_min=low, gamma_max=high),
        EDM(math.exp(low / 2), math.exp(high / 2)),
    ):
        ours = mean_loss(Gaussian(double([0.0]), double([[u]]), schedule), objective.uniform)
        assert ours == pytest.approx(exact, rel=1e-5), type(schedule).__name__


def test_observed_entries_alone_count():
    denoiser = gaussian(LinearGamma())
    x, eps = draw(2, 5, 2)
    observed = torch.tensor([[True, False]]).expand(5, 2)
    smaller = Gaussian(denoiser.means[0, :1], denoiser.covariances[0, :1, :1], denoiser.schedule)
    expected = objective.loss(smaller, x[:, :1], t=TIMES, eps=eps[:, :1])
    for missing in (0.0, 100.0, math.nan):
        given = torch.where(observed, x, missing)
        ours = objective.loss(denoiser.given(observed=observed), given, t=TIMES, eps=eps)
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_antithetic_times_are_evenly_spread(dtype):
    for batch_size in (1, 2, 7, 256):
        for offset in (0.0, 0.3, 0.999, 1.0):
            t = antithetic_times(torch.tensor(offset, dtype=dtype), batch_size)
            assert t.dtype == dtype
            assert t.min() >= 0
            assert t.max() < 1
            gaps = torch.cat([t.sort().values, t.min()[None] + 1]).diff()
            torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / batch_size), rtol=0, atol=1e-6)
            assert t[0] == torch.tensor(offset, dtype=dtype) % 1


def test_drawn_times_and_noise_are_the_sources():
    denoiser, x, eps = gaussian(LinearGamma()), draw(4, 2), draw(4, 2, seed=1)
    source = Known(normal=[eps], uniform=[double(0.3)])
    drawn = objective.loss(denoiser, x, noise=source)
    given = objective.loss(denoiser, x, t=double([0.3, 0.55, 0.8, 0.05]), eps=eps)
    torch.testing.assert_close(drawn, given, rtol=1e-9, atol=0)
    for make in (lambda: Stream(0), lambda: PerSample(range(4))):
        assert torch.equal(objective.loss(denoiser, x, noise=make()), objective.loss(denoiser, x, noise=make()))


def test_the_loss_says_what_it_lacks():
    with pytest.raises(InputError, match="noise=Stream"):
        objective.loss(gaussian(LinearGamma()), draw(4, 2))
    with pytest.raises(InputError, match="noise=Stream"):
        objective.loss(gaussian(LinearGamma()), draw(4, 2), t=double([0.1] * 4))


def test_of_normal_data_the_integral_of_an_entry_does_not_depend_on_its_noise():
    """The control variate takes all of it away."""
    denoiser = Gaussian(torch.zeros(3).double(), torch.eye(3).double(), LinearGamma(-9.0, 7.0))
    x, t = Stream(seed=0).normal(torch.empty(50, 3).double()), torch.linspace(0.0, 1, 50).double()
    drawn = [objective.loss_of_entries(denoiser, x, 1.0, t=t, eps=Stream(seed).normal(x)) for seed in (1, 2)]
    assert (drawn[0] - drawn[1]).abs().max() < 1e-9
    assert drawn[0].shape == x.shape


def test_entries_have_the_loss_as_their_sum_in_expectation_and_less_spread():
    denoiser = mixture(LinearGamma(-9.0, 7.0))
    x = Stream(seed=0).normal(torch.empty(1, 2).double()).expand(20_000, 2)
    for time in (0.1, 0.5, 0.9):
        t, eps = torch.full((len(x),), time).double(), Stream(seed=1).normal(x)
        whole, entries = (
            objective.loss(denoiser, x, t=t, eps=eps),
            objective.loss_of_entries(denoiser, x, 1.0, t=t, eps=eps).sum(1),
        )
        difference, error = mean_and_error(whole - entries)
        assert abs(difference) < 3 * error
        assert entries.std() < whole.std()
