"""Planted copies are found, among others and alone; held-out data are cleared, at the rate that is stated."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from lowerbound.errors import InputError
from lowerbound.evaluate.copies import CopyAudit, Ranks, _tail, audit
from lowerbound.evaluate.nearest import MOST_PRODUCTS, Mapped, most_searched, nearest
from lowerbound.files.records import read, to_json
from lowerbound.report.distances import has_copies, tell_copies


def draw(num: int, seed: int, num_dims: int = 6) -> np.ndarray:
    """A mixture of a narrow and a wide Gaussian: data of varying density."""
    rng = np.random.default_rng(seed)
    wide = rng.random((num, 1)) < 0.5
    return np.where(wide, 5 + 2 * rng.standard_normal((num, num_dims)), 0.2 * rng.standard_normal((num, num_dims)))


TRAIN, HELD_OUT, FRESH = draw(600, 0), draw(400, 1), draw(300, 2)


def disturbed(num: int, scale: float, seed: int = 3) -> np.ndarray:
    """Training examples moved by a fraction of the distance to their own nearest neighbour."""
    rng = np.random.default_rng(seed)
    own = nearest(TRAIN[:num], np.delete(TRAIN, np.arange(num), axis=0))[0]
    return TRAIN[:num] + scale * own * rng.standard_normal((num, TRAIN.shape[1]))


def test_nearest_agrees_with_all_pairs(monkeypatch):
    pairs = np.sqrt(((FRESH[:, None] - TRAIN[None]) ** 2).mean(axis=2))
    order = pairs.argsort(axis=1)[:, :5]
    for block, entries in ((2**22, 2**24), (1_300, 2**24), (2**22, 700), (40, 18)):
        monkeypatch.setattr("lowerbound.evaluate.quality.BLOCK_VALUES", block)
        monkeypatch.setattr("lowerbound.evaluate.nearest.PART_ENTRIES", entries)
        distances, indices = nearest(FRESH, TRAIN, 5)
        assert np.array_equal(indices, order)
        assert np.abs(distances - np.take_along_axis(pairs, order, axis=1)).max() < 1e-12


@pytest.mark.parametrize("entries", [2**24, 90, 6])
def test_nearest_among_some_is_nearest_of_those_alone(monkeypatch, entries):
    """Also of none in a part, and of parts that no query is the nearest of."""
    monkeypatch.setattr("lowerbound.evaluate.nearest.PART_ENTRIES", entries)
    among = np.random.default_rng(0).random(len(TRAIN)) < 0.1
    distances, indices = nearest(FRESH, TRAIN, 3, among=among)
    alone, places = nearest(FRESH, TRAIN[among], 3)
    assert np.array_equal(indices, np.flatnonzero(among)[places])
    assert np.array_equal(distances, alone)
    others = nearest(TRAIN[:50], TRAIN[:50], 2, exclude_self=True)
    pairs = np.sqrt(((TRAIN[:50, None] - TRAIN[None, :50]) ** 2).mean(axis=2)) + np.diag(np.full(50, np.inf))
    assert np.array_equal(others[1], pairs.argsort(axis=1)[:, :2])


def test_an_audit_reads_examples_where_it_needs_them(monkeypatch):
    """Never more than a part of them at a time, and says the same; copies are known by their numbers."""
    monkeypatch.setattr("lowerbound.evaluate.nearest.PART_ENTRIES", 600)
    twice, most = np.concatenate([TRAIN, TRAIN[::-1]]), 0

    def read(numbers: np.ndarray) -> np.ndarray:
        nonlocal most
        most = max(most, len(numbers))
        return twice[numbers]

    samples = np.concatenate([FRESH, TRAIN[:9]])
    found = audit(samples, HELD_OUT, Mapped(np.arange(len(twice)), read))
    assert most == len(samples) + len(HELD_OUT), "those of which each is the nearest to one"
    assert found == audit(samples, HELD_OUT, TRAIN)
    assert found.num_identical == 9
    assert {each.example for each in found.suspects} >= set(range(9))


@pytest.mark.parametrize(("num_queries", "num_entries"), [(1, 2), (2500, 784), (800, 3 * 256 * 256)])
def test_as_many_are_searched_as_time_allows(num_queries, num_entries):
    num = most_searched(num_queries, num_entries)
    assert num * num_queries * num_entries <= MOST_PRODUCTS
    assert num >= 3_000
    assert most_searched(10**9, 10**9) == 1


def test_a_copy_has_distance_zero_far_from_the_origin():
    far = np.round(TRAIN) + 60_000
    assert nearest(far[:50], far)[0].max() == 0
    assert nearest(TRAIN, TRAIN, exclude_self=True)[0].min() > 0


def test_nearest_needs_as_many_references():
    with pytest.raises(InputError, match="3 neighbours among 2"):
        nearest(TRAIN, TRAIN[:2], 3)
    with pytest.raises(InputError, match="1 neighbours among 0"):
        nearest(TRAIN[:1], TRAIN[:1], exclude_self=True)


def test_ranks_agree_with_all_pairs():
    """And with the variance of U that its definition gives over all ways to deal out tied values."""
    rng = np.random.default_rng(0)
    samples, held_out = rng.integers(0, 9, 30).astype(float), rng.integers(2, 12, 50).astype(float)
    found = Ranks.of(samples, held_out)
    lower = (samples[:, None] < held_out) + 0.5 * (samples[:, None] == held_out)
    assert abs(found.auc - lower.mean()) < 1e-12
    assert abs(found.p - math.erfc(found.z / math.sqrt(2)) / 2) < 1e-12
    pooled = np.concatenate([samples, held_out])
    dealt = [Ranks.of(*np.split(rng.permutation(pooled), [30])) for _ in range(1_500)]
    z = np.array([each.z for each in dealt])
    assert abs(z.mean()) < 4 / len(z) ** 0.5
    assert abs(z.var() - 1) < 4 * (2 / len(z)) ** 0.5
    flipped = Ranks.of(held_out, samples)
    assert abs(found.auc + flipped.auc - 1) < 1e-12
    assert abs(found.error - flipped.error) < 1e-12


def test_the_error_of_the_area_is_its_spread():
    draws = [
        (np.random.default_rng(i).normal(-1, 1, 40), np.random.default_rng(i + 9_000).normal(0, 2, 60))
        for i in range(400)
    ]
    found = [Ranks.of(*each) for each in draws]
    spread = np.std([each.auc for each in found])
    assert abs(np.sqrt(np.mean([each.error**2 for each in found])) / spread - 1) < 0.12


def test_values_that_are_all_equal_say_nothing():
    found = Ranks.of(np.ones(20), np.ones(30))
    assert (found.auc, found.error, found.z, found.p) == (0.5, 0.0, 0.0, 0.5)


def test_held_out_data_are_cleared():
    found = audit(FRESH, HELD_OUT, TRAIN)
    assert not has_copies(found)
    assert str(tell_copies(found).findings[0]).startswith("Not told apart from held-out data by the distance")
    assert str(tell_copies(found).findings[1]).startswith("No sign of copies")
    for ranks in (found.nearer, found.relative):
        assert abs(ranks.auc - 0.5) < 3 * ranks.error


def test_the_p_values_of_held_out_data_are_uniform():
    """Those of the tests between their quantiles; that of the number of suspects, which is a whole number, no lower."""
    found = [
        audit(draw(60, 2 * i), draw(80, 2 * i + 1), draw(100, 9_000 + i), false_positive_rate=0.05) for i in range(100)
    ]
    for values in ([each.nearer.p for each in found], [each.relative.p for each in found]):
        gaps = np.sort(values) - (np.arange(100) + 0.5) / 100
        assert np.abs(gaps).max() < 1.63 / 100**0.5, "Kolmogorov and Smirnov, at 1 %"
    assert np.mean([each.suspects_p <= 0.1 for each in found]) < 0.1 + 3 * (0.09 / 100) ** 0.5
    # four of 81 places: the expected share of suspects; its variance is that of a beta-binomial number
    share, variance = 4 / 81, 4 / 81 * 77 / 81 * (1 / 82 + 1 / 60)
    assert abs(np.mean([len(each.suspects) for each in found]) / 60 - share) < 3 * (variance / 100) ** 0.5


def test_the_number_of_suspects_has_its_exact_distribution():
    """Against all ways to deal out the ranks of 4 samples and 5 held-out examples."""
    ways = list(itertools.combinations(range(9), 4))
    for place in (1, 2, 5):
        for num in range(5):
            many = sum(
                sum(rank < [r for r in range(9) if r not in way][place - 1] for rank in way) >= num for way in ways
            )
            assert abs(_tail(num, 4, 5, place) - many / len(ways)) < 1e-12


@pytest.mark.parametrize(("scale", "least"), [(0.0, 1.0), (0.05, 0.99), (0.2, 0.95), (0.5, 0.6)])
def test_planted_copies_are_told_from_held_out_data(scale, least):
    found = audit(disturbed(200, scale), HELD_OUT, TRAIN)
    assert found.relative.auc >= least
    assert found.relative.auc > found.nearer.auc - 0.01, "in data of varying density relative distances tell more"
    assert has_copies(found)
    assert str(tell_copies(found).findings[1]).startswith("Copies (samples ")


def test_a_few_copies_among_many_samples_are_found_with_their_originals():
    copies = disturbed(20, 0.02)
    found = audit(np.concatenate([FRESH, copies]), HELD_OUT, TRAIN)
    assert abs(found.relative.z) < 3, "they are too few for the mean rank"
    assert found.suspects_p < 1e-4
    assert has_copies(found)
    pairs = {(each.sample, each.example) for each in found.suspects}
    assert pairs >= {(300 + i, i) for i in range(20)}
    assert len(pairs) <= 20 + 12
    assert [each.relative for each in found.suspects] == sorted(each.relative for each in found.suspects)


def test_identical_copies_are_counted():
    found = audit(np.concatenate([FRESH, TRAIN[5:10]]), HELD_OUT, TRAIN)
    assert found.num_identical == 5
    assert {(each.sample, each.example) for each in found.suspects[:5]} == {(300 + i, 5 + i) for i in range(5)}
    assert has_copies(found)


def test_samples_that_vary_less_are_near_but_no_copies():
    """Draws pulled towards the middle are nearer to the training data than held-out data, but to none in particular."""
    middle = np.where(FRESH.mean(axis=1, keepdims=True) > 2, 5.0, 0.0)
    found = audit(middle + 0.5 * (FRESH - middle), HELD_OUT, TRAIN)
    assert found.nearer.z > 3
    assert not has_copies(found)
    assert str(tell_copies(found).findings[0]).startswith("Samples are nearer to")
    assert str(tell_copies(found).findings[1]).startswith("No copies, but too near")


def test_duplicates_between_the_splits_are_no_copies():
    held_out = np.concatenate([HELD_OUT[:270], TRAIN[:30]])
    samples = np.concatenate([FRESH[:270], TRAIN[30:60]])
    found = audit(samples, held_out, TRAIN)
    assert (found.num_identical, found.num_identical_held_out) == (30, 30)
    assert not has_copies(found)


def test_copies_of_examples_that_are_there_many_times_are_found():
    """The first of the equal ones is named."""
    often = np.concatenate([TRAIN, np.repeat(TRAIN[:20], 10, axis=0)])
    copies = disturbed(20, 0.02)
    found = audit(np.concatenate([FRESH, copies]), HELD_OUT, often)
    assert {(each.sample, each.example) for each in found.suspects} >= {(300 + i, i) for i in range(20)}


def test_features_replace_the_entries():
    """A feature that turns a disguise off finds what entries do not."""
    signs = np.random.default_rng(4).choice([-1.0, 1.0], (200, 6))
    disguised = signs * TRAIN[:200]
    assert audit(disguised, HELD_OUT, TRAIN).num_identical < 20
    assert not audit(disguised, HELD_OUT, TRAIN).relative.auc > 0.6
    found = audit(
        *(torch.from_numpy(each) for each in (disguised, HELD_OUT, TRAIN)), features=lambda x: x.abs().numpy()
    )
    assert found.relative.auc > 0.99
    assert {each.example for each in found.suspects} == set(range(200))


def test_shapes_and_types_do_not_matter():
    images = [np.round(20 * each).astype(np.int16) for each in (FRESH, HELD_OUT, TRAIN)]
    flat, shaped = audit(*images), audit(*(each.reshape(-1, 1, 2, 3) for each in images))
    assert flat == shaped == audit(*(torch.from_numpy(each).double() for each in images))


def test_it_is_kept_as_json():
    found = audit(np.concatenate([FRESH, TRAIN[5:10]]), HELD_OUT, TRAIN)
    assert read(CopyAudit, json.loads(to_json(found)), "copies") == found
    (table,) = tell_copies(found).tables
    assert len(table.rows) == 5


REFUSED = {
    "few samples": (lambda: audit(FRESH[:10], HELD_OUT, TRAIN), "10 samples: an audit compares at least 20"),
    "few held out": (lambda: audit(FRESH, HELD_OUT[:19], TRAIN), "19 held-out examples"),
    "few for the rate": (
        lambda: audit(FRESH, HELD_OUT[:50], TRAIN, false_positive_rate=0.01),
        "0.01 with 50 held-out examples: these can set rates from 0.02",
    ),
    "no rate": (lambda: audit(FRESH, HELD_OUT, TRAIN, false_positive_rate=1.0), "below 1"),
    "few training": (lambda: audit(FRESH, HELD_OUT, np.repeat(TRAIN[:2], 9, axis=0)), "2 different training examples"),
    "no neighbourhood": (lambda: audit(FRESH, HELD_OUT, TRAIN, num_neighbours=1), "at least 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    call, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        call()
