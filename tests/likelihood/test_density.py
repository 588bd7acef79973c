"""The flow's density: closed forms, the same in every scaling, the score as its gradient, probes without bias."""

import math

import pytest
import torch
from oracles import COVARIANCE, MEAN, NormalLevels, double, draw, gaussian, mixture

from lowerbound.denoiser import Denoiser, NetworkDenoiser, Prediction
from lowerbound.denoiser.exact import Empirical, Gaussian
from lowerbound.discrete.denoiser import LevelDenoiser
from lowerbound.discrete.dequantization import TruncatedNormalDequantizer, discrete_log_prob
from lowerbound.elementary import expand
from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.likelihood import density
from lowerbound.likelihood.density import Density, flow, log_prob
from lowerbound.likelihood.mismatch import base_mismatch
from lowerbound.nn.embeddings import FourierFeatures, octaves
from lowerbound.nn.mlp import MLP
from lowerbound.rng import PerSample, Stream
from lowerbound.schedule import EDM, Cosine, LinearGamma, Sigmoid
from lowerbound.schedule.scaling import SCALINGS
from lowerbound.scoring.spread import half_interval

WIDE = LinearGamma(-18.0, 16.0)


def ten_dimensions(schedule):
    roots = draw(10, 10)
    return Gaussian(0.3 * draw(10, seed=1), roots @ roots.mT / 10 + 0.01 * torch.eye(10), schedule)


def trained_looking(scaling="variance-preserving", dim=3, **arguments):
    """A network that is no denoiser of anything, in single precision."""
    torch.manual_seed(0)
    network = MLP(dim, width=32, depth=1, **arguments)
    torch.nn.init.normal_(network.out.weight, std=0.05)
    return NetworkDenoiser(network, LinearGamma(-8.0, 6.0, SCALINGS[scaling]), (dim,), target="v")


@pytest.mark.parametrize("make", [mixture, ten_dimensions])
def test_the_density_is_the_exact_one(make):
    """Every example within 1e-4 nats per dimension; the ends, not the solver, are most of what is left."""
    denoiser = make(WIDE)
    x = denoiser.sample(100, Stream(0))
    ours = log_prob(denoiser, x, tolerance=1e-6)
    assert ((ours.nats - denoiser.log_prob(x)).abs() / x.shape[1]).max() < 1e-4
    assert ours.standard_error.tolist() == [0.0] * 100
    assert ours.kind == "density (ODE)"
    assert ours.settings == "tolerance 1e-06, exact trace"
    torch.testing.assert_close(ours.bits_per_dim, -ours.nats / x.shape[1] / math.log(2))


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("make", [lambda schedule: Gaussian(double([1.0]), double([[1.0]]), schedule), mixture])
def test_a_base_that_does_not_fit_is_told(make, observed):
    """At an end that still knows the data the base density is wrong by up to 0.3 nats: the figure less that is exact."""
    denoiser = make(LinearGamma(-7.0, 5.0))
    x = denoiser.sample(100, Stream(0))
    there = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.7 if observed else None
    level = denoiser.schedule.level(0.0)
    num_dims = x.shape[1] if there is None else there.sum(1)
    expected = denoiser.log_marginal(level.alpha * x, 0.0, there) + num_dims * math.log(level.alpha)
    ours = log_prob(denoiser.given(observed=there), x, tolerance=1e-6)
    off = (ours.nats - expected).abs()
    assert off.max() > 0.03
    assert (ours.nats - ours.mismatch - expected).abs().max() < 3e-5
    if x.shape[1] == 1 and not observed:
        assert off.max() > 0.2


def test_a_condition_has_a_mismatch_of_its_own():
    cond = double([[0.0, 1.0], [-2.0, 3.0]])
    denoiser = Towards(LinearGamma(-16.0, 4.0), (2,))
    x = cond + 0.5 * draw(2, 2)
    ours = log_prob(denoiser.given(cond), x, tolerance=1e-6)
    expected = torch.distributions.Normal(cond, 0.5).log_prob(x).sum(1)
    assert (ours.nats - expected).abs().max() > 0.1
    torch.testing.assert_close(ours.nats - ours.mismatch, expected, rtol=0, atol=2e-3)


def test_the_points_of_a_constant_mismatch_are_one_batch():
    denoiser, x, calls = ten_dimensions(LinearGamma(-8.0, 4.0)), draw(3, 10), []
    whole = base_mismatch(denoiser, x)
    denoiser.register_forward_hook(lambda module, given, prediction: calls.append(len(given[0])))
    torch.testing.assert_close(base_mismatch(denoiser, x), whole, rtol=0, atol=0)
    assert calls == [1, 16, 16, 3, 3]
    each = torch.cat([base_mismatch(denoiser.given(observed=torch.ones_like(x[:1]).bool()), row[None]) for row in x])
    torch.testing.assert_close(each, whole, rtol=1e-12, atol=1e-12)


class Cut(Denoiser):
    """Of Gaussian data in single precision, its predictions cut to a range as those of levels are: a divergence of steps."""

    def predict(self, x_t, level, cond, observed):
        alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
        mixed = x_t @ (torch.eye(len(x_t[0]), dtype=x_t.dtype) + 0.1)
        x = (alpha / (alpha**2 + sigma**2) * mixed).float()
        return Prediction(x_t, level, x.to(x_t.dtype).clamp(-0.4, 0.4), self.schedule)


def test_an_example_has_one_density_whatever_its_batch():
    """Over batches of any size alike, and at a tenth of the tolerance within what the solver says of its error."""
    denoiser = Cut(LinearGamma(-5.0, 5.0), (20,))
    x = (0.4 * draw(10, 20, seed=5)).clamp(-0.4, 0.4).float()

    def found(sizes, tolerance=1e-3):
        rows = torch.arange(10).split(sizes)
        return [log_prob(denoiser, x[i], noise=PerSample(i.tolist()), tolerance=tolerance) for i in rows]

    (whole,) = found([10])
    for sizes in ([1, 2, 3, 4], [7, 1, 1, 1]):
        parts = torch.cat([part.nats for part in found(sizes)])
        assert ((parts - whole.nats).abs() <= 0.1 * whole.solver_error).all(), sizes
    moved = (found([10], 1e-4)[0].nats - whole.nats).abs()
    assert (moved <= whole.solver_error).double().mean() >= 0.8, "an early error may be enlarged"
    assert moved.max() > 0.02 * whole.solver_error.max(), "it is no idle bound"
    assert whole.solver_error.max() < 0.02 * 20


def test_sixteen_bits_in_single_precision():
    """65,536 levels under noise of a fifth of one: single precision holds that noise to a per cent, the flow all of it."""
    num_levels, mean, variance = 65_536, 60_000.3, 1600.0
    denoiser = LevelDenoiser(
        NormalLevels(mean, variance, num_levels), LinearGamma(-24.0, 12.0), (3,), num_levels
    ).eval()
    index = (mean + math.sqrt(variance) * draw(10, 3)).round().long()
    x = (level_centres(index, num_levels) + math.exp(-12.0) * draw(10, 3, seed=1)).float()
    ours = log_prob(denoiser, x, tolerance=1e-6)
    assert ours.num_calls.max() < 1000, "where the noise is rounded, 1,600 and more"
    # each entry is one of the levels, with noise
    levels, width = index[..., None] + torch.arange(-3, 4), math.exp(-12.0) * num_levels / 2
    distance = (x.double()[..., None] + 1) * num_levels / 2 - 0.5 - levels
    exponents = -0.5 * (distance / width) ** 2 - 0.5 * (levels - mean) ** 2 / variance
    scale = -math.log(2 * math.pi * width * math.sqrt(variance)) + math.log(num_levels / 2)
    expected = (exponents.logsumexp(-1) + scale).sum(1)
    assert ((ours.nats.double() - ours.mismatch - expected).abs() / 3).max() < 2e-3


class AlmostNormalLevels(NormalLevels):
    """`NormalLevels` that leans on sines as fine as a level, by a thousandth, where they say nothing."""

    def __init__(self, mean: float, variance: float, num_levels: int):
        super().__init__(mean, variance, num_levels)
        self.features = FourierFeatures(1, octaves(num_levels), embedding_width=1)

    def forward(self, x, gamma, cond):
        features = self.features(x[:, None], gamma, x[:, :1])[:, 1:]
        lean = torch.cat([1e-3 * features.mean(1), torch.zeros_like(x)], 1)
        return super().forward(x, gamma, cond) + lean


def test_fine_sines_do_not_make_the_flow_rough():
    """A network of sixteen bits, good to a thousandth of the noise, has the exact probability in some hundred calls."""
    num_levels, mean, variance = 65_536, 40_000.3, 1600.0
    network = AlmostNormalLevels(mean, variance, num_levels)
    denoiser = LevelDenoiser(network, LinearGamma(-25.0, 5.0), (3,), num_levels).eval()
    index = (mean + math.sqrt(variance) * draw(20, 3)).round().long()
    expected = (-0.5 * (index - mean) ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)).sum(1)
    ours = discrete_log_prob(
        denoiser,
        level_centres(index, num_levels).double(),
        TruncatedNormalDequantizer(num_levels),
        noise=Stream(0),
        tolerance=1e-3,
        max_calls=300,
    )
    assert ours.arrived.all()
    assert ((ours.nats - ours.mismatch - expected) / 3).abs().max() < 0.01


def test_what_does_not_arrive_has_no_figure():
    denoiser, x = mixture(WIDE), mixture(WIDE).sample(20, Stream(0))
    whole = log_prob(denoiser, x, tolerance=1e-3)
    budget = int(whole.num_calls.median())
    found = log_prob(denoiser, x, tolerance=1e-3, max_calls=budget)
    assert found.arrived.tolist() == (whole.num_calls <= budget).tolist()
    assert torch.equal(found.nats.isfinite(), found.arrived)
    assert torch.equal(found.nats[found.arrived], whole.nats[found.arrived])
    assert found.num_calls.max() <= budget


def test_a_finer_tolerance_is_nearer():
    denoiser = mixture(LinearGamma(-7.0, 6.0))
    x = denoiser.sample(20, Stream(0))
    best = log_prob(denoiser, x, tolerance=1e-6).nats
    errors = [(log_prob(denoiser, x, tolerance=tau).nats - best).abs().mean() / 2 for tau in (1e-3, 1e-4, 1e-5)]
    assert errors[0] < 2e-2
    assert errors[1] < errors[0] / 5
    assert errors[2] < errors[1] / 5


def test_short_schedules_have_the_density_of_their_start():
    """Of N(0, 1), which the flow leaves where it is, the density is that of data with the noise of gamma_0, exactly."""
    denoiser = Gaussian(torch.zeros(2).double(), torch.eye(2).double(), LinearGamma(-2.0, 1.0))
    x, variance = draw(5, 2), 1 + math.exp(-2.0)
    expected = -0.5 * (x.square().sum(1) / variance + 2 * math.log(2 * math.pi * variance))
    torch.testing.assert_close(log_prob(denoiser, x, tolerance=1e-9).nats, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_density_depends_on_the_ends_of_the_schedule_alone(scaling):
    x = mixture(WIDE).sample(5, Stream(0))
    ends = {"gamma_min": -6.0, "gamma_max": 5.0}
    expected = log_prob(mixture(LinearGamma(**ends)), x, tolerance=1e-2).nats
    edm = EDM(sigma_min=math.exp(-3.0), sigma_max=math.exp(2.5), scaling=SCALINGS[scaling])
    for schedule in (*(make(**ends, scaling=SCALINGS[scaling]) for make in (LinearGamma, Cosine, Sigmoid)), edm):
        ours = log_prob(mixture(schedule), x, tolerance=1e-2).nats
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-7)


def test_a_network_has_the_same_density_in_every_scaling():
    x = draw(6, 3).float()
    first, *others = (log_prob(trained_looking(scaling), x).nats for scaling in SCALINGS)
    assert len(others) == 2
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-3)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_flow_is_the_velocity(scaling):
    """Against eps-hat, the velocity in the scaling's own units, and v-hat in the variance-preserving ones."""
    denoiser = mixture(Cosine(gamma_min=-8.0, gamma_max=8.0, scaling=SCALINGS[scaling]))
    t, x, eps = torch.linspace(0.05, 0.95, 5, dtype=torch.float64), draw(5, 2), draw(5, 2, seed=1)
    level = denoiser.schedule.level(t)
    prediction = denoiser(level.alpha[:, None] * x + level.sigma[:, None] * eps, t)
    ours = flow(denoiser, x, eps, level.gamma)
    torch.testing.assert_close(ours, (prediction.eps - eps) / 2, rtol=1e-8, atol=1e-8)
    (alpha_slope, sigma_slope), gamma_slope = (
        torch.func.jvp(function, (t,), (torch.ones_like(t),))[1]
        for function in (denoiser.schedule, denoiser.schedule.gamma)
    )
    by_t = alpha_slope[:, None] * x + sigma_slope[:, None] * eps + (level.sigma * gamma_slope)[:, None] * ours
    torch.testing.assert_close(by_t, prediction.velocity, rtol=1e-7, atol=1e-7)
    a, s = torch.sigmoid(-level.gamma).sqrt()[:, None], torch.sigmoid(level.gamma).sqrt()[:, None]
    by_gamma = -(s**2) * a / 2 * x + a**2 * s / 2 * eps + s * ours
    torch.testing.assert_close(by_gamma, a * s / 2 * prediction.v, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gamma_min", [-13.3, -22.0])
def test_noise_far_below_the_data_is_followed(gamma_min, dtype):
    """Points whose density is all in the noise of the start, of 8 bits' or 16 bits' fineness, at the default tolerance."""
    points = draw(10, 8).clamp(-1, 1).to(dtype)
    denoiser = Empirical(points, LinearGamma(gamma_min, 14.0))
    x = (points.double() + math.exp(gamma_min / 2) * draw(10, 8, seed=3)).to(dtype)
    distance = (x.double() - points.double()).square().sum(1)
    expected = -distance * math.exp(-gamma_min) / 2 - 4 * (math.log(2 * math.pi) + gamma_min) - math.log(10)
    ours = log_prob(denoiser, x)
    assert ours.num_calls.max() < 400
    torch.testing.assert_close(ours.nats.double() / 8, expected / 8, rtol=0, atol=3e-4)


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_its_gradient_is_the_score(make):
    schedule = LinearGamma(-5.0, 16.0)
    denoiser, level = make(schedule), schedule.level(0.0)
    x = draw(4, 2).requires_grad_()
    ours = log_prob(denoiser, x, tolerance=1e-5)
    (gradient,) = torch.autograd.grad(ours.nats.sum(), x)
    score = level.alpha * denoiser(level.alpha * x.detach(), 0.0).score
    # the end of the flow is a little less than normal
    torch.testing.assert_close(gradient, score, rtol=1e-3, atol=3e-3)
    probed = log_prob(denoiser, x, trace="hutchinson", noise=Stream(0), tolerance=1e-2)
    assert torch.autograd.grad(probed.nats.sum(), x)[0].isfinite().all()


def test_a_graph_is_kept_only_where_asked_for():
    denoiser, x = trained_looking(), draw(4, 3).float()

    def found(x):
        return log_prob(denoiser, x, tolerance=1e-2).nats

    expected = found(x)
    assert not expected.requires_grad
    with torch.no_grad():
        quiet = found(x.clone().requires_grad_())
    assert not quiet.requires_grad
    denoiser.requires_grad_(False)
    frozen = found(x)
    assert found(x.clone().requires_grad_()).requires_grad
    for values in (quiet, frozen):
        assert torch.equal(values, expected)
    assert all(parameter.grad is None for parameter in denoiser.parameters())


def test_probes_are_without_bias_and_their_error_is_right():
    denoiser = ten_dimensions(LinearGamma(-8.0, 6.0))
    x = denoiser.sample(1, Stream(0)).expand(300, 10)
    exact = log_prob(denoiser, x[:1], tolerance=1e-3).nats.item()
    ours = log_prob(denoiser, x, trace="hutchinson", num_probes=8, noise=Stream(1), tolerance=1e-3)
    deviations, error = ours.nats - exact, ours.standard_error
    assert deviations.abs().max() > 0.5, "the error is there to be estimated"
    assert abs(deviations.mean()) < 4 * deviations.std() / math.sqrt(300)
    assert error.square().mean().sqrt().item() == pytest.approx(deviations.std().item(), rel=0.15)
    assert ours.settings == "tolerance 0.001, 8 probes"
    single = log_prob(denoiser, x[:3], trace="hutchinson", noise=Stream(1), tolerance=1e-3)
    assert single.standard_error.isnan().all()
    assert single.settings == "tolerance 0.001, 1 probe"


@pytest.fixture(scope="module")
def correlated_alike():
    """A denoiser of entries that are all correlated alike, an example, and its log density."""
    covariance = 0.6 * torch.ones(24, 24, dtype=torch.float64) + 0.4 * torch.eye(24, dtype=torch.float64)
    denoiser = Gaussian(torch.zeros(24).double(), covariance, LinearGamma(-8.0, 6.0))
    x = denoiser.sample(1, Stream(0))
    return denoiser, x, log_prob(denoiser, x, trace="exact", tolerance=1e-3).nats


@pytest.mark.parametrize("num_probes", [2, 3, 8])
def test_intervals_of_few_probes_cover_where_least_is_known(num_probes, correlated_alike):
    """K has one direction beside its diagonal, and the probes' sums often coincide."""
    denoiser, x, exact = correlated_alike
    arguments = {"trace": "hutchinson", "num_probes": num_probes, "noise": Stream(num_probes), "tolerance": 1e-3}
    ours = log_prob(denoiser, x.expand(1000, 24), **arguments)
    off, error = (ours.nats - exact).numpy(), ours.standard_error.numpy()
    assert (error**2).mean() == pytest.approx((off**2).mean(), rel=0.15)
    assert 0.93 < (abs(off) <= half_interval(error, num_probes)).mean() < 0.99


def test_probes_are_exact_where_the_divergence_is_diagonal():
    """w^T J w is the trace for a diagonal J: sixteen dimensions exactly by default, seventeen by a probe."""
    for num_dims, settings in ((16, "exact trace"), (17, "1 probe")):
        variances = torch.linspace(0.1, 2, num_dims, dtype=torch.float64)
        denoiser = Gaussian(torch.zeros(num_dims).double(), variances.diag(), WIDE)
        x = denoiser.sample(2, Stream(0))
        ours = log_prob(denoiser, x, noise=Stream(1))
        torch.testing.assert_close(ours.nats, denoiser.log_prob(x), rtol=0, atol=1e-4 * num_dims)
        assert ours.settings == f"tolerance 1e-05, {settings}"


def test_a_seed_fixes_the_density_of_each_example():
    denoiser, x = ten_dimensions(LinearGamma(-8.0, 6.0)), draw(4, 10)
    arguments = {"trace": "hutchinson", "num_probes": 2, "tolerance": 1e-3}
    batch = log_prob(denoiser, x, noise=PerSample(range(4)), **arguments)
    alone = log_prob(denoiser, x[2:3], noise=PerSample([2]), **arguments)
    torch.testing.assert_close(alone.nats, batch.nats[2:3], rtol=1e-9, atol=1e-9)
    assert alone.num_calls.item() == batch.num_calls[2].item()


class Towards(Denoiser):
    """Data N(c, 1/4) for the condition c, and a count of how often each example is asked about."""

    def predict(self, x_t, level, cond, observed):
        assert cond is not None
        self.num_calls = getattr(self, "num_calls", 0) + len(x_t)
        alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
        x = cond + 0.25 * alpha / (0.25 * alpha**2 + sigma**2) * (x_t - alpha * cond)
        return Prediction(x_t, level, x, self.schedule)


def test_conditions_stay_with_their_examples():
    denoiser = Towards(LinearGamma(-16.0, 22.0), (2,))
    cond = torch.tensor([[0.0, 1.0], [-8.0, 5.0], [0.1, -0.1]]).double()
    x = cond + 0.5 * draw(3, 2)
    ours = log_prob(denoiser.given(cond), x, tolerance=1e-6)
    assert len(set(ours.num_calls.tolist())) > 1, "they arrive one after another"
    along, denoiser.num_calls = denoiser.num_calls, 0
    base_mismatch(denoiser.given(cond), x)
    assert along == ours.num_calls.sum().item() + denoiser.num_calls
    expected = torch.distributions.Normal(cond, 0.5).log_prob(x).sum(1)
    torch.testing.assert_close(ours.nats, expected, rtol=0, atol=1e-3)
    # of copies of each example, one for each probe
    many = log_prob(denoiser.given(cond), x, trace="hutchinson", num_probes=4, noise=Stream(0), tolerance=1e-6)
    torch.testing.assert_close(many.nats, expected, rtol=0, atol=1e-3)  # the divergence is diagonal


@pytest.mark.parametrize("arguments", [{}, {"trace": "hutchinson", "num_probes": 4}])
def test_probes_together_are_those_one_after_another(arguments, monkeypatch):
    denoiser, x = trained_looking(dim=5).double(), draw(4, 5).requires_grad_()

    def found() -> tuple[torch.Tensor, ...]:
        ours = log_prob(denoiser, x, noise=PerSample(range(4)), tolerance=1e-3, **arguments)
        return ours.estimates, ours.standard_error, *torch.autograd.grad(ours.nats.sum(), x)

    together = found()
    monkeypatch.setattr(density, "MOST_TOGETHER", 0)
    for one, other in zip(together, found(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_only_observed_entries_count():
    denoiser, x = mixture(LinearGamma(-14.0, 14.0)), draw(4, 2)
    observed = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    level = denoiser.schedule.level(0.0)
    expected = denoiser.log_marginal(level.alpha * x, 0.0, observed) + observed.sum(1) * math.log(level.alpha)
    for missing in (9.0, math.nan):
        given = torch.where(observed, x, missing)
        ours = log_prob(denoiser.given(observed=observed), given)
        torch.testing.assert_close(ours.nats, expected, rtol=0, atol=3e-3)
        assert ours.num_dims.tolist() == [2, 1, 1, 0]
    probed = log_prob(denoiser.given(observed=observed), given, trace="hutchinson", num_probes=2, noise=Stream(0))
    torch.testing.assert_close(
        probed.nats[1:], expected[1:], rtol=0, atol=3e-3
    )  # a single entry has no other to mix with


def test_examples_of_any_shape():
    denoiser = trained_looking(dim=6)
    inner = denoiser.network
    x = draw(3, 6).float()
    expected = log_prob(denoiser, x, tolerance=1e-3).nats
    denoiser.network = torch.nn.Module()
    denoiser.network.inner = inner
    denoiser.network.forward = lambda x, gamma, cond: inner(x.flatten(1), gamma, cond).reshape(x.shape)
    denoiser.shape = (1, 2, 3)
    found = log_prob(denoiser, x.reshape(3, 1, 2, 3), tolerance=1e-3).nats
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_bits():
    ones = torch.ones(2)
    known = Density(
        draw(2, 1), True, 3 * ones.double(), ones.long(), ones.bool(), ones, ones, "density (ODE)", "", ones
    )
    torch.testing.assert_close(known.bits_per_dim, -known.nats / (3 * math.log(2)))


def test_a_denoiser_without_likelihood_is_refused_with_its_reason():
    denoiser = mixture(LinearGamma())
    denoiser.no_likelihood = "guidance changes the model at every step"
    with pytest.raises(InputError, match="has no likelihood: guidance changes the model"):
        log_prob(denoiser, draw(2, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trace": "skilling"}, "choose one of auto, exact, hutchinson"),
        ({"trace": "hutchinson"}, "give a noise source"),
        ({"trace": "hutchinson", "noise": Stream(0), "num_probes": 0}, "num_probes is 0"),
        ({"tolerance": 0.0}, "tolerance is 0"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        log_prob(mixture(LinearGamma()), draw(2, 2), **arguments)


def test_an_example_that_is_not_finite_is_named():
    x = draw(3, 2)
    x[1, 0] = math.nan
    with pytest.raises(InputError, match="sample 1 "):
        log_prob(Gaussian(MEAN, COVARIANCE, LinearGamma()), x)
