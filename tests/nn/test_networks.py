"""What every network of (x, gamma, cond) promises, whatever it is made of."""

import pytest
import torch
from torch import nn

from lowerbound.errors import InputError
from lowerbound.nn import MLP, Transformer, UNet
from lowerbound.nn.agreement import LineFeatures, SpikeFeatures

SMALL = {"width": 16, "multipliers": (1, 2), "blocks_per_level": 1}

NETWORKS = {
    "mlp": (lambda **cond: MLP(3, width=32, depth=2, **cond), (3,)),
    "mlp with Fourier features": (lambda **cond: MLP(2, width=32, depth=2, fourier_frequencies=(1, 4), **cond), (2,)),
    "mlp with spikes": (lambda **cond: MLP(2, width=32, depth=2, spikes=SpikeFeatures((-0.5, 1.0)), **cond), (2,)),
    "image with spikes": (
        lambda **cond: UNet(2, 2, **SMALL, pooled=True, spikes=SpikeFeatures((0.0,)), **cond),
        (2, 5, 7),
    ),
    "image with lines": (lambda **cond: UNet(2, 2, **SMALL, lines=LineFeatures(2), **cond), (2, 5, 7)),
    "volume with lines": (lambda **cond: UNet(1, 3, **SMALL, lines=LineFeatures(3), **cond), (1, 4, 3, 2)),
    "columns with spikes": (
        lambda **cond: Transformer((3,), width=16, depth=2, spikes=SpikeFeatures((0.0,)), **cond),
        (3,),
    ),
    "signal": (lambda **cond: UNet(2, 1, **SMALL, **cond), (2, 11)),
    "image": (lambda **cond: UNet(1, 2, **SMALL, fourier_frequencies=(8, 4), **cond), (1, 5, 7)),
    "volume": (lambda **cond: UNet(3, 3, **SMALL, attention_levels=2, **cond), (3, 4, 3, 2)),
    "columns": (lambda **cond: Transformer((3,), width=16, depth=2, fourier_frequencies=(1, 4), **cond), (3,)),
    "columns of several entries": (lambda **cond: Transformer((4,), width=16, depth=2, columns=(1, 3), **cond), (4,)),
    "patches": (lambda **cond: Transformer((2, 5, 7), width=16, depth=2, patch=2, **cond), (2, 5, 7)),
    "stretches": (lambda **cond: Transformer((2, 11), width=32, depth=1, patch=4, **cond), (2, 11)),
}


@pytest.fixture(params=NETWORKS, ids=str)
def make(request):
    """(build, shape of one example) of each network; `build` takes the condition's declaration."""
    build, shape = NETWORKS[request.param]

    def seeded(**cond):
        torch.manual_seed(0)
        return build(**cond)

    return seeded, shape


def awake(network: nn.Module) -> nn.Module:
    """Every parameter moved off its start, so that zero weights hide nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def inputs(shape, batch=4):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, *shape, generator=generator), torch.linspace(-20, 20, batch)


def test_zero_before_training(make):
    build, shape = make
    x, gamma = inputs(shape)
    assert torch.equal(build()(x, gamma), torch.zeros_like(x))


def test_finite_and_smooth_in_scale_over_all_of_gamma(make):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build())
    output = network(x, gamma)
    assert output.shape == x.shape
    assert output.isfinite().all()
    assert output.abs().max() < 100


def test_output_depends_on_gamma(make):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build())
    assert (network(x, gamma) - network(x, gamma + 0.5)).abs().flatten(1).amax(1).min() > 1e-3


def test_row_alone_equals_row_in_batch(make):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build()).double()
    x, gamma = x.double(), gamma.double()
    together = network(x, gamma)
    for row in range(len(x)):
        torch.testing.assert_close(network(x[row : row + 1], gamma[row : row + 1])[0], together[row])


def test_training_and_evaluation_agree(make):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build())
    assert torch.equal(network.train()(x, gamma), network.eval()(x, gamma))


def test_float64(make):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build())
    single = network(x, gamma)
    double = network.double()(x.double(), gamma.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("declared", [{}, {"num_classes": 3}, {"num_condition_features": 2}], ids=str)
def test_gradient_reaches_every_parameter(make, declared):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build(**declared))
    conds = {"num_classes": torch.tensor([0, 1, 2, -1]), "num_condition_features": torch.randn(4, 2)}
    cond = next((conds[name] for name in declared), None)
    if cond is not None and cond.is_floating_point():
        cond[3] = torch.nan
    network(x, gamma, cond).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_null_label_is_none(make):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build(num_classes=3))
    null = torch.full((4,), -1)
    torch.testing.assert_close(network(x, gamma, null), network(x, gamma))
    mixed = network(x, gamma, torch.tensor([-1, 0, 2, -1]))
    torch.testing.assert_close(mixed[[0, 3]], network(x, gamma)[[0, 3]])
    assert (mixed - network(x, gamma))[[1, 2]].abs().flatten(1).amax(1).min() > 1e-3


def test_null_vector_is_none(make):
    build, shape = make
    x, gamma = inputs(shape)
    network = awake(build(num_condition_features=2))
    cond = torch.tensor([[torch.nan, torch.nan], [0.0, 1.0], [1.0, 0.0], [torch.nan, torch.nan]])
    mixed = network(x, gamma, cond)
    torch.testing.assert_close(mixed[[0, 3]], network(x, gamma)[[0, 3]])
    assert (mixed - network(x, gamma))[[1, 2]].abs().flatten(1).amax(1).min() > 1e-3


@pytest.mark.parametrize("name", ["mlp", "signal", "image", "stretches"])
def test_what_is_given_along_x_changes_it(name):
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = awake(build(num_given=3))
    x, gamma = inputs(shape, batch=2)
    along = torch.full((2, 3, *shape[1:]), torch.nan)
    torch.testing.assert_close(network(x, gamma, along), network(x, gamma))
    along[0, 1] = 1.0
    changes = (network(x, gamma, along) - network(x, gamma)).abs().flatten(1).amax(1)
    assert changes[0] > 1e-3
    assert changes[1] == 0


def test_an_input_that_there_is_not_is_refused(make):
    build, _ = make
    with pytest.raises(TypeError, match="unexpected keyword argument 'num_clases'"):
        build(num_clases=3)


@pytest.mark.parametrize(
    ("declared", "cond", "said"),
    [
        ({}, torch.zeros(4, dtype=torch.int64), "built without conditions"),
        ({"num_classes": 3}, torch.tensor([0, 1, 2, 3]), "from 0 to 3"),
        ({"num_classes": 3}, torch.tensor([0, 1, 2, -2]), "from -2 to 2"),
        ({"num_classes": 3}, torch.zeros(3, dtype=torch.int64), r"shape \(4,\)"),
        ({"num_classes": 3}, torch.zeros(4, dtype=torch.int32), "int64"),
        ({"num_classes": 3}, torch.zeros(4), "float32"),
        ({"num_condition_features": 2}, torch.zeros(4, 3), r"shape \(4, 2\)"),
        ({"num_condition_features": 2}, torch.zeros(4, 2, dtype=torch.int64), "float vectors"),
        ({"num_condition_features": 2}, torch.tensor([[0.0, torch.nan]] * 4), "some NaN"),
    ],
)
def test_wrong_condition(make, declared, cond, said):
    build, shape = make
    x, gamma = inputs(shape)
    with pytest.raises(InputError, match=said):
        build(**declared)(x, gamma, cond)


def test_labels_and_vectors_exclude_each_other(make):
    build, _ = make
    with pytest.raises(InputError, match="one of the two"):
        build(num_classes=2, num_condition_features=2)


def test_wrong_input(make):
    build, shape = make
    x, gamma = inputs((shape[0] + 1, *shape[1:]))
    with pytest.raises(InputError, match="this network takes"):
        build()(x, gamma)


def test_learns(make):
    """A few steps of plain gradient descent lower a regression loss: signs and scales at the start are right."""
    build, shape = make
    x, gamma = inputs(shape)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    first = last = 0.0
    for step in range(30):
        loss = (network(x, gamma) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (loss.item(), loss.item()) if step == 0 else (first, loss.item())
    assert last < 0.5 * first


def test_a_network_that_is_told_of_kinds_says_something_else_of_each(make):
    build, shape = make
    torch.manual_seed(0)
    network = awake(build(num_kinds=3))
    x, gamma = inputs(shape, batch=3)
    kinds = torch.eye(3)
    told, untold = network(x, gamma, kinds=kinds), network(x, gamma)
    assert (told - untold).abs().flatten(1).amax(1).min() > 1e-3
    turned = network(x, gamma, kinds=kinds[[0, 2, 1]])
    torch.testing.assert_close(turned[0], told[0])
    assert (turned - told)[1:].abs().flatten(1).amax(1).min() > 1e-3
    with pytest.raises(InputError, match="build it with num_kinds"):
        build()(x, gamma, kinds=kinds)


def test_a_network_that_is_told_sees_which_entries_are_there(make):
    build, shape = make
    network = awake(build(takes_observed=True))
    x, gamma = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)), torch.linspace(-3, 3, 4)
    everything = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(network(x, gamma, None, everything), network(x, gamma))
    some = everything.clone()
    some[1, 0] = some[3] = False
    changes = (network(x, gamma, None, some) - network(x, gamma)).abs().flatten(1).amax(1)
    assert changes[[1, 3]].min() > 1e-3
    assert changes[[0, 2]].max() < 1e-5
    with pytest.raises(InputError, match="takes_observed=True"):
        build()(x, gamma, None, some)
