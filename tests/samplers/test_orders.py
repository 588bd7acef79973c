"""Every sampler converges with the order that it declares: a wrong coefficient is seen nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_sampler import EVERY_SAMPLER, draws_noise
from oracles import COVARIANCE, MEAN, WithMix, affine_map, double, gaussian, mixture

from lowerbound import grid
from lowerbound.denoiser.exact import Gaussian
from lowerbound.rng import Stream
from lowerbound.samplers import (
    DDIM,
    DPMSolver,
    DPMSolverSDE,
    ExponentialAdamsBashforth,
    Heun,
    ProbabilityFlow,
    UniPC,
    UniPCSDE,
    sample,
    start,
)
from lowerbound.schedule import LinearGamma

ORDERED = [sampler for sampler in EVERY_SAMPLER if sampler.order and not isinstance(sampler, ProbabilityFlow)]
"""Those that have an order in the steps of a grid."""
STOCHASTIC = [sampler for sampler in ORDERED if draws_noise(sampler)]
DETERMINISTIC = [sampler for sampler in ORDERED if sampler not in STOCHASTIC]
ENDS = (-6.0, 5.0)


def graded(num_steps):
    """Times whose steps grow from the start in proportion, where multistep samplers have no past yet."""
    return 1 - torch.linspace(0, 1, num_steps + 1, dtype=torch.float64) ** 2


def slopes(errors):
    return -np.diff(np.log2(errors))


def end(denoiser, sampler, x_1, times):
    return sample(denoiser, sampler, x_1, times, Stream(0), denoise=False)


def gaussian_flow(schedule):
    """N(m, diag(u)), a start, and its end: the flow keeps (x_t - alpha_t m) / sqrt(alpha_t^2 u + sigma_t^2)."""
    mean, variance = double([1.0, -2.0]), double([0.3, 2.0])
    denoiser = Gaussian(mean, torch.diag(variance), schedule)
    x_1 = start(denoiser, 4, Stream(0), dtype=torch.float64)

    def standard(level):
        return level.alpha * mean, torch.sqrt(level.alpha**2 * variance + level.sigma**2)

    (mean_1, scale_1), (mean_0, scale_0) = standard(schedule.level(1.0)), standard(schedule.level(0.0))
    return denoiser, x_1, mean_0 + scale_0 * (x_1 - mean_1) / scale_1


def mixture_flow(schedule):
    denoiser = mixture(schedule)
    x_1 = start(denoiser, 4, Stream(0), dtype=torch.float64)
    return denoiser, x_1, end(denoiser, ProbabilityFlow(1e-12), x_1, double([1.0, 0.0]))


@pytest.fixture(scope="module")
def flows():
    return {make: make(LinearGamma(*ENDS)) for make in (gaussian_flow, mixture_flow)}


@pytest.fixture(scope="module")
def early_flows():
    return {make: make(LinearGamma(ENDS[0], 1.0)) for make in (gaussian_flow, mixture_flow)}


@pytest.mark.parametrize("flow", [gaussian_flow, mixture_flow])
@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=repr)
def test_the_flow_is_reached_with_the_declared_order(sampler, flow, flows):
    denoiser, x_1, exact = flows[flow]
    # errors of order one fall below the bound late, and multistep ones of order four settle late
    counts = (256, 512) if sampler.order in (1, 4) else (128, 256)
    errors = [(end(denoiser, sampler, x_1, graded(num)) - exact).abs().max().item() for num in counts]
    assert slopes(errors)[-1] == pytest.approx(sampler.order, abs=0.2), errors
    assert errors[-1] < 0.01


@pytest.mark.parametrize("flow", [gaussian_flow, mixture_flow])
@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=repr)
def test_on_equal_steps_the_start_limits_the_order_as_is_said(sampler, flow, early_flows):
    """To two, and to three with a corrector: from a start that still knows the data, where it shows soon."""
    denoiser, x_1, exact = early_flows[flow]
    errors = [(end(denoiser, sampler, x_1, grid.uniform(num + 1)) - exact).abs().max().item() for num in (64, 128)]
    limit = 3 if isinstance(sampler, UniPC) else 2 if hasattr(sampler, "multistep_order") else sampler.order
    assert slopes(errors)[-1] == pytest.approx(min(sampler.order, limit), abs=0.2), errors


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), DPMSolver(2), UniPC(2), ExponentialAdamsBashforth(2)])
def test_up_to_order_three_of_a_corrector_the_start_costs_nothing(sampler, flows):
    """On equal steps: the first, of order one, has a local error of order two, and of three once corrected."""
    denoiser, x_1, exact = flows[gaussian_flow]
    errors = [(end(denoiser, sampler, x_1, grid.uniform(num + 1)) - exact).abs().max().item() for num in (32, 64, 128)]
    np.testing.assert_allclose(slopes(errors), sampler.order, atol=0.2)


@pytest.mark.parametrize("flow", [gaussian_flow, mixture_flow])
def test_the_adaptive_flow_errs_by_its_tolerance(flow, flows):
    denoiser, x_1, exact = flows[flow]
    for tolerance in (1e-3, 1e-5, 1e-7):
        ends = [
            end(denoiser, ProbabilityFlow(tolerance), x_1, times) for times in (double([1.0, 0.0]), grid.uniform(4))
        ]
        assert max((each - exact).abs().max().item() for each in ends) < 30 * tolerance


@pytest.mark.parametrize("stochastic", STOCHASTIC, ids=repr)
def test_the_distribution_is_reached_with_the_declared_weak_order(stochastic):
    """Mean and covariance at the end, exact, from the data's own at the start; churn falls with the steps."""
    denoiser = WithMix(gaussian(LinearGamma(*ENDS)), 0.5)
    first, last = denoiser.schedule.level(1.0), denoiser.schedule.level(0.0)
    identity, errors = torch.eye(2, dtype=torch.float64), []
    for num in (192, 384):  # of a corrector, whose errors of two orders cancel in part, the lower one shows late
        sampler = replace(stochastic, churn=4 / num) if hasattr(stochastic, "churn") else stochastic
        offset, from_start, from_noise = affine_map(denoiser, sampler, grid.uniform(num + 1), denoise=False)
        initial = first.alpha**2 * COVARIANCE + first.sigma**2 * identity
        mean = offset + from_start @ (first.alpha * MEAN)
        covariance = from_start @ initial @ from_start.mT + (from_noise @ from_noise.mT).sum(0)
        expected = last.alpha**2 * COVARIANCE + last.sigma**2 * identity
        errors.append(max((mean - last.alpha * MEAN).abs().max().item(), (covariance - expected).abs().max().item()))
    assert slopes(errors)[-1] == pytest.approx(sampler.order, abs=0.2), errors


@pytest.mark.parametrize(
    ("num_steps", "predicted", "corrected"), [(16, 1.084, 1.043), (24, 1.044, 1.007), (32, 1.026, 0.998)]
)
def test_a_corrector_draws_variances_better_in_few_steps(num_steps, predicted, corrected):
    """Those that `samplers.unipc` tells of."""
    denoiser = Gaussian(double([0.0, 0.0]), torch.eye(2, dtype=torch.float64), LinearGamma(-9.7, 8.0))
    for sampler, variance in ((DPMSolverSDE(), predicted), (UniPCSDE(), corrected)):
        _, from_start, from_noise = affine_map(denoiser, sampler, grid.uniform(num_steps))
        drawn = from_start @ from_start.mT + (from_noise @ from_noise.mT).sum(0)
        torch.testing.assert_close(drawn, variance * torch.eye(2, dtype=torch.float64), atol=6e-4, rtol=0)
