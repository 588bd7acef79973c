"""Bundled data are what they say, the same every time."""

import math

import numpy as np
import pytest

from lowerbound.data import Affine, Levels, mixture_parameters, open_dataset
from lowerbound.data.source import NAMED

BUNDLED = sorted(set(NAMED) - {"mnist", "binary-mnist"})


@pytest.fixture(scope="module", params=BUNDLED)
def dataset(request):
    return open_dataset(request.param)


def test_bundled_data_are_the_same_every_time(dataset):
    assert dataset.fingerprint() == open_dataset(dataset.spec.name).fingerprint()
    assert np.isfinite(dataset.encoded(dataset.train).numpy()).all()
    if dataset.labels is not None:
        assert set(dataset.labels) == set(range(len(dataset.spec.class_names)))


def test_digits_have_17_levels():
    digits = open_dataset("digits")
    assert digits.examples.shape == (1797, 1, 8, 8)
    assert digits.spec.encoding == Levels(17, 0, "uint8")
    assert np.unique(digits.examples).tolist() == list(range(17))


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits, (values, labels) = open_dataset("digits"), load_digits(return_X_y=True)
    np.testing.assert_array_equal(digits.examples.reshape(len(values), -1), values)
    np.testing.assert_array_equal(digits.labels, labels)


def test_the_checkerboard_is_uniform_on_its_dark_fields():
    points = open_dataset("checkerboard").examples
    fields = np.floor(points).astype(int) + 2
    assert fields.min() == 0
    assert fields.max() == 3
    assert (fields.sum(1) % 2 == 0).all()
    counts = np.unique(fields, axis=0, return_counts=True)[1]
    assert len(counts) == 8
    # five standard errors of a count
    assert np.abs(counts - len(points) / 8).max() < 5 * math.sqrt(len(points) / 8 * 7 / 8)


def test_the_mixture_has_its_parameters():
    mixture = open_dataset("mixture")
    assert isinstance(mixture.spec.encoding, Affine)
    weights, means, covariances = mixture_parameters()
    for k, (weight, mean, covariance) in enumerate(zip(weights, means, covariances, strict=True)):
        points = mixture.examples[mixture.labels == k]
        error = 5 / math.sqrt(len(points))
        assert abs(len(points) / len(mixture.examples) - weight) < 5 * math.sqrt(0.25 / len(mixture.examples))
        assert np.abs(points.mean(0) - mean).max() < error * math.sqrt(covariance.max())
        assert np.abs(np.cov(points.T) - covariance).max() < 2 * error * covariance.max()
