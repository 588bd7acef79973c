"""The U-Net takes any size, any number of channels, one to three dimensions."""

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.nn import UNet


@pytest.mark.parametrize(
    "spatial", [(1,), (2,), (13,), (1, 1), (1, 5), (8, 8), (28, 28), (9, 6), (1, 1, 1), (3, 5, 2), (1, 4, 7)], ids=str
)
@pytest.mark.parametrize("channels", [(1, None), (3, 6)], ids=str)
def test_any_size(spatial, channels):
    in_channels, out_channels = channels
    network = UNet(in_channels, len(spatial), out_channels, width=8, multipliers=(1, 2, 2), blocks_per_level=1)
    output = network(torch.randn(2, in_channels, *spatial), torch.zeros(2))
    assert output.shape == (2, out_channels or in_channels, *spatial)


@pytest.mark.parametrize("width", [8, 12, 48, 96])
def test_heads_divide_the_width_and_are_not_narrow(width):
    network = UNet(1, 1, width=width, multipliers=(1,), blocks_per_level=1, head_width=32)
    heads = network.trunk.attention.num_heads
    assert width % heads == 0
    assert heads == 1 or width // heads >= 32


def test_attention_reaches_across_the_image_and_its_absence_does_not():
    """Without attention the lowest resolution sees a neighbourhood only."""
    x = torch.zeros(1, 1, 64)
    far = x.clone()
    far[..., -1] = 5.0
    changes = []
    for attention_levels in (0, 1):
        torch.manual_seed(0)
        network = UNet(1, 1, width=8, multipliers=(1,), blocks_per_level=1, attention_levels=attention_levels)
        for module in network.modules():
            if isinstance(module, torch.nn.GroupNorm):  # its statistics reach across too
                module.forward = lambda hidden: hidden
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        gamma = torch.zeros(1)
        changes.append((network(far, gamma) - network(x, gamma))[0, 0, 0].abs().item())
    assert changes[0] == 0.0
    assert changes[1] > 0.0


@pytest.mark.parametrize("spatial", [(7,), (1, 1), (9, 6), (3, 5, 2)], ids=str)
def test_a_fully_connected_block_knows_where_something_stands(spatial):
    """A channel that is the same everywhere comes out different at every position, which convolutions of one position's
    reach, and attention, cannot do; before training nothing is added."""
    torch.manual_seed(0)
    settings = {"width": 8, "multipliers": (1, 2), "blocks_per_level": 1, "spatial": spatial}
    network = UNet(2, len(spatial), dense=5, **settings)
    block = network.trunk.lower.dense
    assert network.trunk.dense is None
    hidden, embedding = torch.ones(3, 16, *[-(-size // 2) for size in spatial]), torch.randn(3, 32)
    assert torch.equal(block(hidden, embedding), hidden)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    added = block(hidden, embedding)[0].flatten(1) - 1
    assert added.unique(dim=1).shape[1] == added.shape[1]
    x, gamma = torch.randn(3, 2, *spatial), torch.zeros(3)
    assert network(x, gamma).shape == x.shape
    torch.testing.assert_close(network(x, gamma)[1:2], network(x[1:2], gamma[1:2]))
    with pytest.raises(InputError, match="made for sizes of"):
        network(torch.zeros(3, 2, *(size + 1 for size in spatial)), gamma)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dense": -1}, "dense=-1"),
        ({"dense": 4}, "the sizes of all spatial axes"),
        ({"dense": 4, "spatial": (8,)}, r"spatial=\(8,\)"),
        ({"dense": 4, "spatial": (8, 8), "periodic": (0,)}, "no periodic ones"),
        ({"num_dims": 4}, "1, 2 or 3"),
        ({"num_dims": 0}, "use MLP"),
        ({"width": 0}, "width=0"),
        ({"multipliers": ()}, "at least one multiplier"),
        ({"blocks_per_level": 0}, "blocks_per_level=0"),
        ({"attention_levels": 4}, "attention_levels=4"),
        ({"head_width": 0}, "head_width=0"),
    ],
)
def test_wrong_size(wrong, said):
    with pytest.raises(InputError, match=said):
        UNet(**{"in_channels": 1, "num_dims": 2, **wrong})


@pytest.mark.parametrize("shape", [(2, 1, 8), (2, 1, 8, 8, 8), (2, 2, 8, 8)], ids=str)
def test_wrong_shape(shape):
    with pytest.raises(InputError, match="2 spatial dimensions"):
        UNet(1, 2, width=8)(torch.zeros(shape), torch.zeros(2))
