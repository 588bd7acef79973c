"""The autoregressive model's likelihood is exact: it sums to one, and its samples follow it."""

import itertools
import math

import pytest
import torch
from scipy.stats import chi2

from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.models import Draw
from lowerbound.models.autoregressive import Autoregressive
from lowerbound.rng import PerSample, Stream

TINY = {
    "bits": ((4,), 2, {}),
    "vector": ((3,), 3, {}),
    "signal": ((1, 4), 3, {"decoder": "discretized-logistic", "decoder_components": 2}),
    "image": ((1, 2, 2), 3, {}),
    "colours": ((2, 1, 2), 4, {"decoder": "discretized-logistic"}),
    "volume": ((1, 2, 2, 1), 3, {}),
    "signal with odds": ((2, 3), 3, {"odds": 1}),
    "image with odds": ((1, 2, 3), 3, {"odds": 2}),
    "volume with odds": ((1, 2, 1, 2), 3, {"odds": 1}),
}


@pytest.fixture(params=TINY, ids=str)
def tiny(request):
    """A model and all x there are."""
    shape, num_levels, settings = TINY[request.param]
    model = awake(Autoregressive(shape, num_levels, width=8, depth=1, **settings))
    every = torch.tensor(list(itertools.product(range(num_levels), repeat=math.prod(shape))))
    return model, ((2 * every.double() + 1) / num_levels - 1).reshape(-1, *shape)


def awake(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def test_masses_sum_to_one(tiny):
    model, every = tiny
    with torch.no_grad():
        bound = model.elbo(every, Stream(0))
    assert abs(bound.nats.exp().sum().item() - 1) < 1e-10
    assert bound.nats.std() > 0.3  # far from uniform
    assert not bound.prior.any()
    assert not bound.diffusion.any()
    assert (bound.num_dims == every[0].numel()).all()
    torch.testing.assert_close(model.loss(every, Draw(Stream(0))).total, -bound.nats)


def test_samples_have_their_masses(tiny):
    model, every = tiny
    num_samples = 4000
    x = model.sample(num_samples, Stream(1)).flatten(1)
    matches = (x[:, None] - every.flatten(1)).abs().amax(2) < 1e-9
    assert (matches.sum(1) == 1).all()
    expected = num_samples * model.log_prob(every).exp().detach()
    found = matches.sum(0)
    # rare outcomes are counted together
    rare = expected < 5
    groups = [(expected[rare].sum(), found[rare].sum())] if rare.any() else []
    groups += list(zip(expected[~rare], found[~rare], strict=True))
    statistic = sum(float((count - mean) ** 2 / mean) for mean, count in groups)
    assert chi2.sf(statistic, len(groups) - 1) > 1e-3


@pytest.mark.parametrize("settings", [{"decoder_components": 2}, {"decoder": "gaussian"}], ids=str)
def test_densities_integrate_to_one(settings):
    model = awake(Autoregressive((2,), None, width=8, depth=1, **settings))
    # a rectangle rule in u, x = sinh u: it converges faster than any power, and reaches far into the tails
    u, step = torch.arange(-6.5, 6.5, 0.04, dtype=torch.float64), 0.04
    weight = step * torch.cosh(u)
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(u.sinh(), u.sinh())).exp().unflatten(0, (len(u), len(u)))
    assert abs((weight @ density @ weight).item() - 1) < 1e-6


def test_continuous_samples_have_the_density():
    """Each entry, less its mean given those before it and over its standard deviation, is standard normal, independently."""
    model = awake(Autoregressive((2, 2), None, width=8, depth=1, decoder="gaussian"))
    x = model.sample(20_000, Stream(2))
    mean, raw = model.network(x).detach().unflatten(1, (2, -1)).unbind(1)
    standard = (x - mean) / (1e-3 + torch.nn.functional.softplus(raw))
    count = len(x)
    assert (standard.mean(0).abs() < 4 / count**0.5).all()
    assert ((standard**2).mean(0) - 1).abs().max() < 4 * (2 / count) ** 0.5
    assert torch.corrcoef(standard.flatten(1).T).fill_diagonal_(0).abs().max() < 4.5 / count**0.5


def test_sampling_step_by_step_is_sampling_from_whole_passes():
    model = awake(Autoregressive((2, 3, 4), 5, width=8, depth=2))
    noise, x = PerSample(range(3)), torch.zeros(3, 2, 3, 4, dtype=torch.float64)
    for row, column, channel in itertools.product(range(3), range(4), range(2)):
        parameters = model.network(x).unflatten(1, (-1, 2))[:, :, channel, row, column]
        x[:, channel, row, column] = model.output.sample(parameters.detach(), noise).squeeze(1)
    torch.testing.assert_close(model.sample(3, PerSample(range(3))), x)


def test_a_sample_depends_on_its_seed_alone():
    for shape in ((3,), (1, 4, 3)):
        model = awake(Autoregressive(shape, 4, width=8, depth=1))
        together = model.sample(3, PerSample([5, 6, 7]))
        torch.testing.assert_close(model.sample(2, PerSample([7, 5])), together[[2, 0]])


def test_outputs_fit_the_data():
    kinds = [type(Autoregressive((2,), levels, width=4).output).__name__ for levels in (2, 17, 2000, None)]
    assert kinds == ["Bernoulli", "Categorical", "DiscretizedLogistic", "LogisticMixture"]
    for settings in ({"decoder": "bernoulli"}, {"decoder": "gaussian"}, {"decoder_components": 3}, {"decoder": "best"}):
        with pytest.raises(InputError):
            Autoregressive((2,), 17, **settings)


def test_impossible_shapes_are_refused():
    for shape in ((), (1, 2, 2, 2, 2), (0,), (1, 0)):
        with pytest.raises(InputError, match=r"give .D,.*, or"):
            Autoregressive(shape, 2)
    with pytest.raises(InputError, match="examples of shape"):
        Autoregressive((1, 2, 2), 2).loss(torch.zeros(3, 4), Draw(Stream(0)))


def test_dropout_is_of_training_alone():
    """The loss draws what is dropped from its noise; the likelihood drops nothing."""
    torch.manual_seed(0)
    model = Autoregressive((1, 4, 4), 3, width=8, depth=1, dropout=0.5).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, dtype=torch.float64))
    x = level_centres(torch.randint(0, 3, (6, 1, 4, 4)), 3).double()
    with torch.no_grad():
        dropped = model.loss(x, Draw(Stream(0))).total
        assert not torch.equal(dropped, model.loss(x, Draw(Stream(1))).total)
        assert torch.equal(dropped, model.loss(x, Draw(Stream(0))).total)
        assert torch.equal(model.elbo(x, Stream(0)).nats, model.log_prob(x))
        plain = Autoregressive((1, 4, 4), 3, width=8, depth=1).double()
        plain.load_state_dict(model.state_dict())
        assert torch.equal(plain.loss(x, Draw(Stream(0))).total, -model.log_prob(x))
    for share in (-0.1, 1.0):
        with pytest.raises(InputError, match="dropout"):
            Autoregressive((1, 4, 4), 3, dropout=share)


@pytest.mark.parametrize("shape", [(1, 5), (2, 3, 4), (1, 2, 3, 2)], ids=str)
def test_odds_count_what_came_before(shape):
    """Of each entry alone the same as of all at once, and both as counted one by one."""
    num_levels = 3
    model = Autoregressive(shape, num_levels, width=4, depth=1, odds=1)
    x = level_centres(torch.randint(0, num_levels, (2, *shape), generator=torch.Generator().manual_seed(0)), num_levels)
    at_once = model.seen.counts(x)
    spatial = shape[1:]
    places = list(itertools.product(*map(range, spatial)))
    assert len(at_once) == (1 if len(spatial) == 1 else 1 + len(spatial))
    for position, place in enumerate(places):
        for channel in range(shape[0]):
            alone = model.seen.counts_at(x, position * shape[0] + channel)
            lines = [[axis for axis in range(len(spatial)) if axis != along] for along in range(len(at_once) - 1)]
            for kept, counts, count in zip([[], *lines], at_once, alone, strict=True):
                before = [other for other in places[:position] if all(other[axis] == place[axis] for axis in kept)]
                for level in range(num_levels):
                    centre = level_centres(torch.tensor(level), num_levels)
                    expected = sum((x[(slice(None), channel, *other)] - centre).abs() < 1e-6 for other in before)
                    expected = torch.as_tensor(expected).expand(2).float()
                    assert torch.equal(counts[(slice(None), level, channel, *place)], expected)
                    assert torch.equal(count[:, level].flatten(), expected)


def test_odds_are_learned_where_levels_repeat():
    """Images of one grey each, any of sixteen: with odds each entry but the first comes to cost nearly nothing sooner."""
    grey = torch.randint(0, 16, (64, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    x = level_centres(grey, 16).expand(64, 1, 4, 4).contiguous()
    nats = {}
    for odds in (0, 1):
        torch.manual_seed(0)
        model = Autoregressive((1, 4, 4), 16, width=8, depth=1, odds=odds)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            model.loss(x, Draw(Stream(0))).total.mean().backward()
            optimizer.step()
        nats[odds] = -model.log_prob(x).mean().item()
    assert nats[1] < 0.5 * nats[0]


def test_odds_that_have_no_effect_are_refused():
    for shape, settings, words in (
        ((3,), {"odds": 1}, "leave odds out"),
        ((1, 4), {"odds": 1, "decoder": "discretized-logistic"}, "no effect"),
        ((1, 4), {"odds": -1}, "odds is -1: give 0 or more"),
    ):
        with pytest.raises(InputError, match=words):
            Autoregressive(shape, 5, width=4, **settings)
