"""A classifier of the real digits clears real digits and finds lost classes and noise."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from lowerbound.errors import InputError
from lowerbound.evaluate import classes as module
from lowerbound.evaluate.classes import Classes, classes


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    bundled = load_digits()
    order = np.random.default_rng(0).permutation(len(bundled.data))
    return bundled.data[order].astype(np.int64), bundled.target[order].astype(np.int64)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "CLASSIFIER_UPDATES", 400)


def judge(samples: np.ndarray, digits: tuple[np.ndarray, np.ndarray]) -> Classes:
    images, labels = digits
    return classes(samples, images[:1_000], labels[:1_000], images[1_000:1_300], labels[1_000:1_300])


def test_real_digits_are_cleared(digits):
    found = judge(digits[0][1_300:], digits)
    assert found.accuracy > 0.95
    assert abs(found.ratio - 1) < 3 * found.ratio_error
    assert sum(found.shares_samples) == pytest.approx(1)
    assert [text.split(":")[0] for text in found.findings()] == [
        "Samples are recognisable",
        "Every class occurs about as often as in the training data",
    ]


def test_a_lost_class_is_found(digits):
    images, labels = digits[0][1_300:], digits[1][1_300:]
    found = judge(images[labels != 3], digits)
    assert found.shares_samples[3] < 0.03
    assert "3 " in found.findings()[1]
    assert "Collapse or imbalance" in found.findings()[1]


def test_noise_is_not_recognised(digits):
    noise = np.random.default_rng(1).integers(0, 17, size=(300, 64))
    assert "belong to no class clearly" in judge(noise, digits).findings()[0]


def test_labels_with_gaps_keep_their_names(digits):
    images, labels = digits
    chosen = np.isin(labels, [2, 7])
    names = tuple(f"digit {label}" for label in range(10))
    found = classes(images[chosen], images[chosen], labels[chosen], images[chosen], labels[chosen], class_names=names)
    assert found.accuracy > 0.99
    assert found.shares_samples[2] + found.shares_samples[7] == pytest.approx(1)


def test_one_class_is_refused(digits):
    images = digits[0][:50]
    with pytest.raises(InputError, match="at least two"):
        classes(images, images, np.zeros(50, dtype=np.int64), images, np.zeros(50, dtype=np.int64))
