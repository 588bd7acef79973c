"""The networks of a GAN, whatever the shape of an example."""

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.nn.gan import Discriminator, Generator

SHAPES = [(3,), (2, 11), (1, 7, 9), (1, 8, 8), (2, 1, 3), (1, 3, 6, 5), (1, 1, 1)]


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


def built(kind, *sizes, depth=1):
    torch.manual_seed(0)
    network = kind(*sizes, width=8, depth=depth).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return network


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def networks(shape):
    """Each network with an input for it and the shape of its output."""
    return ((built(Generator, shape, 5), random(4, 5), shape), (built(Discriminator, shape), random(4, *shape), ()))


def test_any_shape(shape):
    for network, given, expected in networks(shape):
        assert network(given).shape == (4, *expected)


def test_an_example_does_not_depend_on_its_batch(shape):
    for network, given, _ in networks(shape):
        together = network(given)
        for row in range(4):
            torch.testing.assert_close(network(given[row : row + 1])[0], together[row])


def test_gradients_reach_everything(shape):
    for network, given, _ in networks(shape):
        given.requires_grad_()
        network(given).pow(2).sum().backward()
        assert given.grad.flatten(1).any(1).all()
        # of a single channel that is normalised over a single position nothing is left
        if max(shape) > 1:
            assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_every_entry_of_an_example_counts(shape):
    x = random(1, *shape).requires_grad_()
    built(Discriminator, shape)(x).sum().backward()
    assert (x.grad != 0).all()


def test_residual_blocks_are_the_identity_before_training():
    torch.manual_seed(0)
    for kind, sizes in ((Generator, ((1, 9, 9), 5)), (Discriminator, ((1, 9, 9),))):
        deep, flat = (kind(*sizes, width=8, depth=depth) for depth in (2, 0))
        shared = {name: value for name, value in deep.named_parameters() if "trunk" not in name}
        flat.load_state_dict(shared, strict=False)
        convolutions = [
            [module for module in network.trunk if isinstance(module, torch.nn.Conv2d)] for network in (deep, flat)
        ]
        assert len(convolutions[0]) > 0
        for mine, other in zip(*convolutions, strict=True):
            other.load_state_dict(mine.state_dict())
        given = torch.randn(3, 5) if kind is Generator else torch.randn(3, 1, 9, 9)
        torch.testing.assert_close(deep(given), flat(given))


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": -1}, {"latent_dims": 0}, {"shape": ()}, {"shape": (1, 0)}])
def test_impossible_sizes_are_refused(wrong):
    sizes = {"shape": (1, 8, 8), "latent_dims": 5, "width": 8, "depth": 1, **wrong}
    with pytest.raises(InputError, match=r"or more|examples of shape"):
        Generator(**sizes)
    sizes.pop("latent_dims")
    if "latent_dims" not in wrong:
        with pytest.raises(InputError, match=r"or more|examples of shape"):
            Discriminator(**sizes)
