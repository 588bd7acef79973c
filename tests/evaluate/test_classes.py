"""What a classifier's probabilities say: real examples are cleared, lost classes and noise are found."""

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.evaluate.classes import Classes, classes

NAMES = tuple(f"digit {k}" for k in range(10))


def probabilities(labels: np.ndarray, sure: float = 0.95, seed: int = 0) -> np.ndarray:
    """Of a classifier that is right, and about as sure as `sure`."""
    spread = np.random.default_rng(seed).uniform(0.9, 1.0, len(labels))
    found = np.tile((1 - sure * spread)[:, None] / 9, (1, 10))
    found[np.arange(len(labels)), labels] = sure * spread
    return found


REAL = np.arange(300) % 10


def judge(on_samples: np.ndarray, held_out_labels: np.ndarray = REAL) -> Classes:
    return classes(on_samples, probabilities(REAL, seed=1), held_out_labels, REAL, NAMES)


def test_real_examples_are_cleared():
    found = judge(probabilities(np.arange(200) % 10))
    assert found.accuracy == 1
    assert abs(found.ratio - 1) < 3 * found.ratio_error
    assert sum(found.shares_samples) == pytest.approx(1)
    assert [text.split(":")[0] for text in found.findings()] == [
        "Samples are recognisable",
        "Every class occurs about as often as in the training data",
    ]


def test_a_lost_class_is_found():
    labels = np.arange(300) % 10
    found = judge(probabilities(labels[labels != 3]))
    assert found.shares_samples[3] == 0
    assert "digit 3 0.0% instead of 10.0%" in found.findings()[1]
    assert "Collapse or imbalance" in found.findings()[1]


def test_noise_is_not_recognised():
    assert "belong to no class clearly" in judge(probabilities(REAL, sure=0.5)).findings()[0]


def test_accuracy_is_the_share_that_is_right():
    assert judge(probabilities(REAL), held_out_labels=np.where(REAL == 2, 5, REAL)).accuracy == pytest.approx(0.9)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(InputError, match="10 class names"):
        judge(probabilities(REAL)[:, :9])
