"""A network of patches: what goes in comes out again, at every size, and each position meets its own patch."""

import pytest
import torch
from torch import nn

from lowerbound.errors import InputError
from lowerbound.nn import Patched, UNet
from lowerbound.nn.patched import from_patches, to_patches


@pytest.mark.parametrize("spatial", [(28, 28), (7,), (5, 6), (5, 6, 7), (1, 3)])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_there_and_back(spatial, patch):
    x = torch.randn(2, 3, *spatial)
    patches = to_patches(x, patch)
    assert patches.shape == (2, 3 * patch ** len(spatial), *(-(-size // patch) for size in spatial))
    assert torch.equal(from_patches(patches, patch, x.shape[2:]), x)


def test_in_the_plane_it_is_pixel_unshuffle():
    x = torch.randn(2, 3, 8, 12)
    assert torch.equal(to_patches(x, 4), nn.functional.pixel_unshuffle(x, 4))


def unet(patch, **settings):
    """One that says something before it is trained."""
    network = Patched(UNet(2 * patch**2, 2, width=8, multipliers=(1, 2), blocks_per_level=1, **settings), patch)
    for parameter in network.network.out.parameters():
        nn.init.normal_(parameter)
    return network


def test_it_is_as_fine_as_its_input_at_every_size():
    """And each row depends on itself alone."""
    network = unet(2)
    x, gamma = torch.randn(3, 2, 9, 7), torch.tensor([-1.0, 0.0, 2.0])
    output = network(x, gamma)
    assert output.shape == x.shape
    torch.testing.assert_close(network(x[1:2], gamma[1:2]), output[1:2])


def test_what_is_observed_reaches_the_network():
    network = unet(2, takes_observed=True)
    x, gamma = torch.randn(1, 2, 5, 5), torch.zeros(1)
    observed = torch.ones_like(x).bool()
    observed[0, 1, 2, 2] = False
    assert network.takes_observed
    torch.testing.assert_close(network(x, gamma, None, torch.ones_like(x).bool()), network(x, gamma, None, None))
    assert not torch.allclose(network(x, gamma, None, observed), network(x, gamma))


def test_periodic_axes_close_over_patches():
    network = unet(2, periodic=(1,))
    x, gamma = torch.randn(1, 2, 6, 8), torch.zeros(1)
    torch.testing.assert_close(network(x.roll(4, 3), gamma), network(x, gamma).roll(4, 3))
    network.check(x)
    with pytest.raises(InputError, match="7 positions, which are no whole number of patches of 2"):
        network.check(x[..., :7])


def test_impossible_ones_are_refused():
    with pytest.raises(InputError, match="patch is 0: give 1 or more"):
        Patched(nn.Identity(), 0)
    with pytest.raises(InputError, match="leave the patch at 1"):
        Patched(UNet(4, 2, width=8, num_given=1), 2)
