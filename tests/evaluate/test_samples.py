"""Planted copies and planted collapse are found; fresh draws of the data are cleared."""

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.evaluate.copies import neighbours
from lowerbound.report.distances import tell_neighbours


def draw(num: int, seed: int) -> np.ndarray:
    """Images of two blobs as levels 0 .. 15."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(-1, 2)
    centres = rng.uniform(1, 6, size=(num, 2, 1, 2))
    brightness = np.exp(-((grid - centres) ** 2).sum(axis=-1) / 3).sum(axis=1)
    return np.clip(np.round(14 * brightness + rng.normal(0, 0.5, size=brightness.shape)), 0, 15).astype(np.int64)


TRAIN, HELD_OUT, FRESH = draw(1_000, 0), draw(200, 1), draw(300, 2)


def findings(samples: np.ndarray) -> str:
    return " ".join(map(str, tell_neighbours(neighbours(samples, HELD_OUT, TRAIN)).findings))


def test_fresh_draws_are_cleared():
    found = findings(FRESH)
    assert "Not told apart from held-out data by the distance to training data" in found
    assert "No sign of copies" in found
    assert "No sign of collapse" in found


def test_disturbed_copies_are_found():
    rng = np.random.default_rng(3)
    copies = np.where(rng.random((200, 64)) < 0.2, np.abs(TRAIN[:200] - 1), TRAIN[:200])
    found = findings(copies)
    assert "Samples are nearer to the training data" in found
    assert "Copies (samples " in found


def test_collapse_is_found():
    rng = np.random.default_rng(4)
    few = FRESH[:5][rng.integers(5, size=200)]
    assert "Collapse: " in findings(np.clip(few + (rng.random((200, 64)) < 0.1), 0, 15))


def test_noise_is_far_from_the_data():
    noise = np.random.default_rng(5).integers(0, 16, size=(200, 64))
    assert "Samples are farther from the training data" in findings(noise)


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match="at least 20"):
        neighbours(FRESH[:10], HELD_OUT, TRAIN)
