"""Odds of levels that a whole example shares, against sums over the levels."""

import math

import pytest
import torch
from torch import nn

from lowerbound.discrete import LevelDenoiser
from lowerbound.discrete.odds import WIDE, LevelOdds
from lowerbound.errors import InputError
from lowerbound.levels import MOST_COUNTED, level_centres
from lowerbound.schedule import LinearGamma

NUM_LEVELS = 40


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(30,), (3, 10), (2, 3, 5)])
@pytest.mark.parametrize("variance", [0.02, 0.3, 1.0, 3.0])
def test_the_mean_moves_as_over_all_levels(shape, variance):
    """Of normals with odds beside them, near both ends of the levels too; as much of it as their width lets count."""
    odds = LevelOdds(2, shape, NUM_LEVELS).double()
    channels = 1 if len(shape) == 1 else shape[0]
    tables, shares = drawn(2, 4, channels, NUM_LEVELS), drawn(2, 4, *shape)
    centre = (torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)).double() * 1.2 - 0.1) * NUM_LEVELS
    ours = odds.shift(tables, shares, centre, torch.full_like(centre, variance))
    levels = torch.arange(NUM_LEVELS).double()

    def by_channel(entries):
        return entries.reshape(4, channels, -1)

    log_normal = -((levels - by_channel(centre.clamp(0, NUM_LEVELS - 1))[..., None]) ** 2) / (2 * variance)
    told = sum(by_channel(share)[..., None] * table[:, :, None] for table, share in zip(tables, shares, strict=True))
    moved = ((log_normal + told).softmax(-1) - log_normal.softmax(-1)) @ levels
    expected = moved.view(centre.shape) * math.exp(-variance / WIDE**2)
    torch.testing.assert_close(ours, expected, atol=2e-3, rtol=0)


def test_equal_odds_move_nothing():
    odds = LevelOdds(1, (1, 50), NUM_LEVELS).double()
    centre, variance = drawn(3, 1, 50) * 20 + 20, drawn(3, 1, 50).exp() * 3
    moved = odds.shift(torch.full((1, 3, 1, NUM_LEVELS), 1.7).double(), drawn(1, 3, 1, 50), centre, variance)
    torch.testing.assert_close(moved, torch.zeros_like(moved), atol=1e-12, rtol=0)


def test_wide_normals_are_not_moved():
    odds = LevelOdds(1, (1, 50), NUM_LEVELS).double()
    moved = odds.shift(
        drawn(1, 3, 1, NUM_LEVELS), drawn(1, 3, 1, 50), drawn(3, 1, 50) + 20, torch.full((3, 1, 50), 150.0).double()
    )
    assert moved.abs().max() < 1e-6


def test_tables_are_of_the_entries_of_their_example_wherever_they_stand():
    odds = LevelOdds(2, (2, 6), NUM_LEVELS)
    position = torch.randint(NUM_LEVELS, (3, 2, 6), generator=torch.Generator().manual_seed(0)).float()
    tables = odds.tables(position)
    assert tables.shape == (2, 3, 2, NUM_LEVELS)
    turned = position.flip(2)
    torch.testing.assert_close(odds.tables(turned), tables)
    other = position.clone()
    other[0, 0, 0] = (other[0, 0, 0] + 7) % NUM_LEVELS
    changed = (odds.tables(other) - tables).abs().amax((0, 2, 3))
    assert changed[0] > 1e-4
    assert changed[1:].max() < 1e-6


def test_what_is_missing_says_nothing_of_an_example():
    odds = LevelOdds(1, (6,), NUM_LEVELS)
    position = torch.tensor([[0.0, 5.0, 5.0, 9.0, 30.0, 30.0]])
    observed = torch.tensor([[True, True, False, True, True, False]])
    other = torch.where(observed, position, 17.0)
    torch.testing.assert_close(odds.tables(other, observed), odds.tables(position, observed))
    assert (odds.tables(other) - odds.tables(position)).abs().max() > 1e-4


class Open(nn.Module):
    """A network that leaves nearly all of each entry open, and takes the odds of its example as they are."""

    def forward(self, x, gamma, cond):
        nothing = torch.zeros_like(x)
        return torch.cat([nothing, nothing + 3, nothing], 1)


def test_levels_that_an_example_does_not_have_are_not_said():
    """Of entries at even levels alone: odds against all others take away more than half of the error that is left."""
    num_levels, schedule = 64, LinearGamma(-12.0, 5.0)
    generator = torch.Generator().manual_seed(0)
    even = 2 * torch.randint(num_levels // 2, (1, 1, 400), generator=generator)
    x = level_centres(even, num_levels).double()
    level = schedule.level_at(2 * math.log(0.4 * 2 / num_levels))
    x_t = level.alpha * x + level.sigma * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    denoiser = LevelDenoiser(Open(), schedule, x.shape[1:], num_levels, num_tables=1).double().eval()
    last = denoiser.odds.told[-1]
    nn.init.zeros_(last.weight)
    errors = []
    for against in (0.0, -20.0):
        last.bias.data = torch.where(torch.arange(num_levels) % 2 == 0, 0.0, against).double()
        errors.append((denoiser.predict(x_t, level, None, None).x - x).square().mean())
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize(("num_tables", "num_levels"), [(0, 16), (1, 1), (1, MOST_COUNTED + 1)])
def test_impossible_tables_are_refused(num_tables, num_levels):
    with pytest.raises(InputError):
        LevelOdds(num_tables, (1, 4), num_levels)
