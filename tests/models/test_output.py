"""Outputs: masses sum to one, densities integrate to one, draws have the stated mean, and tails are finite."""

import math

import pytest
import torch
from oracles import double, draw

from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.models.output import Bernoulli, Categorical, DiscretizedLogistic, Gaussian, LogisticMixture, output
from lowerbound.rng import PerSample, Stream

DISCRETE = [
    Bernoulli(),
    Categorical(2),
    Categorical(17),
    DiscretizedLogistic(2),
    DiscretizedLogistic(17, 3),
    DiscretizedLogistic(256),
    DiscretizedLogistic(256, 4),
]
CONTINUOUS = [Gaussian(), Gaussian(0.3), LogisticMixture(1), LogisticMixture(3)]
SHAPES = [(2,), (2, 3), (2, 3, 2)]


def named(model):
    count = f" of {model.num_components}" if hasattr(model, "num_components") else ""
    return f"{type(model).__name__}{count}, {getattr(model, 'num_levels', '')}"


def parameters_of(model, batch, shape=(2,), seed=0, scale=2.0):
    return scale * draw(batch, model.num_parameters * shape[0], *shape[1:], seed=seed)


def num_levels_of(model):
    return getattr(model, "num_levels", 2)


def centres(num_levels, dtype=torch.float64):
    return (2 * torch.arange(num_levels, dtype=dtype) + 1) / num_levels - 1


@pytest.mark.parametrize("model", DISCRETE, ids=named)
def test_masses_sum_to_one(model):
    levels = centres(num_levels_of(model))
    for scale in (0.5, 3.0, 40.0):
        parameters = parameters_of(model, 1, scale=scale).expand(len(levels), -1)
        total = model.log_prob(parameters, levels[:, None].expand(-1, 2)).logsumexp(0)
        assert total.abs().max() < 1e-10, scale


@pytest.mark.parametrize("model", CONTINUOUS, ids=named)
def test_densities_integrate_to_one(model):
    x = torch.linspace(-40, 40, 40_001, dtype=torch.float64)
    for seed in range(3):
        parameters = parameters_of(model, 1, (1,), seed, scale=1.0).expand(len(x), -1)
        density = model.log_prob(parameters, x[:, None]).exp()[:, 0]
        assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("model", DISCRETE + CONTINUOUS, ids=named)
def test_draws_have_the_stated_distribution(model):
    """Means of x and of log p(x) over draws against sums over the levels, or integrals."""
    one, num_draws = parameters_of(model, 1), 20_000
    x = centres(num_levels_of(model)) if model in DISCRETE else torch.linspace(-60, 60, 60_001, dtype=torch.float64)
    log_prob = model.log_prob(one.expand(len(x), -1), x[:, None].expand(-1, 2))
    mass = log_prob.exp() * (1 if model in DISCRETE else x[1] - x[0])
    for noise in (Stream(1), PerSample(range(num_draws))):
        drawn = model.sample(one.expand(num_draws, -1), noise)
        drawn_log_prob = model.log_prob(one.expand(num_draws, -1), drawn)
        for name, values, expected in (("mean", drawn, x @ mass), ("log p", drawn_log_prob, (mass * log_prob).sum(0))):
            error = values.std(0) / math.sqrt(num_draws)
            assert ((values.mean(0) - expected).abs() < 5 * error + 1e-3).all(), name
        if model in DISCRETE:
            assert torch.isin(drawn, x).all(), "draws are at the centres"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", DISCRETE + CONTINUOUS, ids=named)
def test_entries_are_independent_and_parameters_go_by_kind(model, shape):
    """Every entry's log mass is that of its own P parameters as a vector of one feature."""
    parameters = parameters_of(model, 3, shape)
    x = model.sample(parameters, Stream(0))
    assert x.shape == (3, *shape)
    together = model.log_prob(parameters, x)
    own = parameters.unflatten(1, (model.num_parameters, shape[0])).movedim(1, -1)
    alone = model.log_prob(own.reshape(-1, model.num_parameters), x.reshape(-1, 1))
    torch.testing.assert_close(together, alone.reshape(x.shape), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", DISCRETE + CONTINUOUS, ids=named)
def test_tails_are_finite_in_single_precision(model):
    extreme = torch.tensor([-1e4, -100.0, -8.0, 0.0, 8.0, 100.0, 1e4])
    levels = level_centres(
        torch.tensor([0, 1, num_levels_of(model) // 2, num_levels_of(model) - 1]), num_levels_of(model)
    )
    P = model.num_parameters
    grid = extreme[torch.randint(0, len(extreme), (2000, P), generator=torch.Generator().manual_seed(0))]
    parameters = grid.requires_grad_()
    for x in levels:
        log_prob = model.log_prob(parameters, x.expand(2000, 1))
        (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
        assert log_prob.isfinite().all(), f"x = {x}"
        assert gradient.isfinite().all(), f"x = {x}"


def test_the_end_bins_are_open():
    model, far = DiscretizedLogistic(256), torch.tensor([[30.0, 0.0], [-30.0, 0.0]])
    ends = level_centres(torch.tensor([[255], [0]]), 256)
    assert (model.log_prob(far, ends) > -1e-6).all()


@pytest.mark.parametrize("num_levels", [2, 3, 17, 256, 65_536])
def test_every_centre_in_single_precision_is_its_own_bin(num_levels):
    """With the location in the middle of a bin and the smallest scale the bin has nearly all the mass."""
    index = torch.unique(torch.linspace(0, num_levels - 1, 500).long())
    x = level_centres(index, num_levels)[:, None]
    parameters = torch.cat([x, torch.full_like(x, -100)], 1)
    log_prob = DiscretizedLogistic(num_levels).log_prob(parameters, x)
    assert (log_prob.exp() > 0.999).all()
    drawn = DiscretizedLogistic(num_levels).sample(parameters, PerSample(range(len(x))))
    assert (drawn == x).float().mean() > 0.98


def test_two_levels_are_one_bernoulli():
    """A logistic cut in the middle, a categorical of two and a Bernoulli are the same distribution."""
    log_odds, x = draw(50, 1), torch.tensor([[-0.5], [0.5]]).repeat(25, 1).double()
    bernoulli = Bernoulli().log_prob(log_odds, x)
    categorical = Categorical(2).log_prob(torch.cat([torch.zeros_like(log_odds), log_odds], 1), x)
    scale = 1 / 16 + math.log(2)
    logistic = DiscretizedLogistic(2).log_prob(torch.cat([scale * log_odds, torch.zeros_like(log_odds)], 1), x)
    torch.testing.assert_close(categorical, bernoulli)
    torch.testing.assert_close(logistic, bernoulli)


def test_the_gaussian_is_torchs():
    mean, raw, x = draw(3, 4, 2)
    std = 1e-3 + torch.nn.functional.softplus(raw)
    ours = Gaussian().log_prob(torch.cat([mean, raw], 1), x)
    torch.testing.assert_close(ours, torch.distributions.Normal(mean, std).log_prob(x))
    fixed = Gaussian(0.7).log_prob(mean, x)
    torch.testing.assert_close(fixed, torch.distributions.Normal(mean, 0.7).log_prob(x))


def test_a_mixture_of_equal_parameters_has_different_gradients():
    """Components of a network that returns zero before training must not stay alike."""
    for model in (DiscretizedLogistic(17, 3), LogisticMixture(3)):
        parameters = torch.zeros(1, model.num_parameters, requires_grad=True)
        (gradient,) = torch.autograd.grad(model.log_prob(parameters, double([[-0.7]]).float()).sum(), parameters)
        assert len(gradient.reshape(3, 3).unique(dim=1)[0]) == 3


def test_defaults_and_refusals():
    assert isinstance(output(None, 2), Bernoulli)
    assert isinstance(output(None, 256), DiscretizedLogistic)
    assert isinstance(output(None, None), Gaussian)
    assert output("discretized-logistic", 16, num_components=4).num_parameters == 12
    assert output("logistic-mixture", None).num_parameters == 15
    assert output("gaussian", None, std=0.5).num_parameters == 1
    assert output("categorical", 17).num_parameters == 17
    for name, num_levels, settings, reason in (
        ("bernoulli", 17, {}, "17"),
        ("bernoulli", None, {}, "continuous"),
        ("gaussian", 256, {}, "256 levels"),
        ("logistic-mixture", 2, {}, "bernoulli"),
        ("categorical", 65_536, {}, "1024"),
        ("categorical", None, {}, "continuous"),
        ("poisson", 2, {}, "poisson"),
        (None, 2, {"num_components": 3}, "no effect"),
        (None, 2, {"std": 0.1}, "no effect"),
        (None, None, {"std": 0.0}, "positive"),
        (None, None, {"std": math.nan}, "positive"),
        ("discretized-logistic", 4, {"num_components": -1}, "num_components is -1"),
    ):
        with pytest.raises(InputError, match=reason):
            output(name, num_levels, **settings)
