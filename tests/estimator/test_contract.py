"""What scikit-learn asks of an estimator: its own checks, and the tools that take one."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from lowerbound import DiffusionDensity, InputError, open_run, score

TINY = {"steps": 3, "width": 8, "depth": 1, "num_draws": 4}


def checks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(estimator_checks_generator(DiffusionDensity(**TINY)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 3))


@pytest.fixture(scope="module")
def fitted(rows) -> DiffusionDensity:
    return DiffusionDensity(**TINY).fit(rows)


def test_it_goes_into_pipelines_and_searches(rows):
    pipeline = make_pipeline(StandardScaler(), DiffusionDensity(**TINY)).fit(rows)
    assert np.isfinite(pipeline.score(rows))
    assert len(cross_val_score(DiffusionDensity(**TINY), rows, cv=2)) == 2
    search = GridSearchCV(DiffusionDensity(**TINY), {"width": [8, 16]}, cv=2).fit(rows)
    assert search.best_params_["width"] in (8, 16)
    assert search.best_estimator_.run_.config.network.width == search.best_params_["width"]


def test_the_score_is_the_sum_of_the_rows(fitted, rows):
    assert fitted.score(rows) == pytest.approx(fitted.score_samples(rows).sum())
    assert np.isfinite(fitted.score_samples(rows, return_std=True)[1]).all()


@pytest.mark.parametrize("by", ["column", "noise"])
def test_parts_add_up(fitted, rows, by):
    parts = fitted.score_samples(rows[:5], by=by)
    assert np.abs(parts.sum(1) - fitted.score_samples(rows[:5])).max() < 1e-4
    with pytest.raises(InputError, match="is of the bound"):
        fitted.score_samples(rows[:5], by=by, method="flow")


def test_it_is_pickled_as_text_and_safetensors(fitted, rows):
    content = pickle.dumps(fitted)
    assert b"torch" not in content.replace(fitted._files["config.json"], b"").replace(
        fitted._files["model.safetensors"], b""
    )
    assert (pickle.loads(content).score_samples(rows) == fitted.score_samples(rows)).all()


def test_a_run_opens_as_an_estimator_and_the_other_way_round(fitted, rows, tmp_path):
    folder = fitted.to_run(tmp_path / "run")
    again = DiffusionDensity.from_run(folder)
    assert again.run_.config == fitted.run_.config
    assert (again.set_params(num_draws=4).score_samples(rows) == fitted.score_samples(rows)).all()
    nats = score(open_run(folder), rows).nats  # other draws of the same bound
    assert abs((nats - fitted.score_samples(rows)).mean()) < 1
    with pytest.raises(InputError, match="is there already"):
        fitted.to_run(folder)


def test_the_folder_that_was_asked_for_holds_the_run(rows, tmp_path):
    estimator = DiffusionDensity(**TINY, path=tmp_path / "run").fit(rows)
    assert open_run(tmp_path / "run").spec.shape == (3,)
    # the same data and settings: complete already
    assert (estimator.score_samples(rows) == clone(estimator).fit(rows).score_samples(rows)).all()


def test_missing_entries_are_refused_where_rows_were_complete(fitted, rows):
    gaps = np.array(rows[:3])
    gaps[0, 1] = np.nan
    with pytest.raises(InputError, match="the rows that were fitted had none"):
        fitted.score_samples(gaps)


def test_samples_and_errors(fitted, rows):
    assert fitted.sample(4, random_state=1).shape == (4, 3)
    assert (fitted.sample(4, random_state=1)[:2] == fitted.sample(2, random_state=1)).all()
    with pytest.raises(NotFittedError):
        DiffusionDensity().sample()
    with pytest.raises(InputError, match="conditionals=True"):
        fitted.conditional_log_prob(rows, [0])
    with pytest.raises(InputError, match="no column 'a'"):
        fitted.sample_conditional(rows, ["a"])
    with pytest.raises(InputError, match="numbers below 3"):
        fitted.sample_conditional(rows, [3])
    with pytest.raises(InputError, match="n_samples is 0"):
        fitted.sample(0)
    with pytest.raises(InputError, match="method is 'ode'"):
        fitted.score_samples(rows, method="ode")
    with pytest.raises(InputError, match="validation_fraction is 1"):
        DiffusionDensity(**TINY, validation_fraction=1).fit(rows)
