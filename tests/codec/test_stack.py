"""The stack of bits against closed forms, in double precision."""

import math

import numpy as np
import pytest
from scipy.special import ndtr

from lowerbound.codec.stack import FARTHEST, Binned, Stack, to_words
from lowerbound.errors import InputError

RNG = np.random.default_rng(0)


def full(num_words=20_000):
    return RNG.integers(1 << 32, size=num_words, dtype=np.uint32)


def bits(stack):
    return stack._coder.num_valid_bits()


def test_a_discrete_gaussian_source_is_coded_at_its_entropy():
    """Places of bins 0.1 wide under N(m, 0.37^2), m of each its own: the mean of -log2 of the bins' masses."""
    mean, step, std = RNG.normal(size=40_000), 0.1, 0.37
    places = np.round((mean + std * RNG.normal(size=len(mean))) / step).astype(np.int64)
    low, high = (((places + side) * step - mean) / std for side in (-0.5, 0.5))
    entropy = -np.log2(ndtr(high) - ndtr(low)).sum()
    stack = Stack(to_words(b""))
    stack.push_normal(places, Binned(mean, std, step, tails=True))
    assert bits(stack) == pytest.approx(entropy, rel=0.005)
    # to which that of the density is near
    assert entropy / len(mean) == pytest.approx(math.log2(std / step * math.sqrt(2 * math.pi * math.e)), rel=0.01)
    assert (stack.pop_normal(Binned(mean, std, step, tails=True)) == places).all()


def test_levels_are_coded_at_their_entropy():
    masses = RNG.dirichlet(np.full(17, 0.3), size=20_000)
    levels = (masses.cumsum(1) < RNG.random((len(masses), 1))).sum(1)
    entropy = -np.log2(masses[np.arange(len(masses)), levels]).sum()
    stack = Stack(to_words(b""))
    stack.push_rows(levels, np.log(masses) + RNG.normal(size=(len(masses), 1)))  # which need not be normalised
    assert bits(stack) == pytest.approx(entropy, rel=0.005)
    assert (stack.pop_rows(np.log(masses)) == levels).all()


@pytest.mark.parametrize("std", [0.02, 0.3, 5.0])
def test_random_bits_become_draws_and_come_back(std):
    mean, step, seed = RNG.uniform(-2, 2, size=20_000), 0.1, full()
    stack = Stack(seed, as_seed=True)
    normal = Binned(mean, np.full(len(mean), std), step)
    before, places = bits(stack), stack.draw(normal, 7)
    drawn = (step * places - mean) / std
    assert abs(drawn.mean()) < 4 / len(mean) ** 0.5
    # the bins' own width adds what Sheppard's correction takes away
    assert drawn.var() == pytest.approx(1 + (step / std) ** 2 / 12, rel=0.05)
    assert stack.fewest_bits <= bits(stack) < before
    stack.undraw(places, normal, 7)
    assert (stack.seed == seed).all()


def test_draws_do_not_depend_on_what_was_pushed_before():
    """Zeros, of which nothing but the first bin would be drawn as they stand."""
    normal = Binned(np.zeros(20_000), 1.0, 0.25)
    stack = Stack(np.ones(20_000, np.uint32), as_seed=True)
    places = stack.draw(normal, 7)
    assert abs(places.mean()) < 4 * 4 / len(places) ** 0.5
    assert places.var() == pytest.approx(16 + 1 / 12, rel=0.05)
    stack.undraw(places, normal, 7)
    assert (stack.seed == 1).all()


def test_places_beyond_the_table_are_coded_in_plain():
    mean, places = np.zeros(6), np.array([0, 50, -50, 123_456_789, 1 - FARTHEST, 5])
    stack = Stack(full(20))
    before, normal = bits(stack), Binned(mean, 1.0, 0.25, tails=True)
    stack.push_normal(places, normal)
    assert bits(stack) - before < 6 + 5 * 60
    assert (stack.pop_normal(normal) == places).all()


def test_what_is_said_to_have_been_drawn_must_be_in_the_table():
    with pytest.raises(InputError, match="never drawn"):
        Stack(full(20)).undraw(np.array([1000]), Binned(np.zeros(1), 1.0, 0.25), 7)


@pytest.mark.parametrize("mean", [math.nan, math.inf, 1e12])
def test_latents_without_a_place_are_refused(mean):
    with pytest.raises(InputError, match="not finite, or beyond all bounds"):
        Binned(np.array([mean]), 1.0, 1e-3)


def test_the_last_digits_of_a_network_make_no_difference():
    mean, masses = RNG.normal(size=100_000), RNG.dirichlet(np.ones(20), size=5000)
    nearly = mean * (1 + 1e-14 * RNG.normal(size=len(mean)))
    assert (nearly != mean).any()
    for std in (0.3, np.full(len(mean), 0.3)):
        exact, other = (Binned(values, std, 0.01) for values in (mean, nearly))
        assert (exact.first == other.first).all()
        assert (exact.keys == other.keys).all()
    stacks = [Stack(to_words(b"")) for _ in range(2)]
    for stack, rows in zip(stacks, (masses, masses * (1 + 1e-14 * RNG.normal(size=masses.shape))), strict=True):
        stack.push_rows(np.arange(5000) % 20, np.log(rows))
    assert (stacks[0].words == stacks[1].words).all()
    assert stacks[0].checksum == stacks[1].checksum != 0


def test_what_is_left_must_be_what_there_was():
    stack = Stack(full(20), as_seed=True)
    stack.push_normal(np.zeros(3, np.int64), Binned(np.zeros(3), 1.0, 0.25, tails=True))
    with pytest.raises(InputError, match="not what it began with"):
        stack.seed  # noqa: B018
