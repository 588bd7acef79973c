"""A flow is invertible, its log-determinant is the Jacobian's, and its densities and masses sum to one."""

import itertools
import sys

import pytest
import torch
from oracles import draw
from scipy.stats import chisquare

from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.models import Draw, flow
from lowerbound.models.flow import NormalizingFlow
from lowerbound.rng import PerSample, Stream

pytest.importorskip("zuko")

KINDS = ("spline", "affine")
FEW = [((1,), None), ((3,), None), ((2, 2, 2, 2), None), ((2,), 5), ((1, 3, 3), 17)]
MANY = [((2, 9), None), ((70,), 17), ((1, 3, 9), 17), ((1, 7, 5), None), ((1, 3, 2, 5), 256), ((3, 3, 3), 256)]
CASES = list(itertools.product(FEW + MANY, KINDS))


def made(shape, num_levels, kind="spline", scale=0.3, **settings):
    """Double precision and parameters at random, so that no map is near the identity."""
    torch.manual_seed(0)
    settings = {"transforms": 4, "width": 8, "depth": 1, **settings}
    model = NormalizingFlow(shape, num_levels, kind=kind, **settings).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, dtype=parameter.dtype))
    return model


def inside(model, batch=2):
    """Points that the flow is defined on."""
    x = draw(batch, *model.shape, seed=4)
    return x if model.num_levels is None else x.tanh()


@pytest.mark.parametrize(("data", "kind"), CASES, ids=str)
def test_the_log_determinant_is_that_of_the_jacobian(data, kind):
    model = made(*data, kind)
    x = inside(model)
    z, log_det = model(x)
    assert (z - x.flatten(1)).abs().max() > 0.1
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x)[0].sum(0), x)
    for row in range(len(x)):
        expected = torch.linalg.slogdet(jacobian[:, row].flatten(1))[1]
        torch.testing.assert_close(log_det[row], expected)


@pytest.mark.parametrize(("data", "kind"), CASES, ids=str)
def test_there_and_back(data, kind):
    model = made(*data, kind)
    x = inside(model, batch=3)
    with torch.no_grad():
        z, _ = model(x)
        torch.testing.assert_close(model.inverse(z), x, rtol=1e-6, atol=1e-6)
        if model.in_box or model.num_levels is None:  # at the ends that lines reach, x has too few digits for the logit
            noise = draw(3, z.shape[1], seed=5).tanh()
            torch.testing.assert_close(model(model.inverse(noise))[0], noise, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_density_integrates_to_one(kind):
    model = made((2,), None, kind, scale=0.1)
    axis = torch.linspace(-10, 10, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        total = torch.cat([model.log_prob(part).exp() for part in grid.split(20_000)]).sum() * (axis[1] - axis[0]) ** 2
    assert abs(total.item() - 1) < 2e-3


NUM_NODES = {1: 4000, 2: 120}
"""Within each bin, of each entry."""


def spread_over(model):
    """How far from 0 the outermost levels are spread."""
    return 1.0 if model.in_box else 1 + flow.MARGIN / (1 - 2 * flow.MARGIN)


def nodes_and_weights(model):
    """Nodes over all bins of one entry, equally spaced within either half of each where the box or the logit is a line, and
    their weights in x. The outermost bins of lines are parted where the data end to be spread."""
    num_levels, num_nodes = model.num_levels, NUM_NODES[model.shape[0]] // 2
    ends = torch.linspace(-1, 1, 2 * num_levels + 1, dtype=torch.float64)
    if not model.in_box:
        ends[1], ends[-2] = -spread_over(model), spread_over(model)
        ends = (flow.MARGIN + (1 - 2 * flow.MARGIN) * (ends + 1) / 2).logit()
        ends[0], ends[-1] = -15.0, 15.0
    width = ends.diff()[:, None]
    place = (ends[:-1, None] + width * (torch.arange(num_nodes) + 0.5) / num_nodes).flatten()
    weight = (width / num_nodes).expand(-1, num_nodes).flatten()
    if model.in_box:
        return place, weight
    scale, place = 2 / (1 - 2 * flow.MARGIN), place.sigmoid()
    return scale * (place - flow.MARGIN) - 1, scale * weight * place * (1 - place)


def over_bins(model):
    """For every combination of levels the log density at nodes in its bins, their weights, and the weights of those that its
    data are spread over, (K^D, num_nodes^D) each."""
    (num_dims,), num_levels = model.shape, model.num_levels
    nodes, weights = nodes_and_weights(model)
    points = torch.cartesian_prod(*[nodes] * num_dims).reshape(-1, num_dims)
    weight = torch.cartesian_prod(*[weights] * num_dims).reshape(-1, num_dims).prod(1)
    inner = weight * (points.abs() < spread_over(model)).all(1)
    with torch.no_grad():
        log_density = torch.cat([model.log_prob(part) for part in points.split(20_000)])
    bins = [num_levels, len(nodes) // num_levels] * num_dims
    levels_first = [*range(0, 2 * num_dims, 2), *range(1, 2 * num_dims, 2)]
    each_bin = (num_levels**num_dims, -1)
    return [each.reshape(bins).permute(levels_first).reshape(each_bin) for each in (log_density, weight, inner)]


@pytest.mark.parametrize(("shape", "num_levels", "few"), [((1,), 5, 64), ((2,), 3, 64), ((2,), 3, 0)])
@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_masses_that_are_scored(kind, shape, num_levels, few, monkeypatch):
    """They sum to one over all levels, and samples come as often as they say; entries before and behind, and halves."""
    monkeypatch.setattr(flow, "FEW_ENTRIES", few)
    model = made(shape, num_levels, kind)
    log_density, weight, _ = over_bins(model)
    mass = (log_density.exp() * weight).sum(1)
    assert mass.sum().item() == pytest.approx(1, abs=2e-3)
    with torch.no_grad():
        x = model.sample(20_000, Stream(0))
    index = ((x + 1) * num_levels / 2 - 0.5).round().long()
    counts = torch.bincount(
        index[:, 0] if shape == (1,) else num_levels * index[:, 0] + index[:, 1], minlength=len(mass)
    )
    expected = mass / mass.sum() * len(x)
    often = expected > 5  # cells for which the statistic's law holds; the rest together are one
    observed, expected = ([*each[often].tolist(), each[~often].sum().item()] for each in (counts.double(), expected))
    if expected[-1] < 5:
        observed, expected = observed[:-1], expected[:-1]
        expected = [each * sum(observed) / sum(expected) for each in expected]
    assert chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_below_the_masses(kind):
    model = made((2,), 3, kind)
    log_density, weight, inner = over_bins(model)
    exact = (log_density.exp() * weight).sum(1).log()
    centres = level_centres(torch.arange(3), 3).double()
    x = torch.cartesian_prod(centres, centres)
    with torch.no_grad():
        bounds = torch.stack([model.elbo(x, Stream(seed)).nats for seed in range(200)])
    # what the noise within a bin costs is its mean of the log density less the log of the mean
    volume = inner.sum(1)
    expected = (log_density * inner).sum(1) / volume + volume.log()
    error = bounds.std(0) / len(bounds) ** 0.5
    assert ((bounds.mean(0) - expected).abs() < 5 * error + 0.01).all()
    assert (expected <= exact).all()
    assert (exact - expected).max() > 0.01


def test_one_level_can_take_nearly_everything():
    """Splines of the box fit a level that all data have, whose bin is 1/256 of the box, to a fraction of a nat."""
    model = made((1,), 256, scale=0.0).float()
    x = level_centres(torch.zeros(64, 1).long(), 256)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    # to nothing, that how far it has come does not hang on where the last step was cut off
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 200)
    for step in range(200):
        optimizer.zero_grad()
        model.loss(x, Draw(Stream(step))).total.mean().backward()
        optimizer.step()
        rate.step()
    with torch.no_grad():
        assert model.loss(x[:1].expand(4096, 1), Draw(Stream(1000))).total.mean() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_the_data_are_inside(kind):
    """Noise may round to the very end of the outermost bin, where nothing may become infinite."""
    model = made((2,), 256, kind).float()
    ends = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    near = ends * (1 - 1e-5)
    outermost = level_centres(ends.gt(0).long() * 255, 256)
    low, high = model.limits(outermost)
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(ends), model.log_prob(near), atol=0.2, rtol=0.0)
        for end in (outermost + low, outermost + high):
            assert model.log_prob(end).isfinite().all()


@pytest.mark.parametrize(("data", "kind"), CASES, ids=str)
def test_samples_belong_to_their_seeds(data, kind):
    model = made(*data, kind)
    together = model.sample(3, PerSample([3, 1, 4]))
    assert together.shape == (3, *model.shape)
    torch.testing.assert_close(model.sample(2, PerSample([4, 1])), together[[2, 1]])
    assert model.sample(1, Stream(0)).ne(model.sample(1, Stream(1))).any()
    if model.num_levels is not None:
        model.elbo(together, Stream(0))
        index = (together + 1) * model.num_levels / 2 - 0.5
        torch.testing.assert_close(index, index.round(), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_density(kind):
    """The mean of a function of samples is its integral against the density."""
    model = made((2,), None, kind, scale=0.1)
    axis = torch.linspace(-10, 10, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        weights = torch.cat([model.log_prob(part) for part in grid.split(20_000)]).softmax(0)
        x = model.sample(5_000, Stream(0))
    for function in (torch.sin, torch.tanh, lambda x: torch.cos(2 * x)):
        error = function(x).std(0) / len(x) ** 0.5
        assert ((function(x).mean(0) - (weights[:, None] * function(grid)).sum(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_continuous_data(kind):
    """The density is exact: no noise enters, and all of it is reconstruction."""
    model = made((1, 7, 5), None, kind)
    x = inside(model)
    bound = model.elbo(x, Stream(0))
    torch.testing.assert_close(bound.nats, model.log_prob(x))
    assert not bound.prior.any()
    assert not bound.diffusion.any()
    assert bound.num_dims.tolist() == [35, 35]
    torch.testing.assert_close(model.loss(x, Draw(Stream(1))).total, -bound.nats)


def test_likelihood_is_named():
    assert made((3,), None).likelihood == "exact"
    assert made((3,), 17).likelihood == "bound"


@pytest.mark.parametrize(("data", "kind"), CASES, ids=str)
def test_gradients_reach_everything_that_is_trained(data, kind):
    model = made(*data, kind)
    x = inside(model)
    if model.num_levels is not None:
        index = ((x + 1) * model.num_levels / 2).long()
        x = level_centres(index, model.num_levels).double()
    model.loss(x, Draw(Stream(0))).total.sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_without_zuko_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(InputError, match=r"pip install 'lowerbound\[flow\]'"):
        made((3,), None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "planar"}, "'planar': choose one of spline, affine"),
        ({"transforms": 0}, "transforms is 0"),
        ({"width": 0}, "width is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"shape": ()}, "1 to 3 dimensions"),
        ({"num_levels": 1}, "1 levels"),
    ],
)
def test_impossible_settings_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        made(**{"shape": (3,), "num_levels": None, **wrong})
    with pytest.raises(InputError, match="examples of shape"):
        made((3,), None).loss(torch.zeros(2, 4).double(), Draw(Stream(0)))
