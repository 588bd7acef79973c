"""Times drawn where the loss is large: unbiased weights, the best density, its evenly spread draws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import double

from lowerbound.errors import InputError
from lowerbound.times import ImportanceTimes

NUM_PARTS = 8


def spread(num_places, dtype=torch.float64):
    return (torch.arange(num_places, dtype=dtype) + 0.5) / num_places


def centres(num_parts=NUM_PARTS):
    return spread(num_parts)


def taught(losses, times=12):
    """Shown one loss in each part, a dozen times."""
    importance = ImportanceTimes(len(losses))
    for _ in range(times):
        importance.update(centres(len(losses)), double(losses))
    return importance


LOSSES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20)


@settings(max_examples=20, deadline=None)
@given(losses=LOSSES)
def test_weights_make_the_mean_unbiased(losses):
    r"""$E_p[f / p] = \int f$, for f = 1 and f = t^2, by places spread finely."""
    times, weights = taught(losses)(spread(200_000))
    # what remains is a grid's error at the parts' borders, where weights jump
    assert weights.mean().item() == pytest.approx(1, abs=0.01)
    assert (weights * times**2).mean().item() == pytest.approx(1 / 3, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(losses=LOSSES)
def test_the_density_follows_the_root_of_the_second_moment(losses):
    """But for the hundredth that stays uniform."""
    importance = taught(losses)
    expected = 0.01 + 0.99 * np.array(losses) / np.mean(losses)
    np.testing.assert_allclose(importance.density().numpy(), expected, rtol=1e-9)
    assert importance.density().mean().item() == pytest.approx(1)


def test_the_running_mean_forgets_with_each_loss():
    """Losses one at a time, by the recursion; several at once count as as many of their mean square."""
    losses = [3.0, 1.0, 4.0, 1.0, 5.0]
    one_by_one, moment = ImportanceTimes(1), losses[0] ** 2
    for number, value in enumerate(losses):
        one_by_one.update(double([0.5]), double([value]))
        if number:
            moment = 0.9 * moment + 0.1 * value**2
        assert one_by_one.second_moment.item() == pytest.approx(moment)
    at_once = ImportanceTimes(1)
    at_once.update(double([0.5]), double([3.0]))
    at_once.update(spread(4), double(losses[1:]))
    expected = 0.9**4 * 9 + (1 - 0.9**4) * (1 + 16 + 1 + 25) / 4
    assert at_once.second_moment.item() == pytest.approx(expected)
    assert at_once.num_seen.item() == one_by_one.num_seen.item() == 5


def test_parts_that_saw_nothing_keep_what_they_know():
    importance = taught([1.0, 2.0, 3.0])
    importance.update(double([0.1, 0.2]), double([50.0, 50.0]))
    torch.testing.assert_close(importance.second_moment[1:], double([4.0, 9.0]))
    assert importance.num_seen.tolist() == [14, 12, 12]


def test_times_are_the_places_until_every_part_was_seen_ten_times():
    importance, places = ImportanceTimes(NUM_PARTS), spread(50)
    losses = torch.exp(3 * centres())
    for _ in range(9):
        importance.update(centres(), losses)
    importance.update(centres()[1:], losses[1:])
    times, weights = importance(places)
    torch.testing.assert_close(times, places)
    assert (weights == 1).all()
    importance.update(centres()[:1], losses[:1])
    times, weights = importance(places)
    assert (times - places).abs().max() > 0.1
    assert (weights != 1).all()


@pytest.mark.parametrize("num_places", [8, 64, 1000])
def test_evenly_spread_places_stay_evenly_spread(num_places):
    """Of any offset, each part holds its share of the times, up to one; parts of equal mass hold the same number."""
    importance = taught([1.0, 10.0, 0.5, 2.0, 2.0, 30.0, 1.0, 0.1])
    for offset in (0.0, 0.3, 0.999):
        times, weights = importance((torch.arange(num_places, dtype=torch.float64) + offset) / num_places)
        assert (times.diff() > 0).all()
        counts = torch.bincount((times * NUM_PARTS).long(), minlength=NUM_PARTS)
        share = importance.density() / NUM_PARTS
        assert ((counts - num_places * share).abs() <= 1 + 1e-9).all()
        torch.testing.assert_close(weights, 1 / importance.density()[(times * NUM_PARTS).long()])
    equal = taught([3.0] * NUM_PARTS)
    times, _ = equal(spread(NUM_PARTS))
    assert (times * NUM_PARTS).long().tolist() == list(range(NUM_PARTS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_times_are_places_themselves(dtype):
    """In [0, 1), of the places' type, whatever rounding does at the ends and at the parts' borders."""
    edge = torch.tensor([0.0, 1e-30, 0.5, 1 - torch.finfo(dtype).eps / 2], dtype=dtype)
    for importance in (
        ImportanceTimes(),
        taught([1.0] * 10),
        taught([1e-6, 1.0, 1e6]),
        taught([1e6, 1.0, 1e-6]),
        taught([7.0]),
    ):
        times, weights = importance(torch.cat([edge, spread(1000, dtype)]))
        assert times.dtype == weights.dtype == dtype
        assert times.min() >= 0
        assert times.max() < 1
        assert times[0] == 0
        assert (weights > 0).all()
        assert weights.isfinite().all()


def test_the_variance_falls_to_nearly_the_best():
    """A loss that grows steeply: of many parts the best density is its root mean square, and no draw varies at all."""

    def loss(t):
        return 1 / (t + 0.01)

    exact, importance = math.log(101), ImportanceTimes(64)
    for _ in range(20):
        importance.update(spread(6400), loss(spread(6400)))
    times, weights = importance(spread(100_000))
    uniform, ours = loss(spread(100_000)), weights * loss(times)
    assert uniform.mean().item() == pytest.approx(exact, rel=1e-4)
    assert ours.mean().item() == pytest.approx(exact, rel=1e-3)
    assert uniform.var() > 50
    assert ours.var() < 0.02 * uniform.var()


def test_a_saved_state_goes_on():
    first, second = taught([1.0, 5.0, 2.0]), ImportanceTimes(3)
    second.load_state_dict(first.state_dict())
    for importance in (first, second):
        importance.update(double([0.1, 0.9]), double([4.0, 2.0]))
    for ours, theirs in zip(first(spread(20)), second(spread(20)), strict=True):
        assert torch.equal(ours, theirs)
    assert not list(first.parameters())


@settings(max_examples=20, deadline=None)
@given(losses=LOSSES.filter(lambda losses: len(losses) > 1), split=st.floats(0.1, 0.9), share=st.floats(0.1, 0.9))
def test_each_side_of_a_split_has_its_share(losses, split, share):
    """Of evenly spread places, whatever the losses; the mean is unbiased as before."""
    importance = ImportanceTimes(len(losses), split, share)
    middles = importance.widths.cumsum(0) - importance.widths / 2
    for taught_yet in range(2):
        times, weights = importance(spread(200_000))
        assert (times >= split).double().mean().item() == pytest.approx(share, abs=1e-4)
        assert weights.mean().item() == pytest.approx(1, abs=0.01)
        assert (weights * times**2).mean().item() == pytest.approx(1 / 3, abs=0.01)
        if not taught_yet:
            for _ in range(12):
                importance.update(middles, double(losses))
            assert int(importance.num_seen.min()) == 12


def test_within_each_side_times_follow_the_losses():
    importance = ImportanceTimes(4, 0.2, 0.5)
    for _ in range(12):
        importance.update(double([0.05, 0.15, 0.4, 0.8]), double([1.0, 3.0, 6.0, 2.0]))
    mass = importance.density() * double([0.1, 0.1, 0.4, 0.4])
    assert mass.tolist() == pytest.approx([0.5 * 0.2525, 0.5 * 0.7475, 0.5 * 0.7475, 0.5 * 0.2525], abs=0.003)


@pytest.mark.parametrize(("split", "share"), [(0.0, 0.5), (0.5, 0.0), (1.0, 0.5), (0.5, 1.0)])
def test_an_impossible_split_is_refused(split, share):
    with pytest.raises(InputError, match="give a time and a share between 0 and 1"):
        ImportanceTimes(8, split, share)
