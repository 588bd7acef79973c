"""The audits of a likelihood that cost next to nothing, on figures and data that are there anyway.

What takes a density's integral or samples of its flow is asked by `lowerbound audit`.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from lowerbound.auditing.check import Check, Question
from lowerbound.auditing.draws import judged_tail
from lowerbound.auditing.function import RELATIVE
from lowerbound.auditing.integral import MOST_ERRORS
from lowerbound.auditing.truth import of_levels
from lowerbound.data import Dataset
from lowerbound.errors import InputError
from lowerbound.evaluate.likelihood import scored
from lowerbound.evaluate.part import Figures
from lowerbound.models import Effort
from lowerbound.run import Run
from lowerbound.scoring import score
from lowerbound.tails import FEWEST_DRAWS, MOST_RELIABLE
from lowerbound.words.counts import counted

SHARE = 50
"""One in so many examples is scored again: 2 % of what the likelihood takes."""
MOST_AGAIN, AT_ONCE = 32, 1000
MOST_COMPARED = 2_000_000
"""Entries of data that are looked at for values that repeat."""


@dataclass(frozen=True)
class Audited(Figures):
    """What was asked of the bits/dim and of the data that they are of."""

    checks: tuple[Check, ...]

    def __post_init__(self) -> None:
        if not self.checks:
            raise InputError("no check")


def cheap_audit(
    run: Run, dataset: Dataset, indices: np.ndarray, bits: np.ndarray, effort: Effort, *, seed: int = 0
) -> Audited:
    """The checks, on bits/dim as they were found.

    Arguments:
        run: the model.
        dataset: its data.
        indices: of the examples.
        bits: of each of them, per dimension.
        effort: that was spent on each.
        seed: of times and noise, as it was.
    """
    checks = [examples_tail(bits)]
    if again := min(len(indices) // SHARE, MOST_AGAIN):
        chosen = indices[:again][::-1]
        scores_again = score(
            run, dataset.examples[chosen], effort, **scored(run, dataset, chosen, seed), batch_size=again
        )
        checks.append(batches_again(bits[:again], scores_again.bits_per_dim[::-1]))
    if dataset.spec.num_levels is None and dataset.spec.blocks is None and not dataset.spec.has_missing:
        test = dataset.examples[indices[: max(FEWEST_DRAWS, MOST_COMPARED // dataset.spec.num_dims)]]
        checks.append(of_levels(np.asarray(test).reshape(len(test), -1)))
    checks.append(apart_as_expected(_keys(dataset, dataset.train), _keys(dataset, indices)))
    return Audited(tuple(checks))


def examples_tail(bits: np.ndarray) -> Check:
    """Whether the mean over examples has an error."""
    claim = "the bits of examples have a variance, so that their mean has an error"
    question = Question("tail of the examples' bits", claim)
    if len(bits) < FEWEST_DRAWS:
        remedy = f"evaluate {FEWEST_DRAWS} examples or more"
        return question.untold(f"{len(bits)} examples have no tail to judge", remedy)
    remedy = (
        f"above {MOST_RELIABLE} a few examples make the mean, which then has no error: look at those with most bits"
    )
    return judged_tail(question, bits, "examples", remedy)


def batches_again(bits: np.ndarray, again: np.ndarray) -> Check:
    """Whether examples have the same bits in another batch and order: their noise is their own."""
    question = Question("batches", "the bits of an example do not depend on the examples beside it")
    change = np.abs(again - bits) / np.maximum(1, np.abs(bits))
    worst = float(change.max())
    seen = f"bits/dim of {counted(len(bits), 'example')} change by up to {worst:.2g} in another batch and order"
    remedy = "statistics of a batch, or draws that all examples share, enter the likelihood"
    return question.judged(worst <= RELATIVE, seen, remedy, worst, RELATIVE)


def apart_as_expected(train: list[int], test: list[int]) -> Check:
    """Whether more test examples are in the training data than training examples are there twice.

    Arguments:
        train, test: a number of each example, the same for the same content.
    """
    question = Question("test data apart from training data", "no more examples are in both than occur twice by chance")
    times = Counter(train)
    both = sum(number in times for number in test)
    # as likely has a further one a twin (Good 1953)
    repeated = 1 - sum(num == 1 for num in times.values()) / len(train)
    expected = repeated * len(test)
    # where none leaked; twins in training come in pairs
    error = math.sqrt(expected + both * 2 * len(test) / len(train))
    seen = f"{both} of {len(test):,} test examples are in the training data, where {expected:.1f} are expected"
    remedy = "the bits of examples that were trained on are too few: leave these out"
    return question.judged(both <= expected + MOST_ERRORS * error + 1, seen, remedy, both)


def _keys(dataset: Dataset, indices: np.ndarray) -> list[int]:
    """A number of each example's content; few are in memory at a time."""
    return [
        hash(example.tobytes())
        for part in np.array_split(indices, max(1, len(indices) // AT_ONCE))
        for example in np.ascontiguousarray(dataset.examples[part])
    ]
