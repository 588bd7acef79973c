"""A density in few calls: the order of its rule, its integrals, and closed forms within the errors that it states."""

import math

import numpy as np
import pytest
import torch
from oracles import NormalLevels, double, draw, mixture

from lowerbound.denoiser.by_level import ByLevel
from lowerbound.denoiser.exact import Gaussian
from lowerbound.discrete.denoiser import LevelDenoiser
from lowerbound.discrete.dequantization import TruncatedNormalDequantizer, dequantized, discrete_log_prob
from lowerbound.errors import InputError
from lowerbound.few_calls import calibrate, follow_rule, make_rule
from lowerbound.levels import level_centres
from lowerbound.likelihood.density import ProbedFlow, follow
from lowerbound.rng import Stream
from lowerbound.schedule import LinearGamma

SHORT, LONG = LinearGamma(-3.0, 3.0), LinearGamma(-10.0, 8.0)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_order_of_the_path(order):
    """Against the flow of a Gaussian, which stretches each of its axes; the nodes are dense at the start."""
    denoiser = Gaussian(double([0.5, -1.0]), torch.diag(double([0.8, 0.3])), SHORT)
    x = denoiser.sample(20, Stream(0))
    variance, mean = double([0.8, 0.3]), double([0.5, -1.0])
    stretch = ((variance + math.exp(3.0)) / (variance + math.exp(-3.0))).sqrt()
    first = SHORT.level(0.0)
    start = x - denoiser(first.alpha * x, first).x
    flow = ProbedFlow.of(denoiser, x)
    expected, _ = flow.end((mean + (x - mean) * stretch - x) / math.exp(1.5))
    sizes = (12, 24, 48)
    errors = [
        (follow_rule(flow, make_rule(SHORT, n, order, 0.0, 1e3), start).z - expected).abs().max().item() for n in sizes
    ]
    slopes = [math.log2(coarse / fine) for coarse, fine in zip(errors, errors[1:], strict=False)]
    assert slopes[-1] == pytest.approx(order, abs=0.35), (errors, slopes)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("centre", "width"), [(0.0, 1e3), (-2.0, 2.0)])
def test_polynomials_are_integrated_exactly(order, centre, width):
    rule = make_rule(LONG, 8, order, centre, width)
    places, ends = np.array([-10.0, *rule.nodes]), np.array([*rule.nodes, 8.0])
    # of gamma^p e^{-gamma/2} / 2
    antiderivatives = (lambda g: -1, lambda g: -(g + 2), lambda g: -(g**2 + 4 * g + 8))
    for p, polynomial in enumerate(antiderivatives[:order]):
        whole = np.exp(-ends / 2) * polynomial(ends)
        ours = rule.path @ places**p
        # a polynomial has as many values as it needs after the first steps
        np.testing.assert_allclose(np.diff(ours)[max(0, order - 2) :], np.diff(whole)[max(0, order - 2) :], rtol=1e-10)
    np.testing.assert_allclose(rule.path.sum(1), math.exp(5.0) - np.exp(-ends / 2), rtol=1e-12)
    assert (np.triu(rule.path, 1) == 0).all(), "no value is used before it is there"


def test_the_quadrature_is_gauss_s():
    rule = make_rule(LONG, 8, 2, 0.0, 1e6)
    nodes = np.array(rule.nodes)
    for p in range(16):
        whole = (8.0 ** (p + 1) - (-10.0) ** (p + 1)) / (p + 1)
        assert (rule.quadrature * nodes**p).sum() == pytest.approx(whole, rel=1e-8), p
    warped = make_rule(LONG, 12, 2, -2.0, 2.0)
    v = np.arcsinh((np.array(warped.nodes) + 2) / 2)
    ends = (math.asinh(-4.0), math.asinh(5.0))
    # v^p d gamma = 2 v^p cosh(v) dv
    assert warped.quadrature.sum() == pytest.approx(18.0, rel=1e-10)
    whole = 2 * sum(
        sign * (v_end * math.sinh(v_end) - math.cosh(v_end)) for sign, v_end in zip((-1, 1), ends, strict=True)
    )
    assert (warped.quadrature * v).sum() == pytest.approx(whole, rel=1e-9)


def exact_density(denoiser, x, observed=None):
    """Of what the flow's density is of: data with the noise of its start."""
    level = denoiser.schedule.level(0.0)
    num_dims = x.shape[1] if observed is None else observed.sum(1)
    return denoiser.log_marginal(level.alpha * x, 0.0, observed) + num_dims * math.log(level.alpha)


def test_it_is_the_exact_density_within_its_errors_which_shrink():
    """And without the correction, or with the opposite one, it is not: of four calls by a tenth of a bit and more."""
    denoiser = mixture(LONG)
    flow = ProbedFlow.of(denoiser, denoiser.sample(200, Stream(0)))
    x = denoiser.sample(1000, Stream(1))
    exact, spreads = exact_density(denoiser, x), []
    for num_calls in (4, 8, 16):
        found = calibrate([(flow, None)], num_calls).density(ProbedFlow.of(denoiser, x))
        assert found.correction is not None
        assert found.correction_error is not None
        assert found.num_calls.tolist() == [num_calls] * 1000
        assert found.kind == f"density (ODE in {num_calls} calls)"
        off = found.nats - found.mismatch - exact
        shared = (found.correction_error.square().mean() + found.solver_error.square().mean() / 1000).sqrt()
        assert off.mean().abs() < 3 * shared, num_calls
        within = [(off.abs() < k * found.solver_error).double().mean() for k in (1, 2)]
        assert within[0] > 0.6, num_calls
        assert within[1] > 0.9, num_calls
        assert off.std() < 2.5 * found.solver_error.mean(), num_calls
        assert (off - found.correction).mean().abs() > 6 * shared, "the correction is needed"
        assert (off - 2 * found.correction).mean().abs() > 6 * shared, "its sign is right"
        spreads.append(found.solver_error.mean().item())
    assert spreads[1] < 0.8 * spreads[0]
    assert spreads[2] < 0.5 * spreads[1]


def test_of_a_gaussian_what_is_left_is_in_proportion_to_the_terms():
    """In one dimension the flow is one stretch for all: nothing is left of any rule's error."""
    denoiser = Gaussian(double([0.3]), double([[0.2]]), LinearGamma(-12.0, 10.0))
    few_calls = calibrate([(ProbedFlow.of(denoiser, denoiser.sample(40, Stream(0))), None)], 8, tolerance=1e-9)
    x = denoiser.sample(50, Stream(1))
    found = few_calls.density(ProbedFlow.of(denoiser, x))
    assert found.correction is not None
    assert found.correction.abs().max() > 0.02
    assert (found.nats - found.mismatch - exact_density(denoiser, x)).abs().max() < 2e-4
    assert few_calls.spread < 1e-4


def test_missing_entries_and_two_denoisers():
    denoiser = mixture(LONG)
    x, observed = denoiser.sample(300, Stream(0)), draw(300, 2, seed=3) > -0.5
    observed[:, 0] |= ~observed.any(1)
    given = denoiser.given(observed=observed)
    flow = ProbedFlow.of(given, torch.where(observed, x, math.nan))
    few_calls = calibrate([(flow, None)], 12)
    found = few_calls.density(flow)
    off = found.nats - found.mismatch - exact_density(denoiser, x, observed)
    assert off.mean().abs() < 4 * found.solver_error.mean() / 300**0.5
    assert (off.abs() < 2 * found.solver_error).double().mean() > 0.9
    both = ByLevel(denoiser, denoiser, -1.0).given(observed=observed)
    again = few_calls.density(ProbedFlow.of(both, torch.where(observed, x, math.nan)))
    torch.testing.assert_close(again.nats, found.nats, rtol=1e-12, atol=1e-12)


def test_levels_have_the_bound_of_the_flow_that_is_followed_to_its_end():
    """With the same draws of the noise within them, and within the stated errors."""
    num_levels, mean, variance = 16, 7.3, 9.0
    denoiser = LevelDenoiser(NormalLevels(mean, variance, num_levels), LinearGamma(-8.0, 8.0), (2,), num_levels).eval()
    index = (mean + math.sqrt(variance) * draw(240, 2)).round().clamp(0, 15).long()
    x, dequantizer = level_centres(index, num_levels).double(), TruncatedNormalDequantizer(num_levels)
    flow, u, _ = dequantized(denoiser, x[:120], dequantizer, noise=Stream(0))
    few_calls = calibrate([(flow, u)], 8)
    found = discrete_log_prob(denoiser, x[120:], dequantizer, noise=Stream(1), few_calls=few_calls)
    exact = discrete_log_prob(denoiser, x[120:], dequantizer, noise=Stream(1), tolerance=1e-4)
    off = found.nats - exact.nats
    assert found.kind == "bound (ODE in 8 calls, dequantised, K=1)"
    assert (off.abs() < 2 * found.solver_error).double().mean() > 0.85
    assert off.mean().abs() < 6 * few_calls.spread * 2 / 120**0.5
    assert few_calls.spread < 0.2
    several = discrete_log_prob(denoiser, x[120:], dequantizer, noise=Stream(1), num_importance=2, few_calls=few_calls)
    assert several.correction is not None
    assert several.num_calls.tolist() == [16] * 120


def test_probes_are_those_of_the_flow_that_it_is_compared_with():
    roots = draw(20, 20)
    denoiser = Gaussian(torch.zeros(20).double(), roots @ roots.mT / 20 + 0.05 * torch.eye(20).double(), LONG)
    x = denoiser.sample(60, Stream(0))
    flow = ProbedFlow.of(denoiser, x, noise=Stream(1), num_probes=2)
    found = calibrate([(flow, None)], 12).density(flow)
    exact = follow(flow, tolerance=1e-5)
    assert (found.estimates - exact.estimates).abs().max() < 0.1 * exact.standard_error.max()


def test_mistakes():
    denoiser = mixture(LONG)
    with pytest.raises(InputError, match="at least 16 examples"):
        calibrate([(ProbedFlow.of(denoiser, denoiser.sample(5, Stream(0))), None)], 4)
    with pytest.raises(InputError, match="calls and order start at 1"):
        make_rule(LONG, 0, 1, 0.0, 1.0)
