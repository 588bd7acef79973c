"""Noise sources: Philox's published vectors, moments, and what a sample may not depend on."""

import math

import pytest
import torch
from oracles import double

from lowerbound.errors import InputError
from lowerbound.rng import PerSample, Stream, derive_seeds, philox

# counter, key, result: the known-answer vectors of Random123's philox4x32, 10 rounds
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter, key, words):
    result = philox(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key)))
    assert [word.item() for word in result] == words


def sources():
    return [Stream(0), PerSample(range(200))]


def test_normal_numbers_have_normal_moments():
    for noise in sources():
        z = noise.normal(torch.empty(200, 5, 101, dtype=torch.float64)).flatten()
        error = 5 / math.sqrt(len(z))
        assert abs(z.mean()) < error
        assert abs(z.var() - 1) < error * math.sqrt(2)
        assert abs((z**3).mean()) < error * math.sqrt(15)
        assert abs((z**4).mean() - 3) < error * math.sqrt(96)
        assert abs((z[:-1] * z[1:]).mean()) < error


def test_uniform_numbers_are_uniform():
    for noise in sources():
        u = noise.uniform(torch.empty(200, 501, dtype=torch.float64)).flatten()
        assert u.min() >= 0
        assert u.max() <= 1
        distance = (u.sort().values - (torch.arange(len(u)) + 0.5) / len(u)).abs().max()
        assert distance < 2 / math.sqrt(len(u)), "Kolmogorov-Smirnov"


def test_draws_are_uncorrelated_with_one_another():
    for noise in sources():
        first, second = (noise.normal(torch.empty(200, 400, dtype=torch.float64)) for _ in range(2))
        assert abs((first * second).mean()) < 5 / math.sqrt(first.numel())


def test_the_places_of_a_sample_are_uncorrelated():
    """Box-Muller's sine and cosine and Philox's four words lie at different places of one sample."""
    z = PerSample(range(20_000)).normal(torch.empty(20_000, 8, dtype=torch.float64))
    assert (torch.corrcoef(z.T) - torch.eye(8)).abs().max() < 5 / math.sqrt(len(z))
    neighbours = (z[1:] * z[:-1]).mean(0)
    assert neighbours.abs().max() < 5 / math.sqrt(len(z)), "consecutive seeds"


def test_a_sample_does_not_depend_on_its_batch():
    seeds = [7, -1, 2**63 + 5, 2**64 - 1, 12345678901234567890]
    batch, like = PerSample(seeds), torch.empty(1, 3, 5)
    together = [batch.normal(like.expand(5, 3, 5)), batch.uniform(like.expand(5, 3, 5))]
    for index, seed in enumerate(seeds):
        alone = PerSample([seed])
        assert torch.equal(alone.normal(like)[0], together[0][index])
        assert torch.equal(alone.uniform(like)[0], together[1][index])


def test_a_draw_depends_on_its_number_and_not_on_those_before_it():
    """Small draws are made ahead, more and more at once, and made anew where another shape is asked for."""
    shapes = [(2, 3)] * 40 + [(2, 5), (2, 3), (2, 3), (2, 1, 3), (2, 9000), (2, 9000), (2, 3)]
    noise = PerSample([5, 6])
    for number, shape in enumerate(shapes):
        alone = PerSample([5, 6])
        for _ in range(number):
            alone.uniform(torch.empty(2, 1))
        draw = "uniform" if number % 3 == 0 else "normal"
        assert torch.equal(*(getattr(each, draw)(torch.empty(shape)) for each in (noise, alone))), (number, shape)


def test_seeds_are_sixty_four_bits():
    like = torch.empty(1, 8)
    assert torch.equal(PerSample([-1]).normal(like), PerSample([2**64 - 1]).normal(like))
    low, high = PerSample([5]).normal(like), PerSample([5 + 2**32]).normal(like)
    assert (low != high).all(), "the seed's upper half must count"
    assert torch.equal(PerSample(torch.tensor([5])).normal(like), low)


def test_the_same_seeds_give_the_same_draws():
    like = torch.empty(3, 4)
    for make in (lambda: Stream(5), lambda: PerSample([5, 6, 7])):
        one, other = make(), make()
        first = one.normal(like)
        assert torch.equal(first, other.normal(like))
        assert not torch.equal(first, one.normal(like)), "each call draws anew"


def test_single_precision_is_double_precision_rounded():
    for draw, tolerance in (("normal", 1e-3), ("uniform", 1e-7)):
        single, exact = (
            getattr(PerSample(range(500)), draw)(torch.empty(500, 40, dtype=dtype))
            for dtype in (torch.float32, torch.float64)
        )
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), exact, rtol=0, atol=tolerance)
        assert (single.double() - exact).abs().mean() < 1e-6


def test_derived_seeds_depend_on_each_part_and_not_on_the_batch():
    indices = torch.tensor([0, 1, 2**33, 5])
    seeds = derive_seeds(1, 10, indices)
    assert seeds.dtype == torch.int64
    assert torch.equal(seeds[[3, 0]], derive_seeds(1, 10, indices[[3, 0]]))
    others = [derive_seeds(*parts, indices) for parts in ((2, 10), (1, 11), (1, 10 + 2**32), (1 + 2**32, 10))]
    every = torch.cat([seeds, *others])
    assert len(every.unique()) == len(every)


def test_another_batch_size_is_refused():
    for num in (3, 1, 0):
        with pytest.raises(InputError, match=f"{num} was asked of 2"):
            PerSample([1, 2]).normal(torch.empty(num, 2))


def test_noise_has_the_type_that_is_asked_for():
    for noise in (Stream(0), PerSample([0])):
        for draw in (noise.normal, noise.uniform):
            assert draw(double([[0.0, 0.0]])).dtype == torch.float64
