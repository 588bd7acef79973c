"""Samples of vectors beside data: what is of one distribution is not told apart, and each fault is found where it is."""

import json

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.evaluate.columns import Columns, _distances, columns, commonest_categories, with_categories
from lowerbound.evaluate.folder import KINDS
from lowerbound.files.records import read, to_json
from lowerbound.report.description import Severity
from lowerbound.report.parts import description

COVARIANCE = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])


def draw(num: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(np.zeros(3), COVARIANCE, num)


TEST, TRAIN, NAMES = draw(400, 1), draw(800, 2), ("width", "height", "speed")


@pytest.fixture(scope="module", autouse=True)
def as_many_as_for_users():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowerbound.evaluate.columns.NUM_SPLITS", 20)
        patch.setattr("lowerbound.evaluate.columns.NUM_TREES", 100)
        yield


@pytest.fixture(scope="module")
def right() -> Columns:
    return columns(draw(400, 3), TEST, TRAIN, NAMES)


def test_right_samples_are_not_told_apart(right):
    assert abs(right.told_apart.z) < 2.5
    assert [finding.severity for finding in description(right).findings] == [Severity.FINE] * 2
    for ours, theirs in zip(right.distances, right.chance, strict=True):
        assert abs(ours.value - theirs.value) < 4 * (ours.error**2 + theirs.error**2) ** 0.5
    assert right.correlations is not None
    assert right.utility is not None
    assert right.correlations.value < 0.1
    assert right.utility.value == pytest.approx(1, abs=0.1)


def test_a_shifted_column_is_named():
    found = columns(draw(400, 3) + np.array([0.0, 0.0, 0.7]), TEST, TRAIN, NAMES)
    assert found.worst == 2
    assert found.distances[2].value == pytest.approx(0.7, abs=0.15)
    told = description(found).findings
    assert told[0].severity is Severity.SERIOUS
    assert "speed is 0." in told[0].text
    assert "Told apart" in told[1].text


def test_columns_that_no_longer_belong_together_are_found_by_all_but_the_marginals(right):
    rng = np.random.default_rng(4)
    found = columns(rng.permuted(draw(400, 3), axis=0), TEST, TRAIN, NAMES)
    assert found.distances[0].value < 0.2
    assert description(found).findings[0].severity is Severity.FINE
    assert found.correlations is not None
    assert right.correlations is not None
    assert found.utility is not None
    # one of the three pairs lost a rank correlation of about 0.79
    assert found.correlations.value == pytest.approx(0.79 / 3**0.5, abs=0.08)
    assert found.utility.value > 1.5
    assert found.told_apart.auc > 0.6


def test_a_single_column_has_no_pairs_and_is_kept_and_told():
    found = columns(draw(60, 3)[:, :1], TEST[:60, :1], TRAIN[:, :1], NAMES[:1])
    assert found.correlations is None
    assert read(KINDS["columns"], json.loads(to_json(found)), "here") == found
    assert len(description(found).tables[1].rows) == 1


def test_the_error_of_a_distance_is_its_spread_over_samples():
    distances = [_distances(draw(100, seed)[:, :1] + 0.5, TEST[:, :1], 0)[0] for seed in range(10, 30)]
    spread = np.std([each.value for each in distances], ddof=1)
    assert 0.5 < np.mean([each.error for each in distances]) / spread < 2


def test_too_few_rows_and_too_many_columns_are_refused():
    with pytest.raises(InputError, match="19 samples, 400 test rows"):
        columns(draw(19, 0), TEST, TRAIN, NAMES)
    with pytest.raises(InputError, match="one to 64"):
        columns(*(np.zeros((30, 65)),) * 3, NAMES)


def test_categories_are_compared_by_their_shares_and_not_predicted_from_one_another(monkeypatch):
    """A column of three categories beside a number that gives them: shares that are wrong are found, and a lost link."""
    monkeypatch.setattr("lowerbound.evaluate.columns.NUM_TREES", 20)
    rng = np.random.default_rng(4)

    def rows(num: int, linked: bool, shares=(0.5, 0.3, 0.2)) -> np.ndarray:
        kind = rng.choice(3, num, p=shares)
        number = (kind if linked else rng.permutation(kind)) + 0.1 * rng.normal(size=num)
        return np.stack([number, kind], 1)

    train, test = rows(400, True), rows(300, True)
    kinds = [None, commonest_categories(train[:, 1])]
    assert list(kinds[1]) == [0, 1, 2]
    names, sources = ("number", "kind = a", "kind = b", "kind = c"), (0, 1, 1, 1)

    def compared(samples: np.ndarray) -> Columns:
        each = (with_categories(values, kinds) for values in (samples, test, train))
        return columns(*each, names, sources=sources)

    right, lost, wrong = (
        compared(rows(400, True)),
        compared(rows(400, False)),
        compared(rows(400, True, (0.2, 0.3, 0.5))),
    )
    assert right.utility.value < 2 < lost.utility.value  # of indicators beside one another it would be 1
    assert max(ours.value for ours in right.distances) < 0.12
    assert wrong.distances[1].value == pytest.approx(0.3, abs=0.06)


def test_of_two_categories_one_column_says_all():
    assert list(commonest_categories(np.array([0.0, 1.0, 1.0]))) == [1.0]
    assert list(commonest_categories(np.repeat(np.arange(10.0), range(1, 11)))) == [9, 8, 7, 6, 5, 4, 3, 2]
