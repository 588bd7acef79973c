"""What a classifier's probabilities say: real examples are cleared, lost classes and noise are found."""

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.evaluate.classes import Classes, chance, classes
from lowerbound.report.classes import tell_classes
from lowerbound.report.description import Finding, Severity

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


def findings(found: Classes) -> tuple[Finding, ...]:
    return tell_classes(found).findings


def test_real_examples_are_cleared():
    found = judge(probabilities(np.arange(200) % 10))
    assert found.accuracy == 1
    assert abs(found.ratio - 1) < 3 * found.ratio_error
    assert sum(found.shares_samples) == pytest.approx(1)
    assert [finding.text.split(":")[0] for finding in findings(found)] == [
        "Samples are as recognisable as held-out data, as far as can be told",
        "Classes are as frequent as chance allows",
    ]
    assert {finding.severity for finding in findings(found)} == {Severity.FINE}


def test_a_lost_class_is_found():
    labels = np.arange(300) % 10
    found = judge(probabilities(labels[labels != 3]))
    assert found.shares_samples[3] == 0
    assert "digit 3 0.0% instead of 10.0%" in str(findings(found)[1])
    assert str(findings(found)[1]).startswith("Collapse or imbalance")
    assert findings(found)[1].severity is Severity.SERIOUS


def test_noise_is_not_recognised():
    assert "belong to no class clearly" in str(findings(judge(probabilities(REAL, sure=0.5)))[0])


def test_samples_that_are_a_little_less_recognisable_are_told_so():
    found = findings(judge(probabilities(REAL, sure=0.9)))[0]
    assert found.text.startswith("Samples are less recognisable than held-out data")
    assert found.severity is Severity.CHANGE


def test_shares_of_2_to_17_percent_are_not_about_as_often():
    """Of 500 samples; of 40, chance alone may do it."""
    shares = np.array([0.02, 0.17, 0.06, 0.14, 0.1, 0.1, 0.08, 0.12, 0.09, 0.12])
    labels = np.repeat(np.arange(10), np.rint(500 * shares).astype(int))
    found = findings(judge(probabilities(labels)))[1]
    assert found.severity is Severity.SERIOUS, "a class with a fifth of its share is as good as lost"
    assert "digit 0 2.0% instead of 10.0%" in found.text
    few = judge(probabilities(np.repeat(np.arange(10), [1, 7, 2, 6, 4, 4, 3, 5, 3, 5])))
    assert findings(few)[1].severity is Severity.FINE
    assert few.p > 0.3


def test_the_probability_under_chance_is_uniform():
    real = np.array([0.5, 0.3, 0.15, 0.05])
    rng = np.random.default_rng(0)
    found = np.sort([chance(rng.multinomial(60, real) / 60, real, 60, seed) for seed in range(200)])
    assert np.abs(found - (np.arange(200) + 0.5) / 200).max() < 1.63 / 200**0.5 + 0.02, "Kolmogorov and Smirnov, at 1 %"
    assert chance(np.array([0.9, 0.1]), np.array([1.0, 0.0]), 10) == 0, "a class that the data do not have"


def test_accuracy_is_the_share_that_is_right():
    assert judge(probabilities(REAL), held_out_labels=np.where(REAL == 2, 5, REAL)).accuracy == pytest.approx(0.9)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(InputError, match="10 class names"):
        judge(probabilities(REAL)[:, :9])
