"""Encoders and decoders take any size, return zero where they promise it, and pass gradients to every parameter."""

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.nn.autoencoder import Affine, ConvolutionalDecoder, ConvolutionalEncoder, Perceptron

SPATIAL = [(1,), (7,), (13,), (100,), (1, 1), (1, 9), (8, 8), (9, 6), (28, 28), (31, 17), (3, 5, 2), (9, 4, 8)]


@pytest.mark.parametrize("spatial", SPATIAL, ids=str)
@pytest.mark.parametrize("depth", [0, 1])
def test_any_size_there_and_back(spatial, depth):
    x = torch.randn(2, 3, *spatial)
    z = ConvolutionalEncoder((3, *spatial), 5, width=8, depth=depth)(x)
    assert z.shape == (2, 5)
    assert ConvolutionalDecoder(5, (4, *spatial), width=8, depth=depth)(z).shape == (2, 4, *spatial)


def networks():
    return {
        "perceptron": (Perceptron(6, 4, width=8, depth=2), (6,)),
        "convolutional encoder": (ConvolutionalEncoder((2, 9, 9), 4, width=8, depth=1), (2, 9, 9)),
        "convolutional decoder": (ConvolutionalDecoder(6, (2, 9, 9), width=8, depth=1), (6,)),
        "convolutional decoder without halving": (ConvolutionalDecoder(6, (2, 5), width=8, depth=1), (6,)),
    }


@pytest.mark.parametrize("name", networks())
def test_convolutional_decoders_return_zero_before_training_and_nothing_else_does(name):
    network, shape = networks()[name]
    assert (network(torch.randn(3, *shape)).abs().max() == 0) == ("decod" in name)


@pytest.mark.parametrize("name", networks())
def test_every_parameter_is_used_and_no_example_depends_on_its_batch(name):
    torch.manual_seed(0)
    network, shape = networks()[name]
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(3, *shape)
    out = network(x)
    out.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in network.parameters())
    torch.testing.assert_close(network(x[1:2]), out[1:2], rtol=1e-4, atol=1e-4)
    assert any(key.startswith("trunk.") for key, _ in network.named_parameters())


def test_the_affine_map_has_constants_beside_it():
    x = torch.randn(3, 4)
    for num_constants in (0, 1, 2):
        network = Affine(4, 2, num_constants=num_constants)
        torch.testing.assert_close(network(x)[:, :2], network.map(x))
        assert network(x).shape == (3, 4 if num_constants else 2)
        assert (network(x)[:, 2:] == 0).all()


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3, 4, 5), (0, 4)])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(InputError, match="shape"):
        ConvolutionalEncoder(shape, 2, width=4, depth=1)
    with pytest.raises(InputError, match="shape"):
        ConvolutionalDecoder(2, shape, width=4, depth=1)


def test_impossible_sizes_are_refused():
    for width, depth in ((0, 1), (4, -1)):
        with pytest.raises(InputError, match=r"(width|depth) is .* or more"):
            Perceptron(2, 2, width=width, depth=depth)
        with pytest.raises(InputError, match=r"(width|depth) is .* or more"):
            ConvolutionalEncoder((1, 8), 2, width=width, depth=depth)
