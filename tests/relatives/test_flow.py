"""A flow is invertible, its log-determinant is the Jacobian's, and its densities and masses sum to one."""

import itertools
import math

import pytest
import torch
from oracles import draw

from lowerbound.errors import InputError
from lowerbound.levels import level_centres
from lowerbound.relatives import flow
from lowerbound.relatives.flow import NormalizingFlow
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
        if model.in_box or model.num_levels is None:  # lines reach beyond the end levels, to which samples are rounded
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


@pytest.mark.parametrize("kind", KINDS)
def test_masses_of_levels_sum_to_one_and_the_bound_is_below_them(kind):
    """With splines; lines leave what lies in the logit's margin to no level."""
    num_levels, fine = 3, 64
    model = made((2,), num_levels, kind)
    points = num_levels * fine
    axis = level_centres(torch.arange(points), points).double()
    with torch.no_grad():
        log_density = model.log_prob(torch.cartesian_prod(axis, axis)).reshape(num_levels, fine, num_levels, fine)
        mass = log_density.exp().sum((1, 3)) * (2 / points) ** 2
        assert mass.sum() < 1.01
        if kind == "spline":
            assert mass.sum() > 0.99
        centres = level_centres(torch.arange(num_levels), num_levels).double()
        x = torch.cartesian_prod(centres, centres)
        bounds = torch.stack([model.elbo(x, Stream(seed)).nats for seed in range(100)])
    exact = mass.log().flatten()
    # what the noise within a bin costs is its mean of the log density less the log of the mean
    expected = log_density.mean((1, 3)).flatten() + 2 * math.log(2 / num_levels)
    error = bounds.std(0) / 100**0.5
    assert ((bounds.mean(0) - expected).abs() < 5 * error + 0.01).all()
    assert (expected <= exact).all()
    assert (exact - expected).max() > 0.01


def test_one_level_can_take_nearly_everything():
    """Splines of the box fit a level that all data have, whose bin is 1/256 of the box, to a fraction of a nat."""
    model = made((1,), 256, scale=0.0).float()
    x = level_centres(torch.zeros(64, 1).long(), 256)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for step in range(100):
        optimizer.zero_grad()
        model.loss(x, Stream(step)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert model.loss(x, Stream(1000)).mean() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_the_data_are_inside(kind):
    """Noise may round to the very end of the outermost bin, where nothing may become infinite."""
    model = made((2,), 256, kind).float()
    ends = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    near = ends * (1 - 1e-5)
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(ends), model.log_prob(near), atol=0.2, rtol=0.0)


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
    torch.testing.assert_close(model.loss(x, Stream(1)), -bound.nats)


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
    model.loss(x, Stream(0)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_without_zuko_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(flow, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lowerbound\[flow\]'"):
        made((3,), None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "planar"}, "'planar'.* choose 'spline' or 'affine'"),
        ({"transforms": 0}, "transforms=0"),
        ({"width": 0}, "width=0"),
        ({"depth": 0}, "depth=0"),
        ({"shape": ()}, "1 to 4 axes"),
        ({"num_levels": 1}, "1 levels"),
    ],
)
def test_impossible_settings_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        made(**{"shape": (3,), "num_levels": None, **wrong})
    with pytest.raises(InputError, match="examples of shape"):
        made((3,), None).loss(torch.zeros(2, 4).double(), Stream(0))
