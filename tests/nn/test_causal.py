"""Causal networks see all entries that come before, and nothing else."""

import math

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.nn.causal import CausalCNN, CausalMLP

P = 3
NETWORKS = {
    "one entry": (lambda **more: CausalMLP(1, P, width=4, depth=1, **more), (1,)),
    "vector": (lambda **more: CausalMLP(6, P, width=11, depth=2, **more), (6,)),
    "narrow vector": (lambda **more: CausalMLP(5, P, width=4, depth=1, **more), (5,)),
    "signal": (lambda **more: CausalCNN(1, 1, P, width=4, depth=3, num_dilations=2, **more), (1, 9)),
    "signals": (lambda **more: CausalCNN(3, 1, P, width=4, depth=2, **more), (3, 4)),
    "image": (lambda **more: CausalCNN(1, 2, P, width=4, depth=2, **more), (1, 5, 4)),
    "colours": (lambda **more: CausalCNN(2, 2, P, width=4, depth=2, num_dilations=2, **more), (2, 3, 5)),
    "volume": (lambda **more: CausalCNN(1, 3, P, width=4, depth=2, **more), (1, 3, 4, 3)),
    "two volumes": (lambda **more: CausalCNN(2, 3, P, width=4, depth=2, **more), (2, 3, 2, 3)),
    "a single position": (lambda **more: CausalCNN(2, 2, P, width=4, depth=1, **more), (2, 1, 1)),
}


@pytest.fixture(params=NETWORKS, ids=str)
def built(request):
    """(network, shape of one example); no weight is zero."""
    build, shape = NETWORKS[request.param]
    return awake(build(frequencies=(0.3,))), shape


def awake(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_order(x):
    """(C, *spatial) as the vector of its entries, position by position and channels within one."""
    return x.movedim(0, -1).flatten()


def test_every_entry_sees_all_before_it_and_none_after(built):
    network, shape = built
    num_entries = math.prod(shape)
    x = draw(1, *shape).requires_grad_()
    outputs = network(x)[0].unflatten(0, (P, -1)).movedim(0, -1)
    kinds = torch.stack([in_order(kind) for kind in outputs.unbind(-1)])
    for kind in kinds:
        rows = [torch.autograd.grad(entry, x, retain_graph=True)[0][0] for entry in kind]
        jacobian = torch.stack([in_order(row) for row in rows])
        assert torch.equal(jacobian != 0, torch.ones(num_entries, num_entries).tril(-1).bool())


def test_filling_gives_each_draw_the_output_of_the_whole(built):
    network, shape = built
    values, seen = draw(2, math.prod(shape)), []

    def next_values(output):
        seen.append(output)
        return values[:, len(seen) - 1].reshape(2, *(1,) * len(shape))

    x = draw(2, *shape, seed=2)
    with torch.no_grad():
        network.fill(x, next_values)
        outputs = network(x)
    torch.testing.assert_close(torch.stack([in_order(row) for row in x]), values, atol=0, rtol=0)
    kinds = outputs.unflatten(1, (P, -1)).unbind(1)
    expected = torch.stack([torch.stack([in_order(row) for row in kind]) for kind in kinds], 1)
    torch.testing.assert_close(torch.stack([output.flatten(1) for output in seen], 2), expected)


def test_zero_before_training_and_gradient_everywhere_after():
    for name, (build, shape) in NETWORKS.items():
        if name in ("one entry", "a single position"):  # there is hardly anything to see
            continue
        network, x = build(), torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        assert torch.equal(network(x), torch.zeros(2, P * shape[0], *shape[1:]))
        network = awake(network)
        network(x.double()).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_an_image_takes_one_pass_of_its_rows_for_each_row():
    network, positions = awake(CausalCNN(1, 2, P, width=4, depth=1)), []
    for stack in network.into:
        stack.register_forward_hook(lambda module, inputs, output: positions.append(output[0, 0].numel()))
    x = torch.zeros(1, 1, 6, 8, dtype=torch.float64)
    with torch.no_grad():
        network.fill(x, lambda output: output[:, :1])
    down, along = [8 * row for row in range(1, 7)], list(range(1, 9))
    assert positions == [count for row in down for count in (row, *along)]


def test_impossible_networks_are_refused():
    for sizes in ({"num_dims": 0}, {"num_dims": 4}, {"channels": 0}, {"width": 0}, {"depth": -1}):
        with pytest.raises(InputError, match=r"or more|there are 1 to 3"):
            CausalCNN(**{"channels": 1, "num_dims": 2, "num_outputs": P, **sizes})
    for sizes in ({"num_entries": 0}, {"width": 4}, {"depth": -1}):
        with pytest.raises(InputError, match=r"or more|at least"):
            CausalMLP(**{"num_entries": 6, "num_outputs": P, "width": 8, **sizes})
