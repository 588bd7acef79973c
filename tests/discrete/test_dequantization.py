"""Discrete data under the flow: never above the exact log probability, tighter with more draws and the right noise."""

import math

import pytest
import torch
from oracles import Known, double
from scipy.stats import truncnorm

from lowerbound.denoiser.exact import Empirical, Gaussian
from lowerbound.discrete.dequantization import TruncatedNormalDequantizer, UniformDequantizer, discrete_log_prob
from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.likelihood import mean_and_error
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import LinearGamma

NUM_LEVELS = 4
WEIGHTS = torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2 + 0.01
AXIS = level_centres(torch.arange(NUM_LEVELS), NUM_LEVELS).double()
LATTICE = torch.cartesian_prod(AXIS, AXIS)
DEQUANTIZERS = (UniformDequantizer, TruncatedNormalDequantizer)


def lattice(gamma_min, gamma_max=9.0):
    return Empirical(LATTICE, LinearGamma(gamma_min, gamma_max), WEIGHTS)


def examples(num_examples):
    return LATTICE[torch.multinomial(WEIGHTS, num_examples, True, generator=torch.Generator().manual_seed(1))]


def exact_log_mass(x, gamma_0):
    """What the density at gamma_0, a normal around each point of the lattice, has within the bin of x."""
    ratio, half = math.exp(gamma_0 / 2), 1 / NUM_LEVELS
    distance = x[:, None] - LATTICE
    inside = torch.special.ndtr((distance + half) / ratio) - torch.special.ndtr((distance - half) / ratio)
    return (inside.prod(-1) @ (WEIGHTS / WEIGHTS.sum())).log()


@pytest.mark.parametrize("make", DEQUANTIZERS)
@pytest.mark.parametrize("gamma_0", [-14.0, -4.0, 0.0, 6.0])
def test_the_noise_has_the_density_it_says(make, gamma_0):
    """Its quantiles and its log density against scipy's, from wide bins to narrow ones; all within the bin."""
    num_levels = 16
    place = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    x = torch.full_like(place, level_centres(torch.tensor(5), num_levels).item())
    u, log_q = make(num_levels).sample(x, gamma_0, Known(uniform=[place]))
    half, ratio = 1 / num_levels, math.exp(gamma_0 / 2)
    normal = truncnorm(-half / ratio, half / ratio, scale=ratio)
    expected = normal.ppf(place) if make is TruncatedNormalDequantizer else (2 * place - 1) * half
    torch.testing.assert_close(u, torch.as_tensor(expected), rtol=0, atol=1e-7 * half)
    logs = normal.logpdf(u) if make is TruncatedNormalDequantizer else torch.full_like(u, -math.log(2 * half))
    torch.testing.assert_close(log_q[1:-1], torch.as_tensor(logs)[1:-1], rtol=1e-9, atol=1e-9)
    assert u.abs().max() <= half * (1 + 1e-12)
    assert log_q.isfinite().all()


@pytest.mark.parametrize("make", DEQUANTIZERS)
@pytest.mark.parametrize("gamma_0", [-26.0, -22.0, -10.0])
def test_the_finest_bins_in_single_precision(make, gamma_0):
    """E[1 / q] is the bin's width where q covers the bin, and x + u stays within rounding of the bin."""
    num_levels, width = 65_536, 2 / 65_536
    index = torch.tensor([0, 1, 32_767, 32_768, 65_000, 65_535])
    x = level_centres(index, num_levels).repeat_interleave(5000)[:, None]
    assert x.dtype == torch.float32
    u, log_q = make(num_levels).sample(x, gamma_0, Stream(0))
    assert u.dtype == torch.float32
    assert log_q.dtype == torch.float64
    y = x + u
    assert (y.double() - x.double()).abs().max() <= width / 2 + 2**-24
    torch.testing.assert_close(y.double() - x.double(), u.double(), rtol=0, atol=1e-9 * width)
    assert y.unique().numel() > 1000, "a bin has many values"
    if make is UniformDequantizer or gamma_0 > -22.0:
        assert torch.exp(-log_q).mean().item() == pytest.approx(width, rel=0.01)
    if make is TruncatedNormalDequantizer:
        ratio = math.exp(gamma_0 / 2)
        spread = truncnorm(-width / 2 / ratio, width / 2 / ratio, scale=ratio).std()
        assert u.double().std().item() == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("make", DEQUANTIZERS)
@pytest.mark.parametrize("gamma_0", [-6.0, -3.5])
def test_the_bound_is_below_the_exact_log_probability(make, gamma_0):
    """Without and with noise that leaks into neighbouring bins; eight draws come near the mass of the bin."""
    denoiser, x = lattice(gamma_0), examples(60)
    exact = exact_log_mass(x, gamma_0)
    assert (exact < denoiser.log_prob(x)).double().mean() > 0.5
    gaps = []
    for num_importance in (1, 8):
        bound = discrete_log_prob(
            denoiser, x, make(NUM_LEVELS), num_importance=num_importance, noise=Stream(2), tolerance=1e-3
        )
        gaps.append(mean_and_error(exact - bound.nats))
        assert gaps[-1][0] > -4 * gaps[-1][1] - 1e-3
    assert gaps[1][0] < 0.5 * gaps[0][0] + 4 * gaps[0][1]
    assert gaps[1][0] < {-6.0: 0.3, -3.5: 0.03}[gamma_0] + 4 * gaps[1][1]


def test_noise_of_the_right_shape_and_more_draws_are_tighter():
    """Where the flow's start is much narrower than a bin: uniform noise wastes most of its draws."""
    denoiser, x = lattice(-6.0, 6.0), examples(40)
    exact = denoiser.log_prob(x)

    def gap(make, num_importance):
        bound = discrete_log_prob(
            denoiser, x, make(NUM_LEVELS), num_importance=num_importance, noise=Stream(3), tolerance=1e-3
        )
        return mean_and_error(exact - bound.nats)[0]

    uniform = [gap(UniformDequantizer, num_importance) for num_importance in (1, 8)]
    assert uniform[0] > 2 * uniform[1] > 0.2
    assert abs(gap(TruncatedNormalDequantizer, 1)) < 0.02


def test_estimated_traces_leave_a_bound():
    """A probe's noise must not pass for probability: each draw's weight comes from other probes than its value."""
    denoiser, x = lattice(-4.0), examples(1).expand(100, 2)
    exact = exact_log_mass(x[:1], -4.0).item()
    gaps = []
    for num_importance, num_probes in ((1, 1), (4, 2), (4, 6)):
        bound = discrete_log_prob(
            denoiser,
            x,
            TruncatedNormalDequantizer(NUM_LEVELS),
            num_importance=num_importance,
            trace="hutchinson",
            num_probes=num_probes,
            noise=Stream(4),
            tolerance=1e-3,
        )
        gaps.append(mean_and_error(exact - bound.nats))
        assert gaps[-1][0] > -4 * gaps[-1][1] - 1e-3
        assert bound.estimates.shape == (100, num_probes)
    assert gaps[2][0] < 0.01 + 4 * gaps[2][1]


class SameNoise(UniformDequantizer):
    """Draws that every copy of an example shares, so that copies differ by their probes alone."""

    def sample(self, x, gamma_0, noise):
        self.__dict__["draws"] = self.__dict__.get("draws", 0) + 1
        place = Stream(self.draws).uniform(x[:1]).expand_as(x)
        return super().sample(x, gamma_0, Known(uniform=[place]))


@pytest.mark.parametrize("num_probes", [2, 6])
def test_the_probes_error_counts_the_weights_of_the_draws(num_probes):
    covariance = 0.05 * (0.5 + 0.5 * torch.eye(6, dtype=torch.float64))
    denoiser = Gaussian(torch.zeros(6).double(), covariance, LinearGamma(-6.0, 6.0))
    x = level_centres(torch.tensor([[2, 2, 1, 2, 1, 1]]), NUM_LEVELS).double().expand(1000, 6)
    arguments = {"num_importance": 3, "trace": "hutchinson", "num_probes": num_probes, "tolerance": 1e-3}
    bound = discrete_log_prob(denoiser, x, SameNoise(NUM_LEVELS), noise=Stream(0), **arguments)
    stated = bound.standard_error.square().mean().sqrt().item()
    assert stated == pytest.approx(bound.nats.std().item(), rel=0.6 / num_probes), "to first order in their noise"


def test_only_observed_entries_count():
    whole, part = lattice(-4.0), Empirical(AXIS[:, None], LinearGamma(-4.0, 9.0), WEIGHTS.reshape(4, 4).sum(1))
    x, places = LATTICE[::3], [torch.rand(6, 2, dtype=torch.float64) for _ in range(2)]
    observed = torch.tensor([[True, False]]).expand(6, 2)
    dequantizer = TruncatedNormalDequantizer(NUM_LEVELS)
    expected = discrete_log_prob(
        part, x[:, :1], dequantizer, num_importance=2, noise=Known(uniform=[place[:, :1] for place in places])
    )
    for missing in (9.0, math.nan):
        given = torch.where(observed, x, missing)
        ours = discrete_log_prob(
            whole.given(observed=observed), given, dequantizer, num_importance=2, noise=Known(uniform=places)
        )
        torch.testing.assert_close(ours.nats, expected.nats, rtol=0, atol=1e-3)
        assert ours.num_dims.tolist() == [1] * 6
        torch.testing.assert_close(ours.bits_per_dim, -ours.nats / math.log(2))


def test_what_was_computed_is_said():
    bound = discrete_log_prob(
        lattice(-4.0), LATTICE[:3], UniformDequantizer(NUM_LEVELS), num_importance=3, noise=PerSample(range(3))
    )
    assert bound.kind == "bound (ODE, dequantised, K=3)"
    assert bound.settings == "tolerance 1e-05, exact trace, uniform dequantiser"
    assert bound.standard_error.tolist() == [0.0] * 3
    one = discrete_log_prob(
        lattice(-4.0), LATTICE[:3], TruncatedNormalDequantizer(NUM_LEVELS), noise=PerSample(range(3))
    )
    assert one.kind == "bound (ODE, dequantised, K=1)"
    assert one.settings == "tolerance 1e-05, exact trace, truncated-normal dequantiser"
    assert (bound.num_calls > 2 * one.num_calls).all()


def test_a_seed_fixes_the_bound_of_each_example():
    arguments = {"num_importance": 2, "trace": "hutchinson", "num_probes": 2}
    denoiser, dequantizer = lattice(-4.0), TruncatedNormalDequantizer(NUM_LEVELS)
    batch = discrete_log_prob(denoiser, LATTICE[:4], dequantizer, noise=PerSample(range(4)), **arguments)
    alone = discrete_log_prob(denoiser, LATTICE[2:3], dequantizer, noise=PerSample([2]), **arguments)
    torch.testing.assert_close(alone.nats, batch.nats[2:3], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_importance": 0}, "at least one draw"),
        ({"x": LATTICE + 0.1}, "not the centre of one of 4 levels"),
        ({"x": LATTICE * math.nan}, "not the centre of one of 4 levels"),
        ({"x": LATTICE + 2}, "not the centre of one of 4 levels"),
        ({"dequantizer": UniformDequantizer(256)}, "not the centre of one of 256 levels"),
        ({"num_importance": 2, "trace": "hutchinson"}, "num_probes of at least 2"),
        ({"trace": "best"}, "choose one of auto"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    given = {"x": LATTICE, "dequantizer": UniformDequantizer(NUM_LEVELS)} | arguments
    with pytest.raises(InputError, match=message):
        discrete_log_prob(lattice(-4.0), noise=Stream(0), **given)


@pytest.mark.parametrize("num_levels", [1, 65_537])
def test_impossible_numbers_of_levels_are_refused(num_levels):
    with pytest.raises(InputError, match="between 2 and 65,536"):
        UniformDequantizer(num_levels)


def test_level_centres_of_any_count_pass_in_single_precision():
    for num_levels in (2, 3, 17, 256, 1000, 65_536):
        x = level_centres(torch.arange(num_levels), num_levels)[:, None].float()
        denoiser = Empirical(double([[0.0]]).float(), LinearGamma(-2.0, 1.0))
        picked = x[:: max(1, num_levels // 4)]
        assert (
            discrete_log_prob(denoiser, picked, UniformDequantizer(num_levels), noise=Stream(0)).nats.isfinite().all()
        )


def test_draws_that_do_not_arrive_leave_no_figure():
    denoiser = Empirical(level_centres(torch.tensor([[3, 200], [100, 7]]), 256).double(), LinearGamma(-13.3, 9.0))
    bound = discrete_log_prob(
        denoiser, denoiser.examples, TruncatedNormalDequantizer(256), noise=Stream(0), num_importance=2, max_calls=20
    )
    assert not bound.arrived.any()
    for figure in (bound.nats, bound.solver_error, bound.mismatch):
        assert figure.isnan().all()
    assert (bound.num_calls <= 40).all()
