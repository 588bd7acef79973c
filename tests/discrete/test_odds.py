"""Odds of levels that a whole example shares, against sums over the levels."""

import math

import pytest
import torch
from torch import nn

from lowerbound.discrete import LevelDenoiser
from lowerbound.discrete.odds import REACH, WIDE, LevelOdds
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
    odds = LevelOdds(2, 3, shape, NUM_LEVELS).double()
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
    odds = LevelOdds(1, 3, (1, 50), NUM_LEVELS).double()
    centre, variance = drawn(3, 1, 50) * 20 + 20, drawn(3, 1, 50).exp() * 3
    moved = odds.shift(torch.full((1, 3, 1, NUM_LEVELS), 1.7).double(), drawn(1, 3, 1, 50), centre, variance)
    torch.testing.assert_close(moved, torch.zeros_like(moved), atol=1e-12, rtol=0)


def test_wide_normals_are_not_moved():
    odds = LevelOdds(1, 3, (1, 50), NUM_LEVELS).double()
    moved = odds.shift(
        drawn(1, 3, 1, NUM_LEVELS), drawn(1, 3, 1, 50), drawn(3, 1, 50) + 20, torch.full((3, 1, 50), 150.0).double()
    )
    assert moved.abs().max() < 1e-6


def fitted(num_tables=2, num_channels=2):
    """Odds of three kinds with chances at random, a third of all entries at level 7."""
    odds = LevelOdds(num_tables, 3, (num_channels, 6), NUM_LEVELS).double()
    common, chances = torch.zeros(num_channels, NUM_LEVELS), drawn(3, num_channels, NUM_LEVELS).abs() ** 3
    common[:, 7], chances[:, :, 7] = 1 / 3, 0
    chances = 2 / 3 * chances / chances.sum(2, keepdim=True)
    odds.histograms.fit(torch.tensor([0.5, 0.3, 0.2]), common, chances)
    return odds


def test_tables_are_of_the_kind_of_an_example_wherever_its_entries_stand():
    odds = fitted()
    position = torch.randint(NUM_LEVELS, (3, 2, 6), generator=torch.Generator().manual_seed(0)).double()
    tables = odds.tables(odds.kinds(position, 0.5))
    assert tables.shape == (2, 3, 2, NUM_LEVELS)
    torch.testing.assert_close(odds.tables(odds.kinds(position.flip(2), 0.5)), tables)
    other = position.clone()
    other[0] = NUM_LEVELS - 1 - other[0]
    changed = (odds.tables(odds.kinds(other, 0.5)) - tables).abs().amax((0, 2, 3))
    assert changed[0] > 1e-4
    assert changed[1:].max() == 0


def test_the_first_table_begins_as_what_the_histograms_say_beyond_what_is_smooth():
    odds = fitted()
    torch.nn.init.zeros_(odds.by_kind.weight)
    kinds = torch.tensor([[0.2, 0.5, 0.3]]).double()
    first, second = odds.tables(kinds)
    theta = torch.einsum("k,kcl->cl", kinds[0], odds.histograms.chances)
    for channel in range(2):
        for level in range(NUM_LEVELS):
            around = theta[channel, max(0, level - REACH) : level + REACH + 1].mean()
            expected = (
                0 if level == 7 else ((theta[channel, level] + 1e-3 / NUM_LEVELS) / (around + 1e-3 / NUM_LEVELS)).log()
            )
            assert first[0, channel, level].item() == pytest.approx(float(expected), abs=1e-6)
    assert second.abs().max() == 0


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
    nn.init.zeros_(denoiser.odds.by_kind.weight)
    is_even = torch.arange(num_levels) % 2 == 0
    errors = []
    for chance_of_odd in (1.0, 0.0):
        chances = torch.where(is_even, 1.0, chance_of_odd).double()
        none_common = torch.zeros(1, num_levels).double()
        denoiser.odds.histograms.fit(torch.ones(1).double(), none_common, (chances / chances.sum()).view(1, 1, -1))
        errors.append((denoiser.predict(x_t, level, None, None).x - x).square().mean())
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize(
    ("num_tables", "num_kinds", "num_levels"), [(0, 1, 16), (1, 0, 16), (1, 1, 1), (1, 1, MOST_COUNTED + 1)]
)
def test_impossible_tables_are_refused(num_tables, num_kinds, num_levels):
    with pytest.raises(InputError):
        LevelOdds(num_tables, num_kinds, (1, 4), num_levels)
