"""Histograms of what stands between levels."""

import pytest
import torch

from lowerbound.levels import histogram, interpolated, places


def drawn(*shape, num_levels, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * (num_levels - 1)


@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_of_whole_levels_it_is_the_count(num_levels):
    index = torch.randint(num_levels, (3, 2, 500), generator=torch.Generator().manual_seed(0))
    counts = histogram(places(index.float(), num_levels), num_levels)
    expected = torch.stack([torch.bincount(row, minlength=num_levels) for row in index.flatten(0, 1)])
    torch.testing.assert_close(counts.flatten(0, 1), expected.float(), rtol=0, atol=0)


def test_an_entry_between_two_levels_is_in_parts_at_both_and_one_beyond_at_the_last():
    counts = histogram(places(torch.tensor([[1.25, -3.0, 9.0]]), 4), 4)
    torch.testing.assert_close(counts, torch.tensor([[1.0, 0.75, 0.25, 1.0]]))


def test_the_mean_level_is_kept():
    position = drawn(4, 700, num_levels=31, dtype=torch.float64)
    counts = histogram(places(position, 31), 31)
    torch.testing.assert_close(counts.sum(1), torch.full((4,), 700.0).double())
    torch.testing.assert_close(counts @ torch.arange(31).double() / 700, position.mean(1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_entries", [1, 784, 70_000])
def test_it_is_the_same_to_the_last_bit_in_whatever_order_entries_come(num_entries):
    """On few levels, where rounding would show."""
    position = drawn(1, num_entries, num_levels=3)
    order = torch.randperm(num_entries, generator=torch.Generator().manual_seed(1))
    counts, turned = (histogram(places(entries, 3), 3) for entries in (position, position[:, order]))
    assert torch.equal(counts, turned)
    by_one = torch.zeros(3)
    for part in position[0].split(1000):
        by_one += histogram(places(torch.cat([part, part.new_zeros(num_entries - len(part))])[None], 3), 3)[0]
        by_one[0] -= num_entries - len(part)
    assert torch.equal(counts[0], by_one)


def test_what_is_between_two_levels_is_interpolated_with_its_slope():
    values = torch.tensor([[0.0, 10.0, 40.0]], dtype=torch.float64)
    position = torch.tensor([[0.5, 1.1, 2.0, 5.0, -1.0]], dtype=torch.float64, requires_grad=True)
    found = interpolated(values, places(position, 3))
    torch.testing.assert_close(found.detach(), torch.tensor([[5.0, 13.0, 40.0, 40.0, 0.0]]).double(), rtol=0, atol=1e-4)
    (slope,) = torch.autograd.grad(found.sum(), position)
    assert slope[0, :2].tolist() == [10.0, 30.0]
    assert slope[0, 3:].tolist() == [0.0, 0.0]


def test_the_slope_of_a_count_is_that_of_the_parts():
    position = torch.tensor([[1.3, 1.6]], requires_grad=True)
    (slope,) = torch.autograd.grad(histogram(places(position, 4), 4)[0, 2], position)
    assert slope.tolist() == [[1.0, 1.0]]
