"""Periodic axes: the network's output shifts with its input, and along other axes it does not."""

import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.nn import UNet


def network(num_dims, periodic, multipliers=(1, 2, 2)):
    torch.manual_seed(0)
    built = UNet(2, num_dims, width=8, multipliers=multipliers, periodic=periodic).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))  # nothing is zero
    return built


@pytest.mark.parametrize(
    ("shape", "periodic"), [((16,), (0,)), ((8, 12), (1,)), ((8, 12), (0, 1)), ((4, 8, 4), (1,)), ((4, 8, 4), (0, 2))]
)
def test_a_shift_by_the_stride_goes_through(shape, periodic):
    built = network(len(shape), periodic)
    x, gamma = torch.randn(2, 2, *shape, dtype=torch.float64), torch.tensor([-1.0, 3.0], dtype=torch.float64)
    with torch.no_grad():
        y = built(x, gamma)
        for axis in range(len(shape)):
            shifted = built(x.roll(4, 2 + axis), gamma)
            difference = (shifted - y.roll(4, 2 + axis)).abs().max()
            if axis in periodic:
                assert difference < 1e-11 * y.abs().max()
            elif shape[axis] > 4:
                assert difference > 1e-3 * y.abs().max()
        if periodic == (0,):
            assert (built(x.roll(1, 2), gamma) - y.roll(1, 2)).abs().max() > 1e-3, "not by less"


def test_without_lower_resolutions_any_shift_goes_through():
    built, gamma = network(2, (1,), (1,)), torch.zeros(2, dtype=torch.float64)
    x = torch.randn(2, 2, 3, 7, dtype=torch.float64)
    with torch.no_grad():
        assert (built(x.roll(3, 3), gamma) - built(x, gamma).roll(3, 3)).abs().max() < 1e-10


@pytest.mark.parametrize(("periodic", "message"), [((2,), "counted from 0 to 1"), ((-1,), "counted from 0")])
def test_axes_that_are_not_there(periodic, message):
    with pytest.raises(InputError, match=message):
        network(2, periodic)


def test_a_length_that_does_not_close():
    with pytest.raises(InputError, match=r"periodic axis 1 has 10 positions.*--network\.multipliers"):
        network(2, (1,))(torch.zeros(1, 2, 8, 10, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
