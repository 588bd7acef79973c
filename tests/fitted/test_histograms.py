"""Kinds of examples by their histograms of levels, against Bayes's rule entry by entry."""

import math

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.errors import InputError
from lowerbound.fitted import FittedHistograms, histograms
from lowerbound.levels import MOST_COUNTED
from lowerbound.training.histograms import FOR_EACH_KIND, fit_histograms

NUM_LEVELS = 40
EMPTY = 7


def drawn(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def fitted(num_kinds=3, num_channels=2, num_used=3):
    """Kinds with chances at random, a third of all entries empty."""
    weights, chances = drawn(num_used), drawn(num_used, num_channels, NUM_LEVELS) ** 4
    common = torch.zeros(num_channels, NUM_LEVELS, dtype=torch.float64)
    common[:, EMPTY], chances[:, :, EMPTY] = 1 / 3, 0
    chances = 2 / 3 * chances / chances.sum(2, keepdim=True)
    return FittedHistograms(num_kinds, num_channels, NUM_LEVELS).fit(weights / weights.sum(), common, chances)


@pytest.mark.parametrize("width", [0.0, 0.7, 6.0, torch.tensor([0.1, 1.0, 5.0, 30.0], dtype=torch.float64)])
def test_chances_of_kinds_are_by_bayes_rule(width):
    fit, position = fitted(), (drawn(4, 2, 9) * NUM_LEVELS).floor()
    variance = (torch.as_tensor(width, dtype=torch.float64) ** 2 + 1 / 6).expand(4)
    log_joint = fit.weights.log().repeat(4, 1)
    for example in range(4):
        for kind in range(3):
            for channel, entries in enumerate(position[example]):
                chances = fit.common[channel] + fit.chances[kind, channel]
                for entry in entries:
                    apart = (torch.arange(NUM_LEVELS) - entry) ** 2
                    normal = torch.exp(-apart / (2 * variance[example])) / (2 * math.pi * variance[example]).sqrt()
                    log_joint[example, kind] += ((chances * normal).sum() + 1e-7).log()
    torch.testing.assert_close(fit.kinds(position, width), log_joint.softmax(1), atol=1e-9, rtol=1e-9)


def test_matrices_of_noise_are_made_part_by_part(monkeypatch):
    fit, position, width = fitted(), drawn(4, 2, 9) * NUM_LEVELS, torch.tensor([0.1, 1.0, 5.0, 30.0])
    whole = fit.kinds(position, width)
    monkeypatch.setattr(histograms, "_AT_A_TIME", 1)
    assert fit.kinds(position, width).equal(whole)


def test_kinds_that_were_not_found_have_no_chance():
    fit, position = fitted(), drawn(4, 2, 9) * NUM_LEVELS
    wider = fitted(num_kinds=5)
    torch.testing.assert_close(wider.kinds(position, 2.0)[:, :3], fit.kinds(position, 2.0))
    assert wider.kinds(position, 2.0)[:, 3:].abs().max() == 0


def test_before_a_fit_there_is_one_kind():
    kinds = FittedHistograms(4, 1, NUM_LEVELS).kinds(drawn(2, 1, 9) * NUM_LEVELS, 3.0)
    assert kinds.tolist() == [[1, 0, 0, 0]] * 2


def test_what_is_missing_does_not_count():
    fit, position = fitted(), drawn(1, 2, 9) * NUM_LEVELS
    counted = torch.arange(9).expand(1, 2, 9) < 6
    elsewhere = torch.where(counted, position, 3.0)
    torch.testing.assert_close(fit.kinds(elsewhere, 1.0, counted), fit.kinds(position[..., :6], 1.0))
    assert not torch.allclose(fit.kinds(elsewhere, 1.0), fit.kinds(position, 1.0))


def test_levels_are_those_of_the_kinds_by_their_chances():
    fit = fitted()
    torch.testing.assert_close(
        fit.levels(torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]).double()),
        torch.stack([fit.chances[1], (fit.chances[0] + fit.chances[2]) / 2]),
    )


def test_chances_do_not_jump_and_their_slope_is_told():
    """For the divergence of the probability flow: entries are counted in parts."""
    fit = fitted()
    position = drawn(1, 2, 9) * 20 + 8
    steps = torch.linspace(0, 2, 4001, dtype=torch.float64)
    moved = position.repeat(len(steps), 1, 1)
    moved[:, 0, 0] += steps
    moved.requires_grad_(True)
    chance = fit.kinds(moved, 2.0)[:, 0]
    (slope,) = torch.autograd.grad(chance.sum(), moved)
    told = slope[:, 0, 0]
    assert (chance[1:] - chance[:-1]).abs().max() < 0.01
    risen = (told[1:] + told[:-1]).sum() / 2 * steps[1]
    torch.testing.assert_close(risen, (chance[-1] - chance[0]).detach(), atol=1e-3, rtol=0.02)


@pytest.mark.parametrize(("num_kinds", "num_levels"), [(0, 16), (1, 1), (1, MOST_COUNTED + 1)])
def test_impossible_kinds_are_refused(num_kinds, num_levels):
    with pytest.raises(InputError, match=f"{num_levels if num_kinds else num_kinds} "):
        FittedHistograms(num_kinds, 1, num_levels)


def lattices(num):
    """Images with multiples of 5 or of 7 among empty entries, and which."""
    rng = np.random.default_rng(0)
    of_seven = rng.integers(0, 2, num)
    steps = np.where(of_seven, 7, 5)[:, None, None]
    images = rng.integers(1, 25, (num, 12, 12)) * steps
    images[rng.random(images.shape) < 0.5] = 0
    return images.astype(np.uint8), of_seven


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("lattices") / "images.npy"
    np.save(path, lattices(1000)[0])
    return lb.open_dataset(str(path), num_levels=200)


def test_kinds_are_found_and_told_under_noise_as_wide_as_their_lattice(dataset):
    found = fit_histograms(dataset, 2)
    fit = FittedHistograms(2, 1, 200).fit(*found)
    assert fit.weights.tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    assert fit.common.argmax() == 0
    assert fit.common.sum() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(fit.common.sum(1) + fit.chances.sum(2), torch.ones(2, 1).double())
    sevens = fit.chances[:, 0, 7].argmax()
    images, of_seven = lattices(200)
    position = torch.from_numpy(images.astype(np.float64)).flatten(1)[:, None]
    for width, share in ((0.5, 1.0), (2.0, 0.99)):
        noisy = position + width * lb.Stream(0).normal(position)
        is_seven = fit.kinds(noisy, width).argmax(1) == sevens
        assert (is_seven == torch.from_numpy(of_seven).bool()).double().mean() >= share


def test_few_examples_have_few_kinds(dataset):
    assert len(fit_histograms(dataset, 64).weights) == len(dataset.train) // FOR_EACH_KIND
