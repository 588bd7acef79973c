"""Imputations are judged: scores against closed forms and a second implementation, coverage of draws that are right."""

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest

import lowerbound as lb
from lowerbound.errors import InputError
from lowerbound.evaluate.folder import KINDS
from lowerbound.evaluate.imputation import (
    INTERVALS,
    Imputed,
    crps,
    fillings,
    held_out_imputation,
    hide,
    judge,
    judge_categories,
)
from lowerbound.files.arrow import pc
from lowerbound.files.records import read, to_json
from lowerbound.report.parts import description

COVARIANCE = np.array([[1.0, 0.8, 0.5], [0.8, 1.0, 0.6], [0.5, 0.6, 1.0]])
K = 19


def draws_given_the_first(x: np.ndarray, rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    """Draws of the exact conditional of entries 1 and 2 given entry 0, or of one whose spread is another: (N, K, 3)."""
    gain = COVARIANCE[1:, 0]
    left = COVARIANCE[1:, 1:] - np.outer(gain, gain)
    drawn = np.repeat(x[:, None], K, 1)
    drawn[..., 1:] = x[:, :1, None] * gain + scale * rng.multivariate_normal(np.zeros(2), left, (len(x), K))
    return drawn


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).multivariate_normal(np.zeros(3), COVARIANCE, 4000)


@pytest.fixture(scope="module")
def hidden(rows):
    return np.broadcast_to([False, True, True], rows.shape)


def test_crps_is_the_one_of_another_implementation():
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(1)
    draws, truth = rng.normal(size=(50, 7, 3)), rng.normal(size=(50, 3))
    expected = scoringrules.crps_ensemble(truth, np.moveaxis(draws, 1, -1), estimator="fair")
    assert np.abs(crps(draws, truth) - expected).max() < 1e-12


def test_energy_is_the_one_of_another_implementation(rows, hidden):
    scoringrules = pytest.importorskip("scoringrules")
    draws = draws_given_the_first(rows[:300], np.random.default_rng(2))
    expected = scoringrules.es_ensemble(rows[:300, 1:], draws[..., 1:], estimator="fair").mean() / math.sqrt(2)
    assert judge(draws, rows[:300], hidden[:300]).energy.value == pytest.approx(expected, abs=1e-10)


def test_of_a_single_draw_crps_is_the_absolute_error():
    assert crps(np.full((1, 1, 2), 3.0), np.array([[1.0, 4.0]])).tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize("num_draws", [2, 5, 40])
def test_crps_of_a_right_ensemble_has_no_bias_for_its_number(num_draws):
    """Of a standard normal it is 1 / sqrt(pi)."""
    rng = np.random.default_rng(3)
    scores = crps(rng.normal(size=(20_000, num_draws, 1)), rng.normal(size=(20_000, 1)))
    assert abs(scores.mean() - 1 / math.sqrt(math.pi)) < 4 * scores.std() / math.sqrt(len(scores))


def test_the_exact_conditional_is_found_right(rows, hidden):
    found = judge(draws_given_the_first(rows, np.random.default_rng(4)), rows, hidden)
    deviations = np.sqrt([1 - 0.8**2, 1 - 0.5**2])
    assert abs(found.crps.value - deviations.mean() / math.sqrt(math.pi)) < 3 * found.crps.error
    for level, share in zip(INTERVALS, found.coverage, strict=True):
        assert abs(share.value - level) < 3 * share.error
        assert share.error < 0.02
    assert found.ranks == pytest.approx([0.2] * 5, abs=0.02)
    rms = math.sqrt((deviations**2).mean() * (1 + 1 / K))
    assert abs(found.skill.value - rms) < 3 * found.skill.error
    assert found.spread.value == pytest.approx(rms, abs=0.01)


@pytest.mark.parametrize(("scale", "side"), [(0.6, "too little"), (1.6, "too much")])
def test_a_wrong_spread_is_found(rows, hidden, scale, side):
    found = judge(draws_given_the_first(rows, np.random.default_rng(5), scale), rows, hidden)
    right = judge(draws_given_the_first(rows, np.random.default_rng(5)), rows, hidden)
    assert found.crps.value > right.crps.value
    assert (found.spread.value < found.skill.value) == (scale < 1)
    simple = fillings(rows, rows[:200], hidden[:200])
    text = " ".join(str(finding) for finding in description(Imputed(0.5, 4000, K, found, simple)).findings)
    assert f"Imputations spread {side}" in text


def test_simple_fillings_err_as_they_must(rows, hidden):
    mean, neighbours, regression = fillings(rows[1500:], rows[:1500], hidden[:1500])
    assert mean.root_mean_square_error.value == pytest.approx(1, abs=3 * mean.root_mean_square_error.error)
    best = math.sqrt(((1 - 0.8**2) + (1 - 0.5**2)) / 2)
    assert abs(regression.root_mean_square_error.value - best) < 3 * regression.root_mean_square_error.error
    assert best < neighbours.root_mean_square_error.value < mean.root_mean_square_error.value
    # of a normal error the mean absolute one is sqrt(2 / pi) of it
    assert mean.mean_absolute_error.value == pytest.approx(math.sqrt(2 / math.pi), abs=0.05)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_of_each_example_something_is_hidden_and_something_is_not(share):
    hidden = hide((4000, 10), share, 0)
    assert hidden.any(1).all()
    assert not hidden.all(1).any()
    assert hidden.mean() == pytest.approx(share, abs=0.04)


def test_values_that_equal_draws_take_any_of_their_places():
    """Rounded so that most draws are equal: the ranks of right draws are uniform all the same."""
    rng = np.random.default_rng(6)
    draws, truth = np.round(rng.normal(size=(5000, K, 1))), np.round(rng.normal(size=(5000, 1)))
    assert judge(draws, truth, np.ones((5000, 1), bool)).ranks == pytest.approx([0.2] * 5, abs=0.02)


def test_it_is_kept_and_told(rows, hidden):
    found = judge(draws_given_the_first(rows[:100], np.random.default_rng(7)), rows[:100], hidden[:100])
    imputed = Imputed(0.5, 100, K, found, fillings(rows, rows[:100], hidden[:100]))
    assert read(KINDS["imputation"], json.loads(to_json(imputed)), "here") == imputed
    told = description(imputed)
    assert [row[0] for row in told.tables[0].rows][:2] == ["the model", "mean"]
    assert "better than simple fillings" in str(told.findings[0])


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InputError, match="at least two draws"):
        judge(np.zeros((3, 1, 2)), np.zeros((3, 2)), np.ones((3, 2), bool))
    with pytest.raises(InputError, match="between 0 and 1"):
        hide((4, 3), 1.0, 0)


def test_of_what_is_missing_nothing_is_hidden():
    there = np.random.default_rng(8).random((500, 6)) < 0.4
    hidden = hide(there.shape, 0.5, 0, there)
    assert not (hidden & ~there).any()
    several = there.sum(1) > 1
    assert hidden[several].any(1).all()
    assert (there & ~hidden).any(1)[there.any(1)].all()


def test_categories_are_judged_as_their_probabilities_say():
    """Of right draws the score is half the chance that two draws differ, and no other shares have a better one."""
    rng = np.random.default_rng(9)
    shares, every = np.array([0.6, 0.3, 0.1]), np.ones((4000, 1), bool)
    truth = rng.choice(3, (4000, 1), p=shares).astype(float)
    right, wrong = (rng.choice(3, (4000, K, 1), p=p).astype(float) for p in (shares, [0.3, 0.6, 0.1]))
    found = judge_categories(right, truth, every, truth)
    best = (1 - (shares**2).sum()) / 2
    assert abs(found.score.value - best) < 4 * found.score.error
    assert abs(found.simple_score.value - best) < 4 * found.simple_score.error
    assert abs(found.simple_right.value - 0.6) < 4 * found.simple_right.error
    assert judge_categories(wrong, truth, every, truth).score.value > best + 0.03


def test_a_table_of_numbers_and_categories_with_gaps_is_judged(tmp_path, monkeypatch):
    """A column and a category that another column gives: the fitted mixture alone is better than chance."""
    monkeypatch.setattr("lowerbound.evaluate.imputation.NUM_STEPS", 10)
    rng = np.random.default_rng(10)
    height = rng.normal(size=240)
    table = pa.table(
        {
            "height": height,
            "weight": height + 0.3 * rng.normal(size=240),
            "size": np.where(height > 0, "large", "small"),
        }
    )
    columns = [pc.if_else(pa.array(rng.random(240) < 0.05), None, column.combine_chunks()) for column in table.columns]
    dataset = lb.open_dataset(pa.table(dict(zip(table.column_names, columns, strict=True))))
    config = lb.recipe(dataset, minutes=1)
    training = dataclasses.replace(config.training, minutes=None, steps=2, num_pictures=0)
    config = dataclasses.replace(config, training=training)
    folder = lb.train(config, dataset, tmp_path / "run", say=lambda line: None, show_progress=False)
    imputed = held_out_imputation(lb.open_run(folder.path), dataset, 0.3)
    assert imputed.judgement.crps.value < imputed.fillings[0].mean_absolute_error.value
    assert imputed.categories is not None
    assert imputed.categories.score.value < imputed.categories.simple_score.value
    assert read(KINDS["imputation"], json.loads(to_json(imputed)), "here") == imputed
    told = description(imputed)
    assert "Draws of categories are better" in str(told.findings[-1])
