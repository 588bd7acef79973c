"""Dataframes in, dataframes out."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from lowerbound import DiffusionDensity, InputError

RNG = np.random.default_rng(0)
GROUP = RNG.integers(0, 3, 200)
TABLE = pa.table(
    {
        "height": RNG.normal(170 + 10 * GROUP, 5),
        "group": np.array(["one", "two", "three"])[GROUP].tolist(),
        "age": RNG.integers(0, 60, 200),
    }
)
GAPS = pa.table({"height": [None, 180.0], "group": ["one", None], "age": [30, 40]})
NUM_DRAWS = 16
"""As many as there are bands of noise: nothing here is of how good the model or its figures are."""


@pytest.fixture(scope="module")
def fitted() -> DiffusionDensity:
    return DiffusionDensity(steps=20, width=16, depth=1, conditionals=True, num_draws=NUM_DRAWS).fit(TABLE)


def test_rows_come_out_as_they_went_in(fitted):
    drawn = fitted.sample(5, random_state=0)
    assert drawn.schema.equals(TABLE.schema)
    assert set(drawn["group"].to_pylist()) <= {"one", "two", "three"}
    filled = fitted.impute(GAPS)
    assert filled.schema.equals(TABLE.schema)
    assert not any(column.null_count for column in filled.columns)
    assert filled["height"][1].as_py() == 180
    rest = fitted.sample_conditional(GAPS, ["age"], n_samples=3, random_state=0)
    assert rest["age"].to_pylist() == [30] * 3 + [40] * 3


def test_scores_know_the_columns(fitted):
    nats = fitted.score_samples(TABLE)
    parts = fitted.score_samples(TABLE, by="column")
    assert parts.shape == (200, 3)
    assert np.abs(parts.sum(1) - nats).max() < 1e-3
    assert np.isfinite(fitted.conditional_log_prob(TABLE, ["height", "age"])).all()
    assert list(fitted.feature_names_in_) == TABLE.column_names
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.score_samples(TABLE) == nats).all()
    assert again.sample(2, 0).schema.equals(TABLE.schema)


def test_a_run_of_a_table_knows_its_columns(fitted, tmp_path):
    opened = DiffusionDensity.from_run(fitted.to_run(tmp_path / "run"))
    opened.set_params(num_draws=NUM_DRAWS)
    assert (opened.score_samples(TABLE) == fitted.score_samples(TABLE)).all()
    assert opened.sample(2, 0).shape == (2, 3)  # of no dataframe's library: numbers as they are stored


def test_what_does_not_fit_is_refused(fitted):
    with pytest.raises(InputError, match="a category that"):
        fitted.score_samples(TABLE.set_column(1, "group", pa.array(["four"] * 200)))
    with pytest.raises(ValueError, match="feature names"):
        fitted.score_samples(TABLE.drop_columns(["age"]))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_of_other_libraries(library):
    module = pytest.importorskip(library)
    frame = TABLE.to_pandas() if library == "pandas" else module.from_arrow(TABLE)
    fitted = DiffusionDensity(steps=3, width=8, depth=1, num_draws=NUM_DRAWS).fit(frame)
    drawn = fitted.sample(3, random_state=0)
    assert isinstance(drawn, module.DataFrame)
    assert list(drawn.columns) == TABLE.column_names
    assert np.isfinite(fitted.score_samples(frame)).all()


def test_categories_of_a_dataframe_are_so_by_their_type_whatever_they_are():
    """As pandas has them: a dictionary of whole numbers is neither a number nor refused."""
    codes = pa.array((5 + GROUP).tolist()).dictionary_encode()
    frame = pa.table({"height": TABLE["height"], "code": codes})
    fitted = DiffusionDensity(steps=3, width=8, depth=1).fit(frame)
    column = fitted.run_.spec.columns[1]
    assert column.kind == "categorical"
    assert set(column.categories) == {"5", "6", "7"}
    drawn = fitted.sample(20, random_state=0)["code"]
    assert pa.types.is_dictionary(drawn.type)
    assert set(drawn.to_pylist()) <= {5, 6, 7}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"c": [7] * 200}, r"column c has the same value, 7.*: leave it out$"),
        ({"c": [f"text {k}" for k in range(200)]}, r"leave it out; if .*make them categories by the column's type$"),
        ({"c": list(range(200))}, r"column c counts the rows, from 0 to 199: leave it out$"),
        ({name: [None, *TABLE[name].to_pylist()[1:]] for name in TABLE.column_names}, r"row 1: .*, or all such rows$"),
        ({"c": [f"2024-01-{1 + k % 28:02} and {k}" for k in range(200)]}, r"if they are dates, store them as such"),
    ],
)
def test_what_is_refused_has_advice_for_a_dataframe(columns, message):
    frame = pa.table(dict(zip(TABLE.column_names, TABLE.columns, strict=True)) | columns)
    with pytest.raises(InputError, match=message) as caught:
        DiffusionDensity(steps=3).fit(frame)
    assert "--" not in str(caught.value)


def test_what_is_refused_of_an_array_has_advice_for_one():
    with pytest.raises(InputError, match=r"column 1 has the same value, 1, .*no density; leave it out$"):
        DiffusionDensity(steps=3).fit(np.stack([RNG.normal(size=40), np.ones(40)], 1))


def test_mixed_types_and_names_that_are_there_twice_are_named():
    pandas = pytest.importorskip("pandas")
    mixed = pandas.DataFrame({"a": RNG.normal(size=40), "b": [1, 2.5, None, "three"] * 10})
    with pytest.raises(
        InputError, match="row 4, column b: 'three' is of type str, and 20 others are of type number: correct"
    ):
        DiffusionDensity(steps=3).fit(mixed)
    twice = pandas.DataFrame(RNG.normal(size=(40, 3)), columns=["a", "b", "a"])
    with pytest.raises(InputError, match="columns 1 and 3 have the same name, a: rename one"):
        DiffusionDensity(steps=3).fit(twice)
