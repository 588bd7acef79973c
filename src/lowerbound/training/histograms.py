"""Kinds of training examples by which levels they have, for the odds of a denoiser of discrete data."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lowerbound.data import Dataset
from lowerbound.levels import histogram, nearest_level, places

MOST_COUNTS = 2**25
"""Of all levels in all examples from which kinds are found."""
FOR_EACH_KIND = 100
"""Examples, at least."""
USUAL = 20
"""Entries of the usual levels that each kind has beside its own, so that no level is without a chance."""
ROUNDS = 40
"""Of expectation maximisation."""
RAREST_KIND = 1e-6
"""The share of examples that each kind has at least."""
PART = 2**22
"""Entries of examples that are counted at a time."""


class Histograms(NamedTuple):
    """Of kinds of examples, as `FittedHistograms.fit` takes them."""

    weights: Float[Tensor, "num_kinds"]
    common: Float[Tensor, "channels levels"]
    chances: Float[Tensor, "num_kinds channels levels"]


def fit_histograms(dataset: Dataset, num_kinds: int) -> Histograms:
    """A mixture of so many kinds or fewer, whose entries are independent, by expectation maximisation.

    The most frequent level of a channel, its background, tells nothing of an example but how much of it is empty, and is
    common to all kinds.

    Arguments:
        dataset: of discrete data.
        num_kinds: at most; fewer of few examples.
    """
    counts = _counts(dataset)
    num_examples, _, num_levels = counts.shape
    overall = counts.sum(0).double()
    background = functional.one_hot(overall.argmax(1), num_levels).bool()
    common = torch.where(background, overall / overall.sum(1, keepdim=True), 0)
    left = 1 - common.sum(1, keepdim=True)
    counts = counts.masked_fill(background, 0).flatten(1)
    usual = torch.where(background, 0, overall + 1)
    usual = USUAL * usual / usual.sum(1, keepdim=True)

    def chances_of(entries: Tensor) -> Tensor:
        """Of the levels of each channel by kinds' entries, which sum to what the background leaves."""
        of_kind = entries.unflatten(1, common.shape) + usual
        return left * of_kind / of_kind.sum(2, keepdim=True)

    size = min(num_kinds, max(1, num_examples // FOR_EACH_KIND))
    # it begins at as many examples, which come in a random order
    weights, chances = torch.full((size,), 1 / size), chances_of(counts[:size])
    for _ in range(ROUNDS):
        log_chances = torch.where(background, 1, chances).log().flatten(1)
        shares = (counts @ log_chances.T.to(counts) + weights.log()).softmax(1)
        weights = shares.mean(0).clamp(min=RAREST_KIND)
        chances = chances_of(shares.T @ counts)
    return Histograms((weights / weights.sum()).double(), common, chances)


def _counts(dataset: Dataset) -> Float[Tensor, "num_examples channels levels"]:
    """How many entries of each channel of some training examples are at each level."""
    num_levels, num_dims, shape = dataset.spec.num_levels, dataset.spec.num_dims, dataset.shape
    assert num_levels is not None
    num_channels = 1 if len(shape) == 1 else shape[0]
    indices = dataset.some("train", max(1, MOST_COUNTS // (num_channels * num_levels)))
    at_a_time, parts = max(1, PART // num_dims), []
    for first in range(0, len(indices), at_a_time):
        x = dataset.encoded(indices[first : first + at_a_time]).reshape(-1, num_channels, num_dims // num_channels)
        levels = places(nearest_level(x.nan_to_num(), num_levels), num_levels)
        parts.append(histogram(levels, num_levels, dataset.spec.observed(x)))
    return torch.cat(parts)
